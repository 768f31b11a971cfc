"""Many runs as one: trained side by side, each recorded like a run of its own.

There are two ways to train the *lanes* of a sweep. *Placed*: every core of a CPU, or
every accelerator, takes the next lane that is left and trains it alone, to its end,
with the very program of a single run. *Batched* by ``vmap``, or looped by ``lax.map``:
lanes that agree in what is static are one program, whose lanes that are over are left
out between two chunks. ``benchmarks/RESULTS.md`` shows which is the faster one where.

A lane that is finished stays finished; one that was interrupted or killed goes on from
its newest checkpoint, with the same numbers. A finished lane keeps no checkpoint.
"""

import concurrent.futures
import contextlib
import dataclasses
import queue
import shutil
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax

from experiments.engine.programs import EMPTY, BatchOfLanes, Program, SingleRun
from experiments.engine.state import numerics_of
from experiments.host.data import DataSets
from experiments.host.groups import (
    Lane,
    cores,
    digest,
    groups,
    in_turn,
    lanes_at_once,
)
from experiments.host.limits import check_disk, check_place, state_bytes
from experiments.host.loop import SaveEvery, occupied, train_lanes
from experiments.host.recorder import Recorder, Row
from experiments.host.signals import stop_requests
from experiments.records.checkpoint import Checkpoints, quiet_writer
from experiments.records.run import RunDirectory
from experiments.records.sweep import SweepDirectory
from experiments.settings.config import Config
from experiments.settings.task import Params

WAYS = ("placed", "vmap", "map")
ProgramOf = Callable[[Sequence[Config]], Program]


class Progress(Protocol):
    """What a sweep tells while it goes on; called by several threads."""

    def advanced(self, lane: str, row: Row) -> None:
        """A lane has been evaluated."""

    def ended(self, lane: str, summary: dict[str, Any]) -> None:
        """A lane is over."""


def default_way() -> str:
    """The faster way: a CPU has cores for a lane each; accelerators want batches."""
    return "placed" if jax.default_backend() == "cpu" else "vmap"


@dataclasses.dataclass(frozen=True)
class How:
    """What the lanes of a sweep have in common.

    Attributes:
      progress: is told what happens.
      data: data sets, as far as they are loaded.
      save_every: time between checkpoints.
      arguments: of the command line, for the summaries.
      stop_requested: asked between two chunks.
    """

    progress: Progress
    data: DataSets = dataclasses.field(default_factory=DataSets)
    save_every: SaveEvery = dataclasses.field(default_factory=SaveEvery)
    arguments: Sequence[str] = ()
    stop_requested: Callable[[], bool] = lambda: False


def train_sweep(
    sweep: SweepDirectory,
    lanes: Sequence[Lane],
    how: How,
    *,
    way: str,
    command: str,
    at_once: int | None = None,
    force: bool = False,
) -> None:
    """Train every lane that is not finished yet.

    Ctrl-C, SIGTERM or SIGHUP stops it after the chunks under way, saved; a second
    Ctrl-C at once.

    Args:
      sweep: where it is recorded.
      lanes: its runs, from :func:`experiments.host.groups.lanes_of`.
      how: what the lanes have in common.
      way: one of ``WAYS``.
      command: that makes the sweep, for its plan.
      at_once: lanes placed on a CPU at a time; by default one a core.
      force: start all lanes over.

    Raises:
      ValueError: there is no such way.
      RecordError: another process trains the sweep; nothing of it is changed.
      OSError: the checkpoints do not fit on the disk, before anything is written; or
        a record cannot be written: all other lanes have been stopped, saved.
    """
    if way not in WAYS:
        raise ValueError(f"way must be one of {', '.join(WAYS)}, got {way!r}.")
    directory = sweep.path / "groups"
    left = [lane for lane in lanes if force or not lane.run.is_finished(lane.settings)]
    workers, found = [], {}
    if way == "placed":
        workers = _workers(left, at_once or cores(), how)
    elif left:
        found = {directory / digest(g): g for g in groups(lanes, how.data.of)}
    if left:
        check_place(sweep.path)
    _check_disk(sweep, left, len(workers), found.values(), how)
    with contextlib.ExitStack() as stack:
        stack.enter_context(RunDirectory(sweep.path).lock())
        sweep.write_plan([lane.run for lane in lanes], command)
        waiting = []
        for lane in lanes:
            with lane.run.lock():
                sha256 = how.data.sha256(lane.settings.config.task)
                if lane.run.prepare(lane.settings, sha256, force=force):
                    waiting.append(lane)
                else:
                    how.progress.ended(lane.run.path.name, lane.run.summary())
        stack.enter_context(quiet_writer())
        stop_requested = stack.enter_context(stop_requests())
        how = dataclasses.replace(how, stop_requested=stop_requested)
        # Lanes that another way, or a program of other lanes, left unfinished start
        # over: a checkpoint of theirs might be ahead of their rows one day.
        if way == "placed" or not waiting:
            _remove_groups(directory, keep=())
            _tell_which_start_over(waiting, {})
            _train_placed(waiting, workers, how)
            return
        for lane in waiting:
            shutil.rmtree(lane.run.checkpoints, ignore_errors=True)
        _remove_groups(directory, keep=() if force else found)
        _tell_which_start_over(waiting, found)
        for checkpoints, group in found.items():
            _train_together(checkpoints, group, way, how)
        _remove_groups(directory, keep=found)


def _workers(lanes: Sequence[Lane], cores: int, how: How) -> list[jax.Device]:
    """The devices that take a lane each: as many as there are lanes, at the most."""
    devices = jax.devices()
    if lanes and devices[0].platform == "cpu":
        # Threads that share the one device run side by side, and share its programs.
        devices = devices[:1] * min(cores, lanes_at_once(lanes, how.data.of))
    return devices[: len(lanes)]


def _check_disk(
    sweep: SweepDirectory,
    lanes: Sequence[Lane],
    at_once: int,
    groups: Iterable[Sequence[Lane]],
    how: How,
) -> None:
    """The same for the lanes placed at one time, or for the largest group."""
    sizes, notes = {}, 0
    for lane in lanes:
        config = lane.settings.config
        size = state_bytes(config, how.data.of(config.task))
        sizes[lane.run.path], notes = size.total, max(notes, size.notes)
    sums = [sum(sizes.get(lane.run.path, 0) for lane in group) for group in groups]
    placed = sum(sorted(sizes.values())[len(sizes) - at_once :])
    replaced = [*(lane.run.checkpoints for lane in lanes), sweep.path / "groups"]
    notes *= max(at_once, 1)  # the lanes of a group have one checkpoint
    check_disk(sweep.path, max([placed, *sums]) + notes, replaced)


def _train_placed(
    lanes: Sequence[Lane], workers: Sequence[jax.Device], how: How
) -> None:
    """Every worker takes the next lane that is left."""
    if not lanes:
        return
    left: queue.SimpleQueue[Lane] = queue.SimpleQueue()
    for lane in in_turn(lanes):
        left.put(lane)
    failed = threading.Event()

    def stop() -> bool:
        return failed.is_set() or how.stop_requested()

    own = dataclasses.replace(how, stop_requested=stop)

    def alone_on(device: jax.Device) -> ProgramOf:
        def program(configs: Sequence[Config]) -> Program:
            (config,) = configs
            data = how.data.on(device, config.task, config.training.dtype)
            return SingleRun(config, data, device)

        return program

    def work(device: jax.Device) -> None:
        while not stop():
            try:
                lane = left.get_nowait()
            except queue.Empty:
                return
            try:
                _train_group([lane], alone_on(device), lane.run.checkpoints, own)
            except BaseException:
                failed.set()
                raise

    pool = concurrent.futures.ThreadPoolExecutor(len(workers))
    futures = [pool.submit(work, device) for device in workers]
    pool.shutdown(wait=False)  # not by `with`: a second Ctrl-C must not wait for them
    concurrent.futures.wait(futures)  # all: after an error the others save first
    for future in futures:
        future.result()


def _tell_which_start_over(
    lanes: Sequence[Lane], groups: Mapping[Path, Sequence[Lane]]
) -> None:
    """Warn of lanes that had begun and have no checkpoint to go on from."""
    whole = [group for path, group in groups.items() if any(path.glob("*"))]
    saved = {lane.settings for group in whole for lane in group}
    lost = sum(
        lane.run.metrics_file.exists()
        and lane.settings not in saved
        and not any(lane.run.checkpoints.glob("*"))
        for lane in lanes
    )
    if lost:
        warnings.warn(
            f"{lost} of the lanes that had begun start over: they have no checkpoint "
            "that lanes of this way, and of these programs, can go on from.",
            stacklevel=3,
        )


def _remove_groups(groups: Path, keep: Collection[Path]) -> None:
    """Remove checkpoints of programs, but for some."""
    for group in groups.glob("*"):
        if group not in keep:
            shutil.rmtree(group)
    with contextlib.suppress(OSError):  # not there, or not empty
        groups.rmdir()


def _train_together(
    checkpoints: Path, lanes: Sequence[Lane], way: str, how: How
) -> None:
    """The lanes of a group as one program."""

    def together(configs: Sequence[Config]) -> Program:
        return BatchOfLanes(configs, how.data.of(configs[0].task), way)

    while not how.stop_requested():
        rest = [lane for lane in lanes if not lane.run.summary_file.exists()]
        if not rest:
            break
        # A checkpoint holds lanes that may be finished by now: all go on from there.
        chosen = lanes if any(checkpoints.glob("*")) else rest
        _train_group(chosen, together, checkpoints, how)


def _train_group(
    lanes: Sequence[Lane],
    program_of: ProgramOf,
    directory: Path,
    how: How,
) -> None:
    """Train the lanes of one program, and finish each when it is over."""

    def teller(run: RunDirectory) -> Callable[[Row], None]:
        return lambda row: how.progress.advanced(run.path.name, row)

    def finish(lane: int, step: int, params: Params) -> None:
        summary = recorders[lane].finish(step, params, how.arguments)
        how.progress.ended(lanes[lane].run.path.name, summary)

    config = lanes[0].settings.config
    with contextlib.ExitStack() as stack:
        stack.enter_context(numerics_of(config))
        for lane in lanes:
            stack.enter_context(lane.run.lock())
        directory.parent.mkdir(parents=True, exist_ok=True)
        recorders = [Recorder(*lane, teller(lane.run)) for lane in lanes]
        program = program_of([lane.settings.config for lane in lanes])
        checkpoints = Checkpoints(directory)
        step, slots, state = train_lanes(
            recorders,
            program,
            checkpoints,
            stop_requested=how.stop_requested,
            save_every=how.save_every,
            on_end=finish,
        )
        checkpoints.close()
        for slot, number in enumerate(slots):
            if number != EMPTY:  # interrupted
                finish(number, step, program.of_slot(state.params, slot))
        if not occupied(slots):
            shutil.rmtree(directory)
