"""Scores of a run on its full splits, and what its measures find."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.engine.state import Keys, TrainState, with_precision
from experiments.settings.config import Config
from experiments.settings.measure import Measure, Point
from experiments.settings.task import Data

_EVALUATION_BATCH = 1024  # examples at most
_STREAM = 0x4D454153  # keys of measures, apart from those that split() makes


class Evaluation(NamedTuple):
    """What one evaluation of a run gives.

    Attributes:
      scores: on the full splits: ``train_loss``, ``validation_loss`` and so on.
      measures: of every measure of the configuration, zeros if it was not due.
    """

    scores: dict[str, jax.Array]
    measures: tuple[dict[str, jax.Array], ...]

    def row(self, due: Sequence[bool]) -> dict[str, Any]:
        """All by name, NaN for what was not due."""
        found: dict[str, Any] = dict(self.scores)
        for values, is_due in zip(self.measures, due, strict=True):
            found |= values if is_due else dict.fromkeys(values, math.nan)
        return found


@jax.jit
@with_precision
def evaluate(
    config: Config, data: Data, state: TrainState, due: tuple[jax.Array, ...]
) -> Evaluation:
    """Scores on the full splits, and measures.

    The rows of all splits go through the model as one list, in batches of about a
    thousand: activations stay in the cache, the model is compiled once, not once a
    split, and no example is copied but into its batch.

    Args:
      config: ``Config.traced()``.
      data: ``task.load()`` on the device.
      state: of the run.
      due: for every measure of the configuration whether to take it.
    """
    task, keys = config.task, Keys.from_seed(config.training.seed)
    splits = task.splits(data, keys.split)
    rows = jnp.concatenate(list(splits.values()))
    count = len(rows)
    batch_size = -(-count // -(-count // _EVALUATION_BATCH))
    padded = jnp.concatenate([rows, rows[: -count % batch_size]])

    def values(rows: jax.Array) -> dict[str, jax.Array]:
        examples = task.take(data, rows)
        outputs, _ = task.forward(
            state.params, state.model_state, examples, None, train=False
        )
        return task.values(outputs, examples)

    each = jax.lax.map(values, padded.reshape(-1, batch_size))
    each = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], each)
    scores: dict[str, jax.Array] = {}
    start = 0
    for split, own in splits.items():
        part = slice(start, start := start + len(own))
        found = task.score(
            {name: value[part] for name, value in each.items()}, config.training.dtype
        )
        scores |= {f"{split}_{name}": value for name, value in found.items()}
    key = jax.random.fold_in(jax.random.key(config.training.seed), _STREAM)
    point = Point(task, data, splits, *state[1:], key)
    pairs = zip(config.measures, due, strict=True)
    return Evaluation(scores, tuple(_measured(m, point, is_due) for m, is_due in pairs))


def _measured(
    measure: Measure, point: Point, is_due: jax.Array
) -> dict[str, jax.Array]:
    if measure.every == 1:
        return measure(point)
    take = functools.partial(measure, point)
    nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(take))
    return jax.lax.cond(is_due, take, lambda: nothing)
