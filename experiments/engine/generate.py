"""How a language model goes on with a text: token after token, drawn by its logits."""

import functools

import jax
import jax.numpy as jnp

from experiments.engine.state import with_precision
from experiments.settings.config import Config
from experiments.settings.task import Key, ModelState, Params


@functools.partial(jax.jit, static_argnames=("window", "count", "choices", "top_k"))
@with_precision
def generate(
    config: Config,
    params: Params,
    model_state: ModelState,
    prompt: jax.Array,
    key: Key,
    temperature: jax.typing.ArrayLike = 1.0,
    *,
    window: int,
    count: int,
    choices: int,
    top_k: int,
) -> jax.Array:
    """The prompt and ``count`` tokens more.

    Every token is of a whole forward pass on the last ``window`` tokens: with positions
    that are learned, all that is known of a token changes when the window moves on.
    Fewer tokens stand at its beginning; what follows them is not seen, by causality.

    Args:
      config: ``Config.traced()`` of a task whose examples have ``tokens [n, window]``,
        and its predictions logits of the next ones, ``[n, window, vocabulary]``.
      params: the model's.
      model_state: the model's.
      prompt: tokens to begin with, one at least.
      key: of the draws; that of a token depends on how many come before it.
      temperature: that logits are divided by.
      window: tokens that are seen.
      count: how many to add.
      choices: the first so many tokens of the vocabulary may be drawn.
      top_k: of them the likeliest so many; 1 draws nothing.
    """
    length = len(prompt)
    empty = jnp.zeros(length + count + window, jnp.int32)

    def with_next(text: jax.Array, end: jax.Array) -> tuple[jax.Array, None]:
        start = jnp.maximum(end - window, 0)
        seen = jax.lax.dynamic_slice_in_dim(text, start, window)
        outputs, _ = config.task.forward(
            params, model_state, {"tokens": seen[None]}, None, train=False
        )
        logits = outputs.prediction[0, end - start - 1, :choices] / temperature
        least = jax.lax.top_k(logits, min(top_k, choices))[0][-1]
        likely = jnp.where(logits < least, -jnp.inf, logits)
        token = jax.random.categorical(jax.random.fold_in(key, end), likely)
        return text.at[end].set(token), None

    text, _ = jax.lax.scan(
        with_next, empty.at[:length].set(prompt), length + jnp.arange(count)
    )
    return text[: length + count]
