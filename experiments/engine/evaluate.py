"""Scores of a run on its full splits, and what its measures find."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.engine.compiled import compiled
from experiments.engine.state import Keys, TrainState, with_precision
from experiments.settings.config import Config
from experiments.settings.measure import UNDEFINED, Measure, Point
from experiments.settings.task import Data, Examples

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
        """All by name, NaN for what was not due and what is undefined."""
        found: dict[str, Any] = dict(self.scores)
        for values, is_due in zip(self.measures, due, strict=True):
            for name, value in values.items():
                found[name] = _or_nan(value) if is_due else math.nan
        return found


def _or_nan(value: Any) -> Any:
    """A number, or those of many lanes, on the host; NaN where it is undefined."""
    undefined = np.asarray(value) == UNDEFINED
    return np.where(undefined, math.nan, value)[()] if undefined.any() else value


@compiled()
@with_precision
def evaluate(
    config: Config, data: Data, state: TrainState, due: tuple[jax.Array, ...]
) -> Evaluation:
    """Scores on the full splits, or what the task scores of them, and measures.

    The rows of all splits go through the model as one list, in batches of about a
    thousand or what the task bears: activations stay in the cache, the model is
    compiled once, not once a split, and no example is copied but into its batch.

    Args:
      config: ``Config.traced()``.
      data: ``task.load()`` on the device.
      state: of the run.
      due: for every measure of the configuration whether to take it.
    """
    task, keys = config.task, Keys.from_seed(config.training.seed)
    splits = task.splits(data, keys.split)
    data = task.with_split(data, splits)
    model_state = task.evaluation_state(state.params, state.model_state, data, splits)
    splits = task.scored(splits)
    rows = jnp.concatenate(list(splits.values()))
    count = len(rows)
    batch_size = -(-count // -(-count // task.evaluation_batch))
    padded = jnp.concatenate([rows, rows[: -count % batch_size]])

    def values(examples: Examples) -> dict[str, jax.Array]:
        outputs, _ = task.forward(
            state.params, model_state, examples, None, train=False
        )
        return task.values(outputs, examples)

    on_rows = functools.partial(task.on_examples, values, data)
    each = jax.lax.map(on_rows, padded.reshape(-1, batch_size))
    each = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], each)
    of_splits: dict[str, dict[str, jax.Array]] = {}
    scores: dict[str, jax.Array] = {}
    start = 0
    for split, own_rows in splits.items():
        part = slice(start, start := start + len(own_rows))
        of_splits[split] = {name: value[part] for name, value in each.items()}
        found = task.score(of_splits[split], config.training.dtype)
        scores |= {f"{split}_{name}": value for name, value in found.items()}
    key = jax.random.fold_in(jax.random.key(config.training.seed), _STREAM)
    own = state.params, model_state, state.opt_state
    point = Point(task, data, splits, *own, key, state.step, of_splits)
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
