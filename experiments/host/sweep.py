"""Many runs as one: trained side by side, each recorded like a run of its own.

There are two ways to train the *lanes* of a sweep. *Placed*: every core of a CPU, or
every accelerator, takes the next lane that is left and trains it alone, to its end,
with the very program of a single run. *Batched* by ``vmap``, or looped by ``lax.map``:
lanes that agree in what is static are one program, whose lanes that are over are left
out between two chunks. ``benchmarks/RESULTS.md`` shows which is the faster one where.

A lane that is finished stays finished; one that was interrupted or killed goes on from
its newest checkpoint, with the same numbers. A finished lane keeps no checkpoint.
"""

import collections
import concurrent.futures
import contextlib
import functools
import hashlib
import itertools
import os
import queue
import shutil
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax

from experiments.engine.programs import EMPTY, Alone, Program, Together
from experiments.host import loop as runner
from experiments.host.recorder import Recorder
from experiments.records import provenance
from experiments.records.checkpoint import Checkpoints
from experiments.records.run import RunDirectory, run_name
from experiments.settings.config import Config

WAYS = ("placed", "vmap", "map")
_LARGEST_GROUP = 256
_MEMORY_SHARE = 0.6  # of the device: packing lanes anew needs old and new states


class Progress(Protocol):
    """What a sweep tells while it goes on; called by several threads."""

    def advanced(self, lane: str, row: dict[str, Any]) -> None:
        """A lane has been evaluated."""

    def ended(self, lane: str, summary: dict[str, Any]) -> None:
        """A lane is over."""


def default_way() -> str:
    """The faster way: a CPU has cores for a lane each; accelerators want batches."""
    return "placed" if jax.default_backend() == "cpu" else "vmap"


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def lanes_of(root: Path, configs: Sequence[Config]) -> list[RunDirectory]:
    """Where the lanes are recorded: names are a function of the settings alone."""
    return [RunDirectory(root / "lanes" / run_name(config)) for config in configs]


def train_sweep(
    root: Path,
    configs: Sequence[Config],
    *,
    way: str,
    progress: Progress,
    at_once: int | None = None,
    force: bool = False,
    checkpoint_seconds: float = 60.0,
    arguments: Sequence[str] = (),
) -> None:
    """Train every lane that is not finished yet.

    Ctrl-C or SIGTERM stops it after the chunks under way, saved; a second one at once.

    Args:
      root: directory of the sweep.
      configs: the lanes.
      way: one of ``WAYS``.
      progress: is told what happens.
      at_once: lanes placed on a CPU at a time; by default one a core.
      force: start all lanes over.
      checkpoint_seconds: wall time between checkpoints.
      arguments: of the command line, for the summaries.

    Raises:
      OSError: a record cannot be written. All other lanes have been stopped, saved.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(RunDirectory(root).lock())
        waiting = []
        for config, run in zip(configs, lanes_of(root, configs), strict=True):
            with run.lock():
                if run.prepare(config, force=force):
                    waiting.append((config, run))
                else:
                    progress.ended(run.path.name, run.summary())
        stop_requested = stack.enter_context(runner.stop_requests())
        how = _How(progress, checkpoint_seconds, arguments, stop_requested)
        # Lanes that another way, or a program of other lanes, left unfinished start
        # over: a checkpoint of theirs might be ahead of their rows one day.
        if way == "placed" or not waiting:
            _remove_groups(root, keep=())
            _tell_which_start_over(waiting, {})
            _train_placed(waiting, at_once or cores(), how)
            return
        for _, run in waiting:
            shutil.rmtree(run.checkpoints, ignore_errors=True)
        groups = {root / "groups" / _digest(g): g for g in _groups(configs)}
        _remove_groups(root, keep=() if force else groups)
        _tell_which_start_over(waiting, groups)
        for checkpoints, group in groups.items():
            _train_together(root, checkpoints, group, way, how)
        _remove_groups(root, keep=groups)


Lanes = Sequence[tuple[Config, RunDirectory]]


class _How(NamedTuple):
    """What all lanes have in common; see :func:`train_sweep`."""

    progress: Progress
    checkpoint_seconds: float
    arguments: Sequence[str]
    stop_requested: Callable[[], bool]


def _train_placed(lanes: Lanes, cores: int, how: _How) -> None:
    """Every worker takes the next lane that is left."""
    left: queue.SimpleQueue[tuple[Config, RunDirectory]] = queue.SimpleQueue()
    for lane in _programs_in_turn(lanes):
        left.put(lane)
    failed, load = threading.Event(), functools.cache(lambda task: task.load())

    def stop() -> bool:
        return failed.is_set() or how.stop_requested()

    def work(device: jax.Device) -> None:
        while not stop():
            try:
                config, run = left.get_nowait()
            except queue.Empty:
                return
            try:
                program = functools.partial(Alone, config, load(config.task), device)
                own = how._replace(stop_requested=stop)
                _train_group([(config, run)], program, run.checkpoints, own)
            except BaseException:
                failed.set()
                raise

    devices = jax.devices()
    if devices[0].platform == "cpu":
        # Threads that share the one device run side by side, and share its programs.
        devices = devices[:1] * min(cores, _that_fit(lanes))
    workers = devices[: len(lanes)]
    if not workers:
        return
    pool = concurrent.futures.ThreadPoolExecutor(len(workers))
    futures = [pool.submit(work, device) for device in workers]
    pool.shutdown(wait=False)  # not by `with`: a second Ctrl-C must not wait for them
    concurrent.futures.wait(futures)  # all: after an error the others save first
    for future in futures:
        future.result()


def _that_fit(lanes: Lanes) -> int:
    """How many lanes fit into the memory at a time, by the size of their states."""
    memory = provenance.memory_limit_bytes()
    static = {config.static() for config, _ in lanes}
    largest = max((runner.state_bytes(c)["total"] for c in static), default=1)
    return max(1, int(_MEMORY_SHARE * memory / largest)) if memory else len(lanes)


def _programs_in_turn(lanes: Lanes) -> Lanes:
    """The first lane of every program, then the second …: compiled side by side."""
    seen: collections.Counter[Config] = collections.Counter()
    places = []
    for config, _ in lanes:
        places.append(seen[config.static()])
        seen[config.static()] += 1
    order = sorted(range(len(lanes)), key=places.__getitem__)
    return [lanes[i] for i in order]


def _tell_which_start_over(
    lanes: Lanes, groups: Mapping[Path, Sequence[Config]]
) -> None:
    """Warn of lanes that had begun and have no checkpoint to go on from."""
    whole = [g for path, g in groups.items() if any(path.glob("*"))]
    saved = {config for group in whole for config in group}
    lost = sum(
        run.metrics_file.exists()
        and config not in saved
        and not any(run.checkpoints.glob("*"))
        for config, run in lanes
    )
    if lost:
        warnings.warn(
            f"{lost} of the lanes that had begun start over: they have no checkpoint "
            "that lanes of this way, and of these programs, can go on from.",
            stacklevel=3,
        )


def _digest(configs: Sequence[Config]) -> str:
    """A name for lanes that are one program."""
    names = "\n".join(map(run_name, configs))
    return hashlib.sha256(names.encode()).hexdigest()[:8]


def _remove_groups(root: Path, keep: Collection[Path]) -> None:
    """Remove checkpoints of programs, but for some."""
    groups = root / "groups"
    for group in groups.glob("*"):
        if group not in keep:
            shutil.rmtree(group)
    with contextlib.suppress(OSError):  # not there, or not empty
        groups.rmdir()


def _train_together(
    root: Path,
    checkpoints: Path,
    configs: Sequence[Config],
    way: str,
    how: _How,
) -> None:
    """The lanes of a group as one program."""
    lanes = list(zip(configs, lanes_of(root, configs), strict=True))
    while not how.stop_requested():
        rest = [lane for lane in lanes if not lane[1].summary_file.exists()]
        if not rest:
            break
        # A checkpoint holds lanes that may be finished by now: all go on from there.
        chosen = lanes if any(checkpoints.glob("*")) else rest
        data = configs[0].task.load()
        program = functools.partial(Together, [c for c, _ in chosen], data, way)
        _train_group(chosen, program, checkpoints, how)


def _train_group(
    lanes: Lanes,
    make_program: Callable[[], Program],
    directory: Path,
    how: _How,
) -> None:
    """Train the lanes of one program, and finish each when it is over."""

    def teller(run: RunDirectory) -> Callable[[dict[str, Any]], None]:
        return lambda row: how.progress.advanced(run.path.name, row)

    def finish(lane: int, step: int, params: Any) -> None:
        summary = recorders[lane].finish(step, params, how.arguments)
        how.progress.ended(lanes[lane][1].path.name, summary)

    with contextlib.ExitStack() as stack:
        stack.enter_context(runner.double_precision_for(lanes[0][0]))
        for _, run in lanes:
            stack.enter_context(run.lock())
        directory.parent.mkdir(parents=True, exist_ok=True)
        size = runner.state_bytes(lanes[0][0])["total"]
        runner.check_disk(directory, len(lanes) * size)
        recorders = [Recorder(config, run, teller(run)) for config, run in lanes]
        program, checkpoints = make_program(), Checkpoints(directory)
        step, slots, state = runner.train_lanes(
            recorders,
            program,
            checkpoints,
            stop_requested=how.stop_requested,
            checkpoint_seconds=how.checkpoint_seconds,
            on_end=finish,
        )
        checkpoints.close()
        for slot, lane in enumerate(slots):
            if lane != EMPTY:  # interrupted
                finish(lane, step, program.of_slot(state.params, slot))
        if not runner.occupied(slots):
            shutil.rmtree(directory)


def program_key(config: Config) -> str:
    """Lanes with the same one can be one program."""
    training = config.training
    return repr((config.static(), training.steps, training.eval_every))


def _groups(configs: Sequence[Config]) -> Iterator[list[Config]]:
    """Lanes that can be one program and fit into the memory."""
    ordered = sorted(configs, key=program_key)
    for _, group in itertools.groupby(ordered, program_key):
        members = list(group)
        size = _largest_group(members)
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _largest_group(configs: Sequence[Config]) -> int:
    """How many such lanes fit, by the compiler's account of one."""
    memory = provenance.memory_limit_bytes()
    if memory is None or len(configs) == 1:
        return _LARGEST_GROUP
    one = runner.expected_memory(configs[0])
    devices = min(jax.device_count(), len(configs))
    total = memory if jax.default_backend() == "cpu" else memory * devices
    return min(_LARGEST_GROUP, max(1, int(_MEMORY_SHARE * total / one)))
