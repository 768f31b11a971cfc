"""Which lanes of a sweep go together: into one program, into the memory, in turn."""

import collections
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from experiments.host.limits import Memory, expected_memory, state_bytes
from experiments.records.provenance import memory_limit_bytes
from experiments.records.run import RunDirectory, place_of
from experiments.settings.config import Settings
from experiments.settings.task import Data, Task

LARGEST_GROUP = 256
MEMORY_SHARE = 0.6  # of the device: packing lanes anew needs old and new states
_SMALL = 1e-3  # of the memory: so small a state that no compiler need be asked

DataOf = Callable[[Task], Data]


class Lane(NamedTuple):
    """One run of a sweep: its settings and where it is recorded."""

    settings: Settings
    run: RunDirectory


def lanes_of(root: Path, settings: Sequence[Settings]) -> list[Lane]:
    """The lanes of a sweep: where they are is a function of the settings alone."""
    return [Lane(each, place_of(root / "lanes", each)) for each in settings]


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def program_key(settings: Settings) -> str:
    """Lanes with the same one can be one program."""
    budget = settings.budget
    structure = jax.tree.structure(settings.config)
    return f"{structure} {budget.steps} {budget.eval_every}"


def in_turn(lanes: Sequence[Lane]) -> list[Lane]:
    """The first lane of every program, then the second …: compiled side by side."""
    seen: collections.Counter[str] = collections.Counter()
    places = []
    for lane in lanes:
        key = program_key(lane.settings)
        places.append(seen[key])
        seen[key] += 1
    order = sorted(range(len(lanes)), key=places.__getitem__)
    return [lanes[i] for i in order]


def groups(lanes: Sequence[Lane], data_of: DataOf) -> Iterator[list[Lane]]:
    """Lanes that can be one program and fit into the memory."""

    def key(lane: Lane) -> str:
        return program_key(lane.settings)

    for _, group in itertools.groupby(sorted(lanes, key=key), key):
        members = list(group)
        size = _largest_group(members, data_of)
        for start in range(0, len(members), size):
            yield members[start : start + size]


def digest(lanes: Sequence[Lane]) -> str:
    """A name for lanes that are one program."""
    names = "\n".join(lane.run.path.name for lane in lanes)
    return hashlib.sha256(names.encode()).hexdigest()[:8]


def _largest_group(lanes: Sequence[Lane], data_of: DataOf) -> int:
    """How many such lanes fit, by the compiler's account of one."""
    memory = memory_limit_bytes()
    if memory is None or len(lanes) == 1:
        return LARGEST_GROUP
    settings = lanes[0].settings
    need = expected_memory(settings, data_of(settings.config.task))
    devices = min(jax.device_count(), len(lanes))
    total = memory if jax.default_backend() == "cpu" else memory * devices
    return min(LARGEST_GROUP, _that_fit(total, need))


def lanes_at_once(lanes: Sequence[Lane], data_of: DataOf) -> int:
    """How many lanes of any of the programs fit into the memory at a time.

    Small states fit without question; of others the compiler gives account.
    """
    memory = memory_limit_bytes()
    if memory is None:
        return len(lanes)
    programs = {program_key(lane.settings): lane.settings for lane in lanes}
    least = len(lanes)
    for settings in programs.values():
        data = data_of(settings.config.task)
        if state_bytes(settings.config, data).total > _SMALL * memory:
            least = min(least, _that_fit(memory, expected_memory(settings, data)))
    return max(1, least)


def _that_fit(memory: float, need: Memory) -> int:
    return max(1, int((MEMORY_SHARE * memory - need.data) / need.lane))
