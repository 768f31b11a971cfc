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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax

from experiments import provenance, runner
from experiments.checkpoint import Checkpoints
from experiments.config import Config
from experiments.programs import EMPTY, Alone, Program, Together
from experiments.recorder import Recorder
from experiments.records import RunDirectory, run_name

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
    runs = lanes_of(root, configs)
    if force:
        shutil.rmtree(root / "groups", ignore_errors=True)
    waiting = []
    for config, run in zip(configs, runs, strict=True):
        with run.lock():
            if run.prepare(config, force=force):
                waiting.append((config, run))
            else:
                progress.ended(run.path.name, run.summary())

    load = functools.cache(lambda task: task.load())
    how = {
        "load": load,
        "checkpoint_seconds": checkpoint_seconds,
        "arguments": arguments,
        "progress": progress,
    }
    with runner.stop_requests() as stop_requested:
        if way == "placed":
            _train_placed(waiting, at_once or cores(), stop_requested, how)
            return
        for group in _groups(configs):
            if not stop_requested():
                _train_together(root, group, way, stop_requested, how)


Lanes = Sequence[tuple[Config, RunDirectory]]


def _train_placed(
    lanes: Lanes, cores: int, stop_requested: Callable[[], bool], how: dict[str, Any]
) -> None:
    """Every worker takes the next lane that is left."""
    left: queue.SimpleQueue[tuple[Config, RunDirectory]] = queue.SimpleQueue()
    for lane in _programs_in_turn(lanes):
        left.put(lane)
    failed = threading.Event()

    def stop() -> bool:
        return failed.is_set() or stop_requested()

    def work(device: jax.Device) -> None:
        while not stop():
            try:
                config, run = left.get_nowait()
            except queue.Empty:
                return
            try:
                data = how["load"](config.task)
                program = functools.partial(Alone, config, data, device)
                _train_group([(config, run)], program, run.checkpoints, stop, how)
            except BaseException:
                failed.set()
                raise

    devices = jax.devices()
    if devices[0].platform == "cpu":
        # Threads that share the one device run side by side, and share its programs.
        devices = devices[:1] * cores
    workers = devices[: len(lanes)]
    if not workers:
        return
    pool = concurrent.futures.ThreadPoolExecutor(len(workers))
    futures = [pool.submit(work, device) for device in workers]
    pool.shutdown(wait=False)  # not by `with`: a second Ctrl-C must not wait for them
    for future in concurrent.futures.as_completed(futures):
        future.result()


def _programs_in_turn(lanes: Lanes) -> Lanes:
    """The first lane of every program, then the second …: compiled side by side."""
    seen: collections.Counter[Config] = collections.Counter()
    places = []
    for config, _ in lanes:
        places.append(seen[config.static()])
        seen[config.static()] += 1
    order = sorted(range(len(lanes)), key=places.__getitem__)
    return [lanes[i] for i in order]


def _train_together(
    root: Path,
    configs: Sequence[Config],
    way: str,
    stop_requested: Callable[[], bool],
    how: dict[str, Any],
) -> None:
    """The lanes of a group as one program."""
    lanes = list(zip(configs, lanes_of(root, configs), strict=True))
    names = "\n".join(run.path.name for _, run in lanes)
    digest = hashlib.sha256(names.encode()).hexdigest()[:8]
    checkpoints = root / "groups" / digest
    while not stop_requested():
        rest = [lane for lane in lanes if not lane[1].summary_file.exists()]
        if not rest:
            break
        # A checkpoint holds lanes that may be finished by now: all go on from there.
        chosen = lanes if any(checkpoints.glob("*")) else rest
        program = functools.partial(
            Together,
            [config for config, _ in chosen],
            how["load"](configs[0].task),
            way,
        )
        _train_group(chosen, program, checkpoints, stop_requested, how)


def _train_group(
    lanes: Lanes,
    make_program: Callable[[], Program],
    directory: Path,
    stop_requested: Callable[[], bool],
    how: dict[str, Any],
) -> None:
    """Train the lanes of one program, and finish each when it is over."""
    progress, arguments = how["progress"], how["arguments"]

    def teller(run: RunDirectory) -> Callable[[dict[str, Any]], None]:
        return lambda row: progress.advanced(run.path.name, row)

    def finish(lane: int, step: int, params: Any) -> None:
        summary = recorders[lane].finish(step, params, arguments)
        progress.ended(lanes[lane][1].path.name, summary)

    with contextlib.ExitStack() as stack:
        stack.enter_context(runner.double_precision_for(lanes[0][0]))
        for _, run in lanes:
            stack.enter_context(run.lock())
        directory.parent.mkdir(parents=True, exist_ok=True)
        size = sum(runner.state_bytes(config)["total"] for config, _ in lanes)
        runner.check_disk(directory, size)
        recorders = [Recorder(config, run, teller(run)) for config, run in lanes]
        program, checkpoints = make_program(), Checkpoints(directory)
        step, slots, state = runner.train_lanes(
            recorders,
            program,
            checkpoints,
            stop_requested=stop_requested,
            checkpoint_seconds=how["checkpoint_seconds"],
            on_end=finish,
        )
        checkpoints.close()
        for slot, lane in enumerate(slots):
            if lane != EMPTY:  # interrupted
                finish(lane, step, program.of_slot(state.params, slot))
        if not runner.occupied(slots):
            shutil.rmtree(directory)


def _groups(configs: Sequence[Config]) -> Iterator[list[Config]]:
    """Lanes that can be one program and fit into the memory."""

    def key(config: Config) -> str:
        training = config.training
        return repr((config.static(), training.steps, training.eval_every))

    for _, group in itertools.groupby(sorted(configs, key=key), key):
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
