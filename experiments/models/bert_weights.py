"""Weights of BERT under Hugging Face's names, as the parameters of our module.

There a linear layer's ``weight`` is ``[O, I]``, here its ``kernel`` ``[I, O]``;
queries, keys and values are one layer here. Names may have the prefix ``bert.``, and
the old ``gamma`` and ``beta`` of LayerNorm. What is there besides, the heads of
pretraining for example, is left aside.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.models.bert_sizes import BertSizes

_PREFIX = "bert."


def parameters_of(arrays: Mapping[str, np.ndarray], sizes: BertSizes) -> dict[str, Any]:
    """The parameters of :class:`~experiments.models.bert.Bert` but its classifier.

    Args:
      arrays: by their names in the file.
      sizes: that its ``config.json`` tells.

    Returns:
      Nested dicts, without ``pooler`` if the file has none.

    Raises:
      ValueError: an array is missing, or has another shape.
    """
    named = {_new_name(name): array for name, array in arrays.items()}
    width, inner = sizes.width, sizes.inner

    def array(name: str, *shape: int) -> np.ndarray:
        if name not in named:
            raise ValueError(f"it has no {name}")
        if named[name].shape != shape:
            raise ValueError(f"{name} has the shape {named[name].shape}, not {shape}")
        return named[name]

    def embedding(name: str, rows: int) -> dict[str, Any]:
        return {"embedding": array(f"embeddings.{name}_embeddings.weight", rows, width)}

    def linear(names: tuple[str, ...], fan_in: int, fan_out: int) -> dict[str, Any]:
        kernels = [array(f"{name}.weight", fan_out, fan_in).T for name in names]
        biases = [array(f"{name}.bias", fan_out) for name in names]
        return {
            "kernel": np.ascontiguousarray(np.concatenate(kernels, axis=1)),
            "bias": np.concatenate(biases),
        }

    def norm(name: str) -> dict[str, Any]:
        return {
            "scale": array(f"{name}.LayerNorm.weight", width),
            "bias": array(f"{name}.LayerNorm.bias", width),
        }

    def block(number: int) -> dict[str, Any]:
        own = f"encoder.layer.{number}"
        attention = f"{own}.attention"
        packed = tuple(f"{attention}.self.{name}" for name in ("query", "key", "value"))
        return {
            "attention": {
                "qkv": linear(packed, width, width),
                "out": linear((f"{attention}.output.dense",), width, width),
            },
            "norm_attention": norm(f"{attention}.output"),
            "mlp_in": linear((f"{own}.intermediate.dense",), width, inner),
            "mlp_out": linear((f"{own}.output.dense",), inner, width),
            "norm_mlp": norm(f"{own}.output"),
        }

    found = {
        "words": embedding("word", sizes.vocabulary),
        "positions": embedding("position", sizes.positions),
        "types": embedding("token_type", sizes.types),
        "norm": norm("embeddings"),
        "blocks": {number: block(number) for number in range(sizes.layers)},
    }
    if "pooler.dense.weight" in named:
        found["pooler"] = linear(("pooler.dense",), width, width)
    return found


def _new_name(name: str) -> str:
    name = name.removeprefix(_PREFIX)
    for old, new in (("LayerNorm.gamma", "weight"), ("LayerNorm.beta", "bias")):
        if name.endswith(old):
            return f"{name.removesuffix(old)}LayerNorm.{new}"
    return name
