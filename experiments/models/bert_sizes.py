"""Sizes of a BERT, as Hugging Face's ``config.json`` names them."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class BertSizes(NamedTuple):
    """Sizes of a model; see the names in :meth:`of`.

    Attributes:
      vocabulary: tokens.
      positions: longest input.
      types: of tokens: those of the first sentence, and of the second.
      width: features of an activation.
      layers: blocks.
      heads: attention heads of a block.
      inner: features within the MLP of a block.
      epsilon: added to variances.
    """

    vocabulary: int
    positions: int
    types: int
    width: int
    layers: int
    heads: int
    inner: int
    epsilon: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "BertSizes":
        """Those in a ``config.json`` of Hugging Face.

        Raises:
          ValueError: one is missing, or the heads do not divide the width.
        """
        names = (
            "vocab_size",
            "max_position_embeddings",
            "type_vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "layer_norm_eps",
        )
        if missing := [name for name in names if name not in config]:
            raise ValueError(f"config.json must have {', '.join(missing)}.")
        sizes = cls(*(config[name] for name in names))
        if sizes.width % sizes.heads:
            raise ValueError(
                "num_attention_heads must divide hidden_size = "
                f"{sizes.width}, got {sizes.heads}."
            )
        return sizes
