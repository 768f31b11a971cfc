"""How the columns of ``[F, N]`` activations stand for positions of examples.

Columns go position by position: all examples' first tokens, then all second ones. A
causal model computes at a position what the tokens up to there determine. Where many
examples begin alike, each distinct beginning (*prefix*) therefore needs columns only
once: of the equations x ∘ y = in a batch of 512 there are as many beginnings "x ∘" as
symbols, 97 for instance, and the first two positions shrink from 1024 columns to 194.
The numbers are the same but for the order of sums, as long as they are finite: a
prefix that overflows spreads to all examples.
"""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Columns:
    """The arrangement of one batch.

    Attributes:
      tokens: token of each column, ``[N]``.
      sizes: number of columns of each position.
      prefix_length: number of leading positions whose columns are prefixes.
      prefix_of: one-hot prefix of each example, float32 ``[prefixes, B]``.
    """

    tokens: jax.Array
    sizes: tuple[int, ...]
    prefix_length: int = 0
    prefix_of: jax.Array | None = None

    @classmethod
    def arrange(
        cls, tokens_BxL: jax.Array, prefixes_PxK: jax.Array | None = None
    ) -> "Columns":
        """Columns for a batch.

        Args:
          tokens_BxL: the examples.
          prefixes_PxK: the first K tokens of every example whose first token is the
            row's index; None to give every example columns of its own.
        """
        batch, length = tokens_BxL.shape
        if prefixes_PxK is None:
            return cls(tokens_BxL.T.reshape(-1), (batch,) * length)
        count, shared = prefixes_PxK.shape
        own = tokens_BxL[:, shared:].T.reshape(-1)
        return cls(
            jnp.concatenate([prefixes_PxK.T.reshape(-1), own]),
            (count,) * shared + (batch,) * (length - shared),
            shared,
            jax.nn.one_hot(tokens_BxL[:, 0], count, dtype=jnp.float32, axis=0),
        )

    def split(self, a_FxN: jax.Array) -> list[jax.Array]:
        """The columns of each position."""
        return list(jax.lax.split(a_FxN, self.sizes, axis=1))

    def of_examples(self, parts: list[jax.Array]) -> list[jax.Array]:
        """The columns of each position, one an example: ``[F, B]`` each."""
        if self.prefix_of is None:
            return parts
        # A product with one-hot columns: its gradient is a product too, not a scatter.
        # It copies, so it needs every bit, whatever the precision of other products.
        prefixes = [
            jnp.matmul(part, self.prefix_of, precision="highest")
            for part in parts[: self.prefix_length]
        ]
        return prefixes + parts[self.prefix_length :]

    def of_positions(self, a_FxL: jax.Array) -> jax.Array:
        """What depends on the position alone, in every column."""
        return jnp.concatenate(
            [
                jnp.broadcast_to(a_FxL[:, i : i + 1], (len(a_FxL), size))
                for i, size in enumerate(self.sizes)
            ],
            axis=1,
        )
