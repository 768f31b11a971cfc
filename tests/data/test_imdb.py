"""The table of IMDb's reviews, wherever it is and whatever is wrong with it."""

import csv
import gzip
import io
import zipfile

import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.data import imdb
from experiments.data.imdb import kept_words, load_imdb
from experiments.data.source import DataError

pytestmark = pytest.mark.usefixtures("user_cache")

FIRST = "One of the other reviewers has mentioned"
ROWS, POSITIVE = 12, 6


def some_rows():
    """Reviews that begin as the real ones."""
    rng = np.random.default_rng(0)
    texts = [f"{FIRST} {n} times" if n == 0 else f"Film {n}" for n in range(ROWS)]
    positive = rng.permutation([1] * POSITIVE + [0] * (ROWS - POSITIVE))
    return [
        [f'{text}, "so" <br />it was', "positive" if good else "negative"]
        for text, good in zip(texts, positive, strict=True)
    ]


def table(rows, head=("review", "sentiment")):
    text = io.StringIO()
    csv.writer(text).writerows([head, *rows])
    return text.getvalue().encode()


@pytest.fixture
def twin(monkeypatch):
    """Rows that pass for the published ones; the first eight have the checksum."""
    rows = some_rows()
    labels = [sentiment == "positive" for _, sentiment in rows]
    words = [kept_words(text) for text, _ in rows]
    monkeypatch.setattr(imdb, "REVIEWS", ROWS)
    monkeypatch.setattr(imdb, "_FIRST", 8)
    monkeypatch.setattr(imdb, "_POSITIVE_OF_FIRST", sum(labels[:8]))
    digest = imdb._digest(words[:8], np.array(labels, np.uint8))
    monkeypatch.setattr(imdb, "_SHA256_OF_FIRST", digest)
    return rows


def zipped(contents, name="IMDB Dataset.csv"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, contents)
    return file.getvalue()


def test_the_real_reviews(real_data):
    found = load_imdb(1000, real_data("imdb").parent)
    assert len(found.words) == 1000
    assert found.positive.sum() == 501
    assert found.positive.dtype == np.uint8
    assert found.words[0][:4] == ["one", "reviewers", "mentioned", "watching"]
    assert sum(map(len, found.words)) == 121_775
    fewer = load_imdb(7, real_data("imdb"))
    assert fewer.words == found.words[:7]
    np.testing.assert_array_equal(fewer.positive, found.positive[:7])


def test_more_than_there_are(real_data):
    with pytest.raises(DataError, match=r"imdb_first_2999.csv.gz has 2,999 rows only"):
        load_imdb(3000, real_data("imdb"))
    for reviews in (0, 50_001):
        with pytest.raises(ValueError, match=rf"1 … 50000, got {reviews}\."):
            load_imdb(reviews)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP!  It's\tgood", ["dont", "stop", "good"]),
        ("great.<br /><br />The end", ["greatbr", "br", "end"]),
        ("in 1999, 2-hour snake_case 007", ["hour", "snake_case"]),
        ("Amélie était — une idée", ["amélie", "était", "une", "idée"]),
        ("the of !!!", []),
    ],
)
def test_words(text, words):
    """Stop words are left out after the apostrophe; "its" is one, "dont" is none."""
    assert kept_words(text) == words


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("IMDB Dataset.csv", bytes),
        ("imdb/IMDB-Dataset.csv", bytes),
        ("IMDB Dataset.csv.zip", zipped),
        ("imdb/archive.zip", zipped),
        ("imdb-dataset-of-50k-movie-reviews.zip", zipped),
        ("IMDB/IMDB Dataset.csv.gz", gzip.compress),
        ("imdb/imdb_first_12.csv", bytes),
        ("imdb_first_12.csv.zip", lambda t: zipped(t, "imdb_first_12.csv")),
    ],
)
def test_files_as_people_have_them(twin, tmp_path, name, pack):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pack(table(twin)))
    found = load_imdb(9, tmp_path)
    assert found.words == [kept_words(text) for text, _ in twin[:9]]
    assert found.positive.tolist() == [s == "positive" for _, s in twin[:9]]


def test_the_smallest_that_is_large_enough_is_read(twin, tmp_path):
    for name in ("IMDB Dataset.csv", "imdb_first_8.csv", "imdb_first_10.csv"):
        (tmp_path / name).write_bytes(b"damaged")
    (tmp_path / "imdb_first_9.csv").write_bytes(table(twin[:9]))
    assert len(load_imdb(9, tmp_path).words) == 9
    with pytest.raises(DataError, match="imdb_first_10"):
        load_imdb(10, tmp_path)
    (tmp_path / "IMDB Dataset.csv").write_bytes(table(twin))
    with pytest.warns(UserWarning, match="not used: .*imdb_first_10"):
        assert len(load_imdb(10, tmp_path).words) == 10


def without_half(rows):
    """Fewer than half are positive, though the first eight are right."""
    last = max(n for n, (_, sentiment) in enumerate(rows) if sentiment == "positive")
    assert last >= 8
    return [*rows[:last], [rows[last][0], "negative"], *rows[last + 1 :]]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: table(rows, ("text", "label")), "first line is not review,senti"),
        (lambda rows: table(rows[:-1]), "it has 11 rows, not 12"),
        (lambda rows: table([*rows[:3], ["a"], *rows[4:]]), "row 4 is not a review"),
        (lambda rows: table([*rows[:-1], ["a", "good"]]), "row 12 is not a review"),
        (lambda rows: table(rows[::-1]), f'does not begin with "{FIRST}"'),
        (lambda rows: table(without_half(rows)), "5 reviews are positive, not half"),
        (
            lambda rows: table([[rows[0][0], rows[1][1]], *rows[1:]]),
            r"of its first 8 reviews \d are positive, not",
        ),
        (
            lambda rows: table([rows[0], ["other words", rows[1][1]], *rows[2:]]),
            "first 8 reviews have other words",
        ),
        (lambda rows: table(rows).decode().encode("utf-16"), "codec can't decode"),
        (lambda rows: gzip.compress(table(rows))[:-9], "it ends too early"),
        (lambda rows: b"", "first line is not"),
        (lambda rows: b'review,sentiment\n"' + bytes(200_000), "field larger than"),
    ],
)
def test_damaged_tables(twin, tmp_path, change, problem):
    path = tmp_path / "IMDB Dataset.csv"
    path.write_bytes(change(twin))
    with pytest.raises(DataError, match=problem) as caught:
        load_imdb(9, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path} is not the table of IMDb")
    assert "aclImdb, and copies made of it have another order" in message
    assert message.endswith(f"--unzip -p {tmp_path}")


def test_missing(tmp_path, capsys):
    arguments = ["train", "imdb", "--data-dir", str(tmp_path / "none")]
    for more in ([], ["--download"]):
        assert main([*arguments, *more]) == 2
        message = capsys.readouterr().err
        assert "the table of IMDb is missing" in message
        assert "n ≥ 1,000 rows" in message
        assert "kaggle datasets download" in message
        assert ("--download cannot fetch it" in message) == bool(more)
