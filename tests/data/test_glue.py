"""GLUE's tables: as shipped, from mirrors, damaged; MRPC's originals."""

import dataclasses
import gzip
import hashlib
import io
import zipfile

import numpy as np
import pytest

from experiments.data import glue
from experiments.data.glue import CORPORA, load_glue
from experiments.data.source import DataError
from tests.support.tiny_glue import sentences, table, write_corpus

pytestmark = pytest.mark.usefixtures("user_cache")


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Writes a small corpus, which then passes for the published one."""

    def written(name):
        monkeypatch.setitem(CORPORA, name, write_corpus(tmp_path, name))
        return tmp_path / "glue" / CORPORA[name].folder

    return written


def assert_tiny(name, found):
    for seed, (split, own) in enumerate(CORPORA[name].tables.items()):
        expected = sentences(CORPORA[name], own.rows, seed)
        assert found[split].texts == expected.texts
        np.testing.assert_array_equal(found[split].labels, expected.labels)


def test_the_real_sst2(real_data):
    found = load_glue("sst2", real_data("glue").parent)
    assert {split: len(part.labels) for split, part in found.items()} == {
        "train": 67_349,
        "validation": 872,
    }
    assert found["train"].texts[0] == ("hide new secretions from the parental units",)
    assert found["validation"].labels[:4].tolist() == [1, 0, 1, 1]
    assert found["train"].labels.sum() == 37_569


def test_the_real_mrpc(real_data):
    found = load_glue("mrpc", real_data("glue").parent)
    assert [len(part.labels) for part in found.values()] == [3_668, 408]
    assert found["train"].labels.sum() == 2_474  # of the same meaning
    one, other = found["validation"].texts[0]
    assert one.startswith("He said the foodservice pie business doesn 't fit")
    assert other.startswith('" The foodservice pie business does not fit')


@pytest.mark.parametrize("name", CORPORA)
def test_tables_as_shipped(name, corpus, tmp_path):
    corpus(name)
    found = load_glue(name, tmp_path)
    assert list(found) == list(CORPORA[name].tables)
    assert_tiny(name, found)
    assert found["train"].labels.dtype == np.int32


def test_mnli_has_two_validation_splits():
    files = {split: own.file for split, own in CORPORA["mnli"].tables.items()}
    assert files == {
        "train": "train",
        "validation": "dev_matched",
        "validation_mismatched": "dev_mismatched",
    }


def test_what_mirrors_change_plays_no_part(corpus, tmp_path):
    """A byte-order mark, Windows' ends of lines, packing, further columns."""
    folder = corpus("mrpc")
    train, dev = folder / "train.tsv", folder / "dev.tsv"
    train.write_bytes(b"\xef\xbb\xbf" + train.read_bytes().replace(b"\n", b"\r\n"))
    lines = dev.read_text(encoding="utf-8").splitlines()
    wider = "\n".join([f"{lines[0]}\tmore", *(f"{line}\t0" for line in lines[1:])])
    (folder / "dev.tsv.gz").write_bytes(gzip.compress(wider.encode()))
    dev.unlink()
    assert_tiny("mrpc", load_glue("mrpc", tmp_path))


@pytest.mark.parametrize("place", ["glue/QNLIv2.zip", "glue/QNLI/QNLIv2.zip"])
def test_the_archive_as_shipped(corpus, tmp_path, place):
    folder = corpus("qnli")
    with zipfile.ZipFile(tmp_path / "shipped.zip", "w") as archive:
        for file in list(folder.iterdir()):
            archive.write(file, f"QNLI/{file.name}")
            file.unlink()
    (tmp_path / "shipped.zip").rename(tmp_path / place)
    assert_tiny("qnli", load_glue("qnli", tmp_path))


def replaced(old, new):
    return lambda contents: contents.replace(old, new)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("sst2", lambda c: c + b"good\t1\n", "it has 41 rows, not 40"),
        ("sst2", lambda c: c[: len(c) // 2], "it has .* rows, not 40|fields, not 2"),
        ("sst2", replaced(b"film", b"movie"), "its sentences or labels are others"),
        ("sst2", replaced(b"label", b"class"), "names no column label"),
        ("sst2", replaced(b"good\t1", b"good"), "has 1 fields, not 2"),
        ("qnli", replaced(b"not_entail", b"not-entail"), "the label 'not-entailment'"),
        ("mnli", lambda c: b"\xff" + c, "can't decode byte 0xff"),
    ],
)
def test_damaged_tables_are_told(corpus, tmp_path, name, damage, message):
    file = corpus(name) / "train.tsv"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        load_glue(name, tmp_path)
    assert f"{file} is not the published file" in str(caught.value)
    assert CORPORA[name].url in str(caught.value)


def test_missing_tables_are_told_with_the_command(tmp_path):
    with pytest.raises(DataError) as caught:
        load_glue("mnli", tmp_path)
    address = "https://dl.fbaipublicfiles.com/glue/data/MNLI.zip"
    assert f"curl -fL --create-dirs -o {tmp_path}/glue/MNLI/MNLI.zip {address}" in str(
        caught.value
    )
    assert "dev_mismatched.tsv\n" in str(caught.value)


@pytest.fixture
def originals(corpus, monkeypatch):
    """MRPC's originals instead of the tables of GLUE's script; their folder."""
    folder = corpus("mrpc")
    mark = b"\xef\xbb\xbf"
    train, dev = (
        (folder / f"{name}.tsv").read_bytes().splitlines(keepends=True)
        for name in ("train", "dev")
    )
    dev = [line.replace(b"\t", b"\t7", 1) for line in dev[1:]]  # pairs of their own
    pairs = [line.split(b"\t")[1:3] for line in dev]
    contents = {
        "msr_paraphrase_train.txt": mark + b"".join(train[:9] + dev + train[9:]),
        "mrpc_dev_ids.tsv": b"".join(b"\t".join(pair) + b"\n" for pair in pairs),
    }
    described = []
    for file in glue.MRPC_ORIGINALS:
        (folder / file.name).write_bytes(contents[file.name])
        sha256 = hashlib.sha256(contents[file.name]).hexdigest()
        described.append(dataclasses.replace(file, sha256=sha256))
    monkeypatch.setattr(glue, "MRPC_ORIGINALS", tuple(described))
    for name in ("train", "dev"):
        (folder / f"{name}.tsv").unlink()
    return folder


def test_mrpc_from_its_originals(originals, tmp_path):
    assert_tiny("mrpc", load_glue("mrpc", tmp_path))


def test_originals_of_mrpc_are_named(originals, tmp_path):
    (originals / "mrpc_dev_ids.tsv").write_bytes(b"1\t2\n")
    with pytest.raises(DataError, match=r"mrpc_dev_ids\.tsv is not the published"):
        load_glue("mrpc", tmp_path)
    (originals / "msr_paraphrase_train.txt").unlink()
    with pytest.raises(DataError) as caught:
        load_glue("mrpc", tmp_path)
    assert "senteval_data/msr_paraphrase_train.txt" in str(caught.value)
    assert "train.tsv" not in str(caught.value)


def test_damaged_tables_of_mrpc_lead_to_its_originals(corpus, tmp_path):
    file = corpus("mrpc") / "dev.tsv"
    file.write_bytes(file.read_bytes().replace(b"film", b"movie"))
    with pytest.raises(DataError, match="originals are read instead: msr_para"):
        load_glue("mrpc", tmp_path)
    file.with_suffix(".tsv.gz").write_bytes(gzip.compress(b"")[:-4])
    file.unlink()
    with pytest.raises(
        DataError, match=r"dev\.tsv\.gz is not MRPC's dev\.tsv: it ends"
    ):
        load_glue("mrpc", tmp_path)


def test_download_fetches_the_archive(corpus, tmp_path, server, monkeypatch):
    folder = corpus("qnli")
    address, pages = server
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in list(folder.iterdir()):
            archive.write(file, f"QNLI/{file.name}")
            file.unlink()
    pages["QNLIv2.zip"] = buffer.getvalue()
    moved = dataclasses.replace(CORPORA["qnli"], url=f"{address}QNLIv2.zip")
    monkeypatch.setitem(CORPORA, "qnli", moved)
    assert_tiny("qnli", load_glue("qnli", tmp_path, download=True))
    assert sorted(file.name for file in folder.glob("*.tsv")) == [
        "dev.tsv",
        "train.tsv",
    ]
    assert_tiny("qnli", load_glue("qnli", tmp_path))


def test_rows_are_examples_in_file_order():
    corpus = CORPORA["qnli"]
    examples = sentences(corpus, 5, 0)
    found = glue.parse(table("qnli", examples), corpus)
    assert found.texts == examples.texts
    assert glue.digest(found, corpus) != glue.digest(
        glue.Sentences(found.texts[::-1], found.labels[::-1]), corpus
    )
