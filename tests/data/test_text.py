"""Shakespeare's plays: found, fetched, damaged, missing; and text as tokens."""

import dataclasses
import hashlib

import numpy as np
import pytest

from experiments.data import text as text_module
from experiments.data.encoding import BytePairs, Characters
from experiments.data.source import DataError
from experiments.data.text import load_shakespeare, load_text

TEXT = "To be, or not to be.\n" * 20


@pytest.fixture
def twin(user_cache, tmp_path, server, monkeypatch):
    """A short text that passes for the published one; a server has it."""
    address, pages = server
    contents = pages["input.txt"] = TEXT.encode()
    file = dataclasses.replace(
        text_module._FILE,
        sha256=hashlib.sha256(contents).hexdigest(),
        size=len(contents),
        url=f"{address}input.txt",
    )
    monkeypatch.setattr(text_module, "_FILE", file)
    return tmp_path / "data"


def test_the_real_text(real_data):
    text = load_shakespeare(real_data("text").parent)
    assert len(text) == 1_115_394
    assert text.startswith("First Citizen:\nBefore we proceed any further")
    characters = Characters(text)
    assert characters.size == 65
    assert characters.decode(range(5)) == "\n !$&"


@pytest.mark.parametrize(
    "place", ["tinyshakespeare.txt", "tinyshakespeare/input.txt", "text/input.txt"]
)
def test_it_is_found(twin, place):
    (twin / place).parent.mkdir(parents=True)
    (twin / place).write_text(TEXT, encoding="ascii")
    assert load_shakespeare(twin) == TEXT


def test_it_is_fetched(twin):
    assert load_shakespeare(twin, download=True) == TEXT
    assert load_shakespeare(twin) == TEXT


def test_missing_and_damaged_files_are_told(twin):
    with pytest.raises(DataError) as error:
        load_shakespeare(twin)
    for words in ("files of tinyshakespeare are missing", "--download", "curl -fL"):
        assert words in str(error.value)
    twin.mkdir()
    (twin / "tinyshakespeare.txt").write_text(TEXT[:-1], encoding="ascii")
    with pytest.raises(DataError, match="is not the published file: its contents"):
        load_shakespeare(twin)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("é\r\n".encode())
    assert load_text(str(path)) == "é\r\n"
    path.write_bytes("é".encode("latin-1"))
    for name, words in ((path, "utf-8"), (tmp_path / "none", "No such file")):
        with pytest.raises(DataError, match=f"text: {name} cannot be read: .*{words}"):
            load_text(str(name))


def test_characters_there_and_back():
    text = "aé𝄞a\r\nz"
    characters = Characters(text)
    tokens = characters.encode(text)
    assert tokens.dtype == np.uint8
    assert tokens.tolist() == [2, 4, 5, 2, 1, 0, 3]
    assert characters.decode(tokens) == text
    for unknown in ("b", "\t", "𝄞\U0010ffff"):
        with pytest.raises(ValueError, match=r"is not among those of the text: '\\n"):
            characters.encode(unknown)


def test_byte_pairs_there_and_back(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator([TEXT], vocab_size=262, show_progress=False)
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    trained.save(str(tmp_path / "whole" / "tokenizer.json"))
    trained.save_model(str(tmp_path / "parts"))
    text = f"{TEXT}é"
    for folder in ("whole", "parts"):
        pairs = BytePairs(str(tmp_path / folder))
        tokens = pairs.encode(text)
        assert tokens.dtype == np.uint16
        assert len(tokens) < len(text)
        assert tokens.max() < pairs.size
        assert pairs.decode(tokens) == text
    (tmp_path / "whole" / "tokenizer.json").write_text("{", encoding="ascii")
    with pytest.raises(DataError, match="the tokenizer cannot be read"):
        BytePairs(str(tmp_path / "whole"))
    with pytest.raises(DataError, match=r"neither tokenizer\.json nor vocab\.json"):
        BytePairs(str(tmp_path))
