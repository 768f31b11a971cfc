"""GLUE: English sentences, or pairs of them, and their classes.

Source: Wang et al., GLUE (arXiv 1804.07461), its files as it ships them: tables of
fields between tabs, without quotes. MRPC (Dolan and Brockett, 2005), which GLUE does
not ship, is two tables as GLUE's script makes them, or the original
``msr_paraphrase_train.txt`` with the list of pairs that GLUE validates on.

A table is known by its rows: their number, and, where it is known here, the SHA-256 of
labels and sentences. What else mirrors change plays no part: byte-order marks, ends of
lines, other columns. The addresses are those that TensorFlow Datasets has registered,
and so are the checksums of MRPC's originals.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.packed import Unreadable, unpacked
from experiments.data.source import DataError, DataFile, Located, first_sound, locate


class Sentences(NamedTuple):
    """One split.

    Attributes:
      texts: one sentence of every example, or two.
      labels: number of its class, ``[n]`` int32.
    """

    texts: list[tuple[str, ...]]
    labels: np.ndarray


class Table(NamedTuple):
    """A split's file.

    Attributes:
      file: its name, without ``.tsv``.
      rows: examples in it.
      sha256: of lines of label and sentences between tabs; None if it is not known.
    """

    file: str
    rows: int
    sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class Corpus:
    """One of GLUE's classification tasks.

    Attributes:
      folder: that its files have.
      columns: of the sentences.
      label: column of the class.
      classes: as they are written, in the order of their numbers.
      tables: by split.
      url: of the archive that has them; empty if there is none.
    """

    folder: str
    columns: tuple[str, ...]
    label: str
    classes: tuple[str, ...]
    tables: Mapping[str, Table]
    url: str = ""


_ADDRESS = "https://dl.fbaipublicfiles.com/glue/data/"

CORPORA: dict[str, Corpus] = {
    "sst2": Corpus(
        "SST-2",
        ("sentence",),
        "label",
        ("0", "1"),  # negative, positive
        {
            "train": Table(
                "train",
                67_349,
                "d6d6db63b0850e9de8afa74e4a044a056185b1f6b3939e4ac29bb6fd438c7478",
            ),
            "validation": Table(
                "dev",
                872,
                "671af978780e8f3c0fc0352ca77fe594b29b0b96b0dc4f9595b602be49f3707f",
            ),
        },
        f"{_ADDRESS}SST-2.zip",
    ),
    "mrpc": Corpus(
        "MRPC",
        ("#1 String", "#2 String"),
        "Quality",
        ("0", "1"),  # not the same meaning, the same
        {
            "train": Table(
                "train",
                3_668,
                "db449a843c9507045f199f56b1474f20808e4e3ec3c916175b1bc8687aeb3fb9",
            ),
            "validation": Table(
                "dev",
                408,
                "607df1fb9e4080e5237c5f69cbf227cd72a5b1d37073ca1678d2192166c79d8c",
            ),
        },
    ),
    "qnli": Corpus(
        "QNLI",
        ("question", "sentence"),
        "label",
        ("entailment", "not_entailment"),
        {"train": Table("train", 104_743), "validation": Table("dev", 5_463)},
        f"{_ADDRESS}QNLIv2.zip",
    ),
    "mnli": Corpus(
        "MNLI",
        ("sentence1", "sentence2"),
        "gold_label",
        ("entailment", "neutral", "contradiction"),
        {
            "train": Table("train", 392_702),
            "validation": Table("dev_matched", 9_815),
            "validation_mismatched": Table("dev_mismatched", 9_832),
        },
        f"{_ADDRESS}MNLI.zip",
    ),
}
"""By their names on the command line."""

_SENTEVAL = "https://dl.fbaipublicfiles.com/senteval/senteval_data/"
MRPC_ORIGINALS = (
    DataFile(
        "msr_paraphrase_train.txt",
        "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
        f"{_SENTEVAL}msr_paraphrase_train.txt",
        1_047_044,
    ),
    DataFile(
        "mrpc_dev_ids.tsv",
        "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7",
        "https://firebasestorage.googleapis.com/v0/b/"
        "mtl-sentence-representations.appspot.com/o/data%2Fmrpc_dev_ids.tsv"
        "?alt=media&token=ec5c0836-31d5-48f4-b431-7480817f1adc",
        6_222,
    ),
)


def load_glue(
    name: str, data_dir: Path | None = None, *, download: bool = False
) -> dict[str, Sentences]:
    """The labelled splits of a corpus, by name, in file order.

    Args:
      name: a key of :data:`CORPORA`.
      data_dir: directory with the tables, packed or not, in its folder ``glue/NAME``
        (``glue/SST-2/train.tsv.gz``), or their archive. None: that of
        ``GROKFAST_DATA``, else the user's cache.
      download: fetch files that are missing; needs TensorFlow Datasets.

    Raises:
      DataError: files are missing or damaged, or could not be fetched.
    """
    corpus = CORPORA[name]
    dataset, tables = f"glue/{corpus.folder}", corpus.tables.values()
    archives = (f"glue/{corpus.url.rsplit('/', 1)[-1]}",) if corpus.url else ()
    files = [
        DataFile(f"{table.file}.tsv", None, corpus.url, archives=archives)
        for table in tables
    ]
    if corpus.url:
        located = locate(dataset, files, data_dir, download=download)
        read = _published
    else:
        try:
            located = locate(dataset, files, data_dir)
        except DataError:
            found = locate(dataset, MRPC_ORIGINALS, data_dir, download=download)
            pairs, listed = (each.read() for each in found)
            return split_pairs(pairs, listed, corpus)
        read = _made
    splits = zip(corpus.tables, located, tables, strict=True)
    return {split: read(each, corpus, table) for split, each, table in splits}


def _published(located: Located, corpus: Corpus, table: Table) -> Sentences:
    """Of a table that GLUE ships."""
    return parse(located.read(lambda text: problem(text, corpus, table)), corpus)


def _made(located: Located, corpus: Corpus, table: Table) -> Sentences:
    """Of a table that GLUE's script made: there is no address to fetch it from."""

    def read(path: Path) -> Sentences:
        try:
            contents = unpacked(path, located.file.names)
            found = problem(contents, corpus, table)
        except Unreadable as error:
            found = str(error)
        if found:
            raise DataError(
                f"{path} is not {corpus.folder}'s {table.file}.tsv: {found}.\n"
                "Delete the tables, and the originals are read instead: "
                f"{' and '.join(str(file) for file in MRPC_ORIGINALS)}."
            )
        return parse(contents, corpus)

    return first_sound(located.paths, read)


def split_pairs(table: bytes, listed: bytes, corpus: Corpus) -> dict[str, Sentences]:
    """MRPC's pairs: those of its training half that are listed are for validation.

    Args:
      table: ``msr_paraphrase_train.txt``.
      listed: lines of two numbers, of the pairs to validate on.
      corpus: MRPC's.
    """
    header, *lines = _lines(table)
    pairs = {tuple(line.split("\t")) for line in _lines(listed)}
    parts: dict[str, list[str]] = {"train": [header], "validation": [header]}
    for line in lines:
        pair = tuple(line.split("\t")[1:3])
        parts["validation" if pair in pairs else "train"].append(line)
    texts = {split: "\n".join(part).encode() for split, part in parts.items()}
    return {split: parse(text, corpus) for split, text in texts.items()}


def parse(contents: bytes, corpus: Corpus) -> Sentences:
    """The examples in a table.

    Raises:
      ValueError: it is no such table; the message says in what.
    """
    header, *lines = _lines(contents)
    names = header.split("\t")
    wanted = (corpus.label, *corpus.columns)
    if missing := [name for name in wanted if name not in names]:
        raise ValueError(f"its first line names no column {', '.join(missing)}")
    label, *columns = (names.index(name) for name in wanted)
    numbers = {name: number for number, name in enumerate(corpus.classes)}
    texts, labels = [], []
    for row, line in enumerate(lines, 1):
        fields = line.split("\t")
        if len(fields) < len(names):
            raise ValueError(
                f"its row {row:,} has {len(fields)} fields, not {len(names)}"
            )
        if fields[label] not in numbers:
            raise ValueError(
                f"its row {row:,} has the label {fields[label]!r}, "
                f"none of {', '.join(corpus.classes)}"
            )
        labels.append(numbers[fields[label]])
        texts.append(tuple(fields[column].strip() for column in columns))
    return Sentences(texts, np.array(labels, np.int32))


def problem(contents: bytes, corpus: Corpus, table: Table) -> str:
    """What is wrong with a table, or nothing."""
    try:
        found = parse(contents, corpus)
    except ValueError as error:
        return str(error)
    if len(found.labels) != table.rows:
        return f"it has {len(found.labels):,} rows, not {table.rows:,}"
    if table.sha256 not in (None, digest(found, corpus)):
        return "its sentences or labels are others than the published ones"
    return ""


def digest(sentences: Sentences, corpus: Corpus) -> str:
    """SHA-256 of lines of label and sentences; see :class:`Table`."""
    lines = (
        "\t".join((corpus.classes[label], *texts)) + "\n"
        for texts, label in zip(*sentences, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _lines(contents: bytes) -> list[str]:
    """Lines of a text, whatever ends them; other separators are parts of sentences."""
    text = contents.decode("utf-8-sig").replace("\r\n", "\n")
    return text.removesuffix("\n").split("\n")
