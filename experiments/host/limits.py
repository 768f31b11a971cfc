"""What a run needs of memory, disk and columns, beside what there is."""

import fnmatch
import functools
import math
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax

from experiments.engine.evaluate import Evaluation, evaluate
from experiments.engine.state import TrainState, numerics_of
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
    """Bytes of a run's state.

    Attributes:
      parameters: of the parameters.
      filter: of its filters' state.
      total: of all of it.
      notes: that a checkpoint needs beside, for the arrays' names, forms and files.
    """

    parameters: int
    filter: int
    total: int
    notes: int


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
    """Decorator: :func:`numerics_of` the first argument."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        first: Any = args[0]
        with numerics_of(getattr(first, "config", first)):
            return function(*args, **kwargs)

    return called


@_in_dtype
def state_bytes(config: Config, data: Data) -> StateBytes:
    """Sizes of a run's state; nothing is compiled."""
    state = _abstract_state(config, data)
    filters = state_of(state.opt_state, ObservedState).inner
    # By the blocks of 4 KiB: 127 KiB for 57 arrays and 172 KiB for 125, as measured.
    notes = 81920 + 1024 * len(jax.tree.leaves(state))
    return StateBytes(_size(state.params), _size(filters), _size(state), notes)


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
        f"{in_units(size)}, the device has {in_units(memory)}; reduce "
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


def check_place(place: Path) -> None:
    """Check, before anything is written, that checkpoints could be read again.

    Orbax looks for a checkpoint's parts with the whole path as a pattern, and finds
    none if a name is one that does not match itself.

    Args:
      place: directory of the record; need not exist.

    Raises:
      RecordError: they could not.
    """
    for name in place.absolute().parts[1:]:
        if "\\" in name or not fnmatch.fnmatchcase(name, name):
            raise RecordError(
                f"no checkpoint could be read again in {place.absolute()}: the "
                f"brackets or backslashes of {name!r} are a pattern to what writes "
                "them; choose another --run-dir, or a link to this one."
            )


def check_disk(place: Path, size: int, replaced: Iterable[Path]) -> None:
    """Check, before anything is written, that checkpoints of that size will fit.

    Args:
      place: directory of the record; need not exist.
      size: of the states that are saved at one time, with their notes.
      replaced: directories of checkpoints, which new ones will replace.

    Raises:
      OSError: they will not fit.
    """
    there = sum(
        file.stat().st_size
        for directory in replaced
        for file in directory.rglob("*")
        if file.is_file()
    )
    needed = Checkpoints.COPIES * size - there
    exists = next(each for each in (place, *place.absolute().parents) if each.exists())
    free = shutil.disk_usage(exists).free
    if needed > free:
        raise OSError(
            f"{exists} has {in_units(free)} free, the checkpoints need "
            f"{in_units(needed)}; make room, or choose another --run-dir."
        )


def in_units(size: float) -> str:
    """A number of bytes, in the unit that suits it.

    Example:
      >>> in_units(700), in_units(1 << 14), in_units(3.5 * 2**20), in_units(2**43)
      ('700 B', '16 KiB', '3.5 MiB', '8 TiB')
    """
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = min(int(math.log2(max(size, 1))) // 10, len(units) - 1)
    return f"{size / 1024**power:.4g} {units[power]}"


def _abstract_state(config: Config, data: Data) -> TrainState:
    return jax.eval_shape(initialize, config.traced(), data)


def _size(tree: Any) -> int:
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))
