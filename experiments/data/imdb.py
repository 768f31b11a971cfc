"""IMDb: 50,000 reviews of films, positive or negative, as one table.

Source: Maas et al., Learning Word Vectors for Sentiment Analysis (ACL 2011), in the
order of the table that Kaggle has (``IMDB Dataset.csv``, columns ``review`` and
``sentiment``): the published runs are of its first 1000 rows. The original archive
``aclImdb`` keeps the reviews in other files, without that order, and so do the copies
of TensorFlow Datasets and Hugging Face: they will not do.

No checksum of the table is published. It is known by what it must hold: the kept words
and the sentiments of its first 1000 rows have a checksum here (from them follow the
token ids that the published program makes), and of its 50,000 rows half are positive.
"""

import csv
import hashlib
import io
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.packed import ENDINGS, Unreadable, may_hold, unpacked
from experiments.data.source import DataError, data_directory, first_sound, places

REVIEWS = 50_000
"""Rows of the whole table."""
NAMES = ("IMDB Dataset.csv", "IMDB-Dataset.csv")
"""Of the table: Kaggle's, and that which the published program reads."""
_ARCHIVES = ("imdb-dataset-of-50k-movie-reviews.zip", "archive.zip", "imdb.zip")
_FIRST = 1000
_POSITIVE_OF_FIRST = 501
_FIRST_WORDS = "One of the other reviewers has mentioned"
_SHA256_OF_FIRST = "691e9b45a710bdf5662ebeb8b9c15606769864c1652d3e7f6dd7a886321d9da6"

_STOP_WORDS = """
a about above after again against ain all am an and any are aren as at be because been
before being below between both but by can couldn d did didn do does doesn doing don
down during each few for from further had hadn has hasn have haven having he her here
hers herself him himself his how i if in into is isn it its itself just ll m ma me
mightn more most mustn my myself needn no nor not now o of off on once only or other our
ours ourselves out over own re s same shan she should shouldn so some such t than that
the their theirs them themselves then there these they this those through to too under
until up ve very was wasn we were weren what when where which while who whom why will
with won wouldn y you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""NLTK's English list but for words with an apostrophe: no word has one any more."""


class Reviews(NamedTuple):
    """The first so many reviews.

    Attributes:
      words: the kept words of each, in order.
      positive: their sentiments, ``[n]`` uint8.
    """

    words: list[list[str]]
    positive: np.ndarray


def load_imdb(
    reviews: int, data_dir: Path | None = None, *, download: bool = False
) -> Reviews:
    """The first ``reviews`` rows of the table.

    Args:
      reviews: how many, 1 … 50,000.
      data_dir: directory with ``IMDB Dataset.csv``, or with ``imdb_first_<n>.csv``, its
        first n ≥ ``reviews`` rows, packed or not, in it or in its folder ``imdb``.
        None: that of ``GROKFAST_DATA``, else the user's cache.
      download: refused if the file is missing: Kaggle wants an account.

    Raises:
      ValueError: ``reviews`` is out of range.
      DataError: there is no such file, or only damaged and other ones.
    """
    if not 1 <= reviews <= REVIEWS:
        raise ValueError(f"reviews must be 1 … {REVIEWS}, got {reviews}.")
    found = sorted(_tables(data_dir), key=lambda each: each[0])  # stable
    if enough := [each for each in found if each[0] >= reviews]:
        return first_sound(enough, lambda each: _read(each[1], each[0], reviews))
    raise _missing(reviews, found, data_dir, download=download)


def kept_words(text: str) -> list[str]:
    """Words of a review as the published program has them.

    Split at white space, in lower case; then everything but letters and underscores is
    taken out of each. Stop words and nothings are left out after that: "don't" stays,
    as "dont", and "<br" is the word "br".
    """
    words = (re.sub(r"[\W\d]", "", word) for word in text.lower().split())
    return [word for word in words if word and word not in STOP_WORDS]


def _tables(data_dir: Path | None) -> Iterator[tuple[int, Path]]:
    """Rows and paths of all that may be the table or its beginning."""
    for place in places("imdb", data_dir):
        for path in sorted(place.glob("imdb_first_*.csv*")):
            if match := re.fullmatch(r"imdb_first_(\d+)\.csv(\.gz|\.zip)?", path.name):
                yield int(match[1]), path
        alone = [place / f"{name}{end}" for name in NAMES for end in ENDINGS]
        archives = [place / name for name in _ARCHIVES]
        for path in alone + archives:
            if path.is_file() and (path in alone or may_hold(path, NAMES)):
                yield REVIEWS, path


def _read(path: Path, rows: int, reviews: int) -> Reviews:
    try:
        names = (*NAMES, path.name.removesuffix(".zip"))
        text = unpacked(path, names).decode()
        table = list(csv.reader(io.StringIO(text, newline="")))
        return _checked(table, rows, reviews)
    except (Unreadable, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DataError(
            f"{path} is not the table of IMDb, or its first {rows:,} rows: {error}.\n"
            "Put the right one in its place, or delete it. The original archive, "
            "aclImdb, and copies made of it have another order.\n"
            f"{_commands(path.parent)}"
        ) from None


def _checked(table: list[list[str]], rows: int, reviews: int) -> Reviews:
    """The reviews of a table; ValueError says what is wrong with it."""
    if not table or table[0] != ["review", "sentiment"]:
        raise ValueError("its first line is not review,sentiment")
    if len(table) - 1 != rows:
        raise ValueError(f"it has {len(table) - 1:,} rows, not {rows:,}")
    for number, row in enumerate(table[1:], 1):
        if len(row) != 2 or row[1] not in ("positive", "negative"):
            raise ValueError(f"row {number:,} is not a review and its sentiment")
    positive = np.array([row[1] == "positive" for row in table[1:]], np.uint8)
    if not table[1][0].startswith(_FIRST_WORDS):
        raise ValueError(f'its first review does not begin with "{_FIRST_WORDS}"')
    if (count := positive[:_FIRST].sum()) != _POSITIVE_OF_FIRST:
        raise ValueError(
            f"of its first {_FIRST:,} reviews {count} are positive, not "
            f"{_POSITIVE_OF_FIRST}"
        )
    if rows == REVIEWS and positive.sum() != REVIEWS // 2:
        raise ValueError(f"{positive.sum():,} reviews are positive, not half of them")
    words = [kept_words(row[0]) for row in table[1 : 1 + max(reviews, _FIRST)]]
    if _digest(words[:_FIRST], positive) != _SHA256_OF_FIRST:
        raise ValueError(f"its first {_FIRST:,} reviews have other words")
    return Reviews(words[:reviews], positive[:reviews])


def _digest(words: list[list[str]], positive: np.ndarray) -> str:
    lines = zip(positive.tolist(), map(" ".join, words), strict=False)
    text = "\n".join(itertools.starmap("{} {}".format, lines))
    return hashlib.sha256(text.encode()).hexdigest()


def _missing(
    reviews: int,
    found: list[tuple[int, Path]],
    data_dir: Path | None,
    *,
    download: bool,
) -> DataError:
    own, root = places("imdb", data_dir)[:2]
    lines = [
        f"the table of IMDb is missing; looked in {own} and {root} "
        f"({data_directory(data_dir)[1]}) for",
        f"  {' or '.join(NAMES)} ({REVIEWS:,} rows), or imdb_first_<n>.csv, its first "
        f"n ≥ {reviews:,} rows,",
        f"  as it is, packed ({', '.join(ENDINGS[1:])}), or in one of "
        f"{', '.join(_ARCHIVES)}.",
    ]
    if found:
        rows, path = found[-1]
        lines.append(f"{path} has {rows:,} rows only.")
    if download:
        lines.append("--download cannot fetch it: Kaggle gives it to its users alone.")
    return DataError("\n".join([*lines, _commands(own)]))


def _commands(target: Path) -> str:
    return (
        "With an account at Kaggle (pip install kaggle) it is fetched by\n"
        "  kaggle datasets download lakshmi25npathi/imdb-dataset-of-50k-movie-reviews "
        f"--unzip -p {shlex.quote(str(target))}"
    )
