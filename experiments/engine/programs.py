"""What advances the lanes of a sweep: a run alone, or many as one program.

A program has *slots*, each the number of the lane in it; the slot of a lane that is
over holds ``EMPTY``, and what is computed there is of no account.
"""

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import numpy as np

from experiments.engine.lanes import (
    evaluate_lanes,
    initialize_lanes,
    run_chunk_of_lanes,
    stack,
    take,
)
from experiments.engine.train import (
    StepLog,
    TrainState,
    evaluate,
    initialize,
    run_chunk,
)
from experiments.settings.config import Config

EMPTY = -1
Slots = tuple[int, ...]


class Program(Protocol):
    """What the host loop asks of a program."""

    def slots(self) -> Slots:
        """The slots at the start."""

    def initialize(self, slots: Slots) -> TrainState:
        """The state before the first step."""

    def abstract_state(self, slots: Slots) -> Any:
        """Its shapes, types and shardings."""

    def advance(
        self, slots: Slots, length: int, state: TrainState
    ) -> tuple[TrainState, StepLog]:
        """``length`` steps of every slot; the state is donated."""

    def evaluate(self, slots: Slots, state: TrainState) -> dict[str, jax.Array]:
        """Metrics of every slot."""

    def of_slot(self, tree: Any, slot: int) -> Any:
        """What a state, a log or metrics hold for one slot."""

    def repack(self, slots: Slots, state: TrainState) -> tuple[Slots, TrainState]:
        """Without the empty slots, or with fewer of them."""


class Alone:
    """One run, by the engine's own program.

    Args:
      config: its settings.
      data: ``config.task.load()``.
      device: where to train; by default the first one.
    """

    def __init__(self, config: Config, data: Any, device: jax.Device | None = None):
        self._static = config.static()
        self._sharding = jax.sharding.SingleDeviceSharding(device or jax.devices()[0])
        self._hyper = jax.device_put(config.traced(), self._sharding)
        self._data = jax.device_put(data, self._sharding)

    def slots(self) -> Slots:
        """One lane."""
        return (0,)

    def initialize(self, slots: Slots) -> TrainState:
        """See :class:`Program`."""
        del slots
        return initialize(self._static, self._hyper)

    def abstract_state(self, slots: Slots) -> Any:
        """See :class:`Program`."""
        del slots
        state = jax.eval_shape(lambda h: initialize(self._static, h), self._hyper)
        return jax.tree.map(lambda a: _struct(a, self._sharding), state)

    def advance(
        self, slots: Slots, length: int, state: TrainState
    ) -> tuple[TrainState, StepLog]:
        """See :class:`Program`."""
        del slots
        return run_chunk(self._static, length, self._hyper, self._data, state)

    def evaluate(self, slots: Slots, state: TrainState) -> dict[str, jax.Array]:
        """See :class:`Program`."""
        del slots
        return evaluate(self._static, self._hyper, self._data, state)

    def of_slot(self, tree: Any, slot: int) -> Any:
        """All of it."""
        del slot
        return tree

    def repack(self, slots: Slots, state: TrainState) -> tuple[Slots, TrainState]:
        """There is nothing to leave out."""
        return slots, state


class Together:
    """Lanes as one program, divided among all devices.

    Args:
      configs: settings that agree in what is static.
      data: ``task.load()``.
      way: "vmap" or "map"; see :mod:`experiments.engine.lanes`.
    """

    def __init__(self, configs: Sequence[Config], data: Any, way: str = "vmap"):
        self._static, self._hyper = stack(configs)
        self._way = way
        self._devices = min(jax.device_count(), len(configs))
        self._mesh = None
        if self._devices > 1:
            self._mesh = jax.make_mesh(
                (self._devices,),
                ("lanes",),
                axis_types=(jax.sharding.AxisType.Auto,),
                devices=jax.devices()[: self._devices],
            )
        self._data = jax.device_put(data, self._sharding(False))
        self._hyper_of = functools.lru_cache(maxsize=2)(self._settings)

    def slots(self) -> Slots:
        """A slot a lane, and empty ones until every device has as many."""
        lanes = len(next(iter(self._hyper.values())))
        return (*range(lanes), *[EMPTY] * (-lanes % self._devices))

    def initialize(self, slots: Slots) -> TrainState:
        """See :class:`Program`."""
        return self._placed(initialize_lanes(self._static, self._hyper_of(slots)))

    def abstract_state(self, slots: Slots) -> Any:
        """See :class:`Program`."""
        state = jax.eval_shape(
            lambda h: initialize_lanes(self._static, h), self._hyper_of(slots)
        )
        lanes = self._sharding(True)
        rest = jax.tree.map(lambda a: _struct(a, lanes), tuple(state[1:]))
        return TrainState(_struct(state.step, self._sharding(False)), *rest)

    def advance(
        self, slots: Slots, length: int, state: TrainState
    ) -> tuple[TrainState, StepLog]:
        """See :class:`Program`."""
        hyper, how = self._hyper_of(slots), {"way": self._way, "mesh": self._mesh}
        return run_chunk_of_lanes(self._static, length, hyper, self._data, state, **how)

    def evaluate(self, slots: Slots, state: TrainState) -> dict[str, jax.Array]:
        """See :class:`Program`."""
        hyper, how = self._hyper_of(slots), {"way": self._way, "mesh": self._mesh}
        return evaluate_lanes(self._static, hyper, self._data, state, **how)

    def of_slot(self, tree: Any, slot: int) -> Any:
        """The slot's entry of every array that has lanes."""
        return jax.tree.map(lambda a: a[slot] if a.ndim else a, tree)

    def repack(self, slots: Slots, state: TrainState) -> tuple[Slots, TrainState]:
        """Half as many slots, and half of those …, while the lanes fit.

        Few sizes, since each is compiled anew; at most every second slot is empty.
        """
        kept = [i for i, lane in enumerate(slots) if lane != EMPTY]
        size = len(slots)
        while (half := self._per_device(size) * self._devices) < size:
            if len(kept) > half:
                break
            size = half
        if size == len(slots):
            return slots, state
        empty = [i for i, lane in enumerate(slots) if lane == EMPTY]
        kept += empty[: size - len(kept)]
        rest = self._placed(take(state, np.array(kept)))
        return tuple(slots[i] for i in kept), rest

    def _per_device(self, size: int) -> int:
        """Slots of a device, were they half as many."""
        return -(-(size // self._devices) // 2)

    def _settings(self, slots: Slots) -> dict[str, jax.Array]:
        """The traced settings of every slot; an empty one has those of some lane."""
        lanes = np.maximum(slots, 0)
        hyper = {name: values[lanes] for name, values in self._hyper.items()}
        return jax.device_put(hyper, self._sharding(True))

    def _placed(self, state: TrainState) -> TrainState:
        step = jax.device_put(state.step, self._sharding(False))
        rest = jax.device_put(tuple(state[1:]), self._sharding(True))
        return TrainState(step, *rest)

    def _sharding(self, lanes: bool) -> jax.sharding.Sharding:
        """Of arrays that have lanes, or not."""
        if self._mesh is None:
            return jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return jax.sharding.NamedSharding(
            self._mesh, jax.P("lanes") if lanes else jax.P()
        )


def _struct(a: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)
