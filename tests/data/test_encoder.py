"""The folder of an encoder: what is read, and what is told of one that will not do."""

import json

import numpy as np
import pytest

pytest.importorskip("safetensors")
pytest.importorskip("tokenizers")

from experiments.data import encoder
from experiments.data.encoder import (
    encoder_folder,
    read_config,
    read_pooling,
    read_weights,
    tokenize,
)
from experiments.data.source import DataError
from tests.support.tiny_glue import MARKS, WORDS, random_arrays, write_encoder

NUMBERS = {word: number for number, word in enumerate(MARKS + WORDS)}


def ids(words):
    return [NUMBERS[word] for word in words.split()]


@pytest.fixture
def folder(tmp_path):
    return write_encoder(tmp_path / "encoder")


def test_tokens_of_sentences_and_pairs(folder):
    """The tokenizer's own padding to 128 is not wanted."""
    texts = [("The film is GOOD",), ("films", "no plot .")]
    found = tokenize(folder, texts, 32)
    assert found.ids.shape == (2, 8)
    assert found.ids.dtype == np.uint16
    assert found.ids[0].tolist() == [*ids("[CLS] the film is good [SEP]"), 0, 0]
    pair = "[CLS] film ##s [SEP] no plot [UNK] [SEP]"
    assert found.ids[1].tolist() == ids(pair)
    assert found.lengths.tolist() == [6, 8]
    assert found.first_lengths.tolist() == [6, 4]


def test_long_sentences_are_cut(folder):
    """The longer one of a pair first; the marks stay."""
    texts = [("good " * 40,), ("bad", "very " * 40)]
    found = tokenize(folder, texts, 8)
    assert found.ids.tolist() == [
        ids("[CLS] good good good good good good [SEP]"),
        ids("[CLS] bad [SEP] very very very very [SEP]"),
    ]


def test_weights_of_half_precision_become_float32(tmp_path):
    arrays = {name: a.astype(np.float16) for name, a in random_arrays().items()}
    arrays["embeddings.position_ids"] = np.arange(32)[None]
    found = read_weights(write_encoder(tmp_path, arrays))
    assert {a.dtype for a in found.values()} == {np.dtype("f4"), np.dtype("i8")}
    name = "pooler.dense.bias"
    np.testing.assert_array_equal(found[name], arrays[name].astype(np.float32))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_files_are_told(folder, name):
    assert encoder_folder(str(folder)) == folder
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"--encoder must be .* has no {name}"):
        encoder_folder(str(folder))


@pytest.mark.parametrize("read", [read_weights, lambda f: tokenize(f, [("a",)], 8)])
def test_damaged_files_are_told(folder, read):
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-40])
    with pytest.raises(DataError, match=rf"{folder}/\w+\.\w+ cannot be read: "):
        read(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "roberta"}, "model_type must be 'bert', as BERT's, got 'rob"),
        ({"hidden_act": "relu"}, "hidden_act must be 'gelu'"),
        ({"position_embedding_type": "relative_key"}, "must be 'absolute'"),
    ],
)
def test_other_models_are_refused(tmp_path, changes, message):
    folder = write_encoder(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        read_config(folder)


def test_pooling_is_read_of_sentence_encoders(folder):
    assert read_pooling(folder) == "first"
    path = folder / "1_Pooling" / "config.json"
    path.parent.mkdir()
    for is_mean, name in ((True, "mean"), (False, "first")):
        told = {"pooling_mode_mean_tokens": is_mean}
        path.write_text(json.dumps(told), encoding="utf-8")
        assert read_pooling(folder) == name
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"1_Pooling/config\.json is not JSON: "):
        read_pooling(folder)


def test_a_config_that_is_no_json_is_told(folder):
    assert read_config(folder)["hidden_size"] == 16
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"config\.json is not JSON: "):
        read_config(folder)


def test_a_package_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(encoder, "PACKAGE", "no-such-encoder")
    with pytest.raises(DataError, match="pip install no-such-encoder"):
        encoder_folder("no-such-encoder")


def test_the_default_encoder(default_encoder):
    folder = encoder_folder(default_encoder)
    assert read_config(folder)["num_hidden_layers"] == 6
    found = tokenize(folder, [("It 's charming .",)], 128)
    marked = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = marked["model"]["vocab"]
    words = ["[CLS]", "it", "'", "s", "charming", ".", "[SEP]"]
    assert found.ids[0].tolist() == [vocabulary[word] for word in words]
