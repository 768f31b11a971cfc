"""What a run needs of memory, disk and columns, beside what there is."""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax

from experiments.engine.evaluate import Evaluation, evaluate
from experiments.engine.state import TrainState, double_precision_for
from experiments.engine.train import initialize, run_chunk
from experiments.methods.named import did_you_mean
from experiments.methods.observe import ObservedState, state_of
from experiments.records.checkpoint import Checkpoints
from experiments.records.provenance import memory_limit_bytes
from experiments.records.run import RecordError
from experiments.settings.config import Config, Settings
from experiments.settings.target import ACCURACY
from experiments.settings.task import Data

P = ParamSpec("P")
R = TypeVar("R")


class StateBytes(NamedTuple):
    """Bytes of a run's parameters, of its filters' state, and of its whole state."""

    parameters: int
    filter: int
    total: int


class Memory(NamedTuple):
    """Bytes that training needs, by the compiler's account.

    Attributes:
      data: shared by all lanes on a device.
      lane: of every lane: state, activations and what else is temporary.
    """

    data: int
    lane: int

    @property
    def total(self) -> int:
        """Of a run alone."""
        return self.data + self.lane


def _in_dtype(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: :func:`double_precision_for` the first argument."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        first: Any = args[0]
        with double_precision_for(getattr(first, "config", first)):
            return function(*args, **kwargs)

    return called


@_in_dtype
def state_bytes(config: Config, data: Data) -> StateBytes:
    """Sizes of a run's state; nothing is compiled."""
    state = _abstract_state(config, data)
    filters = state_of(state.opt_state, ObservedState).inner
    return StateBytes(_size(state.params), _size(filters), _size(state))


@_in_dtype
def expected_memory(settings: Settings, data: Data) -> Memory:
    """Compiles the programs of a chunk and of an evaluation: the larger one counts."""
    config, every = settings.config.traced(), settings.budget.eval_every
    state, due = _abstract_state(config, data), (True,) * len(config.measures)
    programs = (
        run_chunk.lower(config, every, data, state),
        evaluate.lower(config, data, state, due),
    )

    def needed(program: jax.stages.Lowered) -> int:
        analysis: Any = program.compile().memory_analysis()
        return (
            analysis.argument_size_in_bytes
            + analysis.temp_size_in_bytes
            + analysis.output_size_in_bytes
            - analysis.alias_size_in_bytes
        )

    size = _size(data)
    return Memory(size, max(map(needed, programs)) - size)


def check_memory(config: Config, data: Data) -> None:
    """Check that a run's state fits: the backend might hang instead of failing.

    Raises:
      RecordError: it does not.
    """
    sizes, memory = state_bytes(config, data), memory_limit_bytes()
    projections = config.training.gradient_projections
    size = sizes.total + projections * sizes.parameters + _size(data)
    if memory is None or size <= memory:
        return
    windows = (getattr(method, "window_size", None) for method in config.filters)
    listed = [f"window_size = {window}" for window in windows if window]
    listed += [f"gradient_projections = {projections}"] if projections else []
    raise RecordError(
        "the state (parameters, filter, optimizer, projections) and the data need "
        f"{size / 2**30:.2f} GiB, the device has {memory / 2**30:.2f}; reduce "
        f"{', '.join([*listed, 'the model'])}."
    )


@_in_dtype
def check_target(settings: Settings, data: Data) -> None:
    """Check that the target is on a column that the run will have.

    Raises:
      RecordError: it is not.
    """
    config, target = settings.config.traced(), settings.budget.target
    if target is None or target.column == ACCURACY:
        return
    due = (True,) * len(config.measures)
    state = _abstract_state(config, data)
    found: Evaluation = jax.eval_shape(evaluate, config, data, state, due)
    columns = {"step", *found.row(due)}
    if target.column not in columns:
        raise RecordError(
            f"stop_at: no column {target.column!r} among the metrics: "
            f"{', '.join(sorted(columns))}.{did_you_mean(target.column, columns)}"
        )


def check_disk(checkpoints: Path, size: int) -> None:
    """Check that checkpoints of that size will fit beside what is there already.

    Raises:
      OSError: they will not.
    """
    there = sum(f.stat().st_size for f in checkpoints.rglob("*") if f.is_file())
    needed = Checkpoints.COPIES * size - there
    place = checkpoints.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OSError(
            f"{place} has {free / 2**20:.0f} MiB free, the checkpoints need "
            f"{needed / 2**20:.0f} more."
        )


def _abstract_state(config: Config, data: Data) -> TrainState:
    return jax.eval_shape(initialize, config.traced(), data)


def _size(tree: Any) -> int:
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))
