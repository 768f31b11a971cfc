"""What advances the lanes of a sweep: a run alone, or many as one program.

A program has *slots*, each the number of the lane in it; the slot of a lane that is
over holds ``EMPTY``, and what is computed there is of no account.
"""

import functools
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import jax
import numpy as np

from experiments.engine.evaluate import Evaluation, evaluate
from experiments.engine.lanes import (
    evaluate_lanes,
    initialize_lanes,
    run_chunk_of_lanes,
    stack,
    take,
)
from experiments.engine.state import StepLog, TrainState
from experiments.engine.train import initialize, run_chunk
from experiments.settings.config import Config
from experiments.settings.measure import Measure
from experiments.settings.task import Data

EMPTY = -1
Slots = tuple[int, ...]
Due = tuple[bool, ...]
Tree = TypeVar("Tree")


class Program(Protocol):
    """What the host loop asks of a program.

    Attributes:
      measures: that every evaluation may take.
    """

    measures: tuple[Measure, ...]

    def slots(self) -> Slots:
        """The slots at the start."""

    def padded(self, slots: Slots) -> Slots:
        """With empty slots at the end, until every device has as many."""

    def initialize(self, slots: Slots) -> TrainState:
        """The state before the first step."""

    def abstract_state(self, slots: Slots) -> TrainState:
        """Its shapes, types and shardings."""

    def advance(
        self, slots: Slots, length: int, state: TrainState
    ) -> tuple[TrainState, StepLog]:
        """``length`` steps of every slot; the state is donated."""

    def evaluate(self, slots: Slots, state: TrainState, due: Due) -> Evaluation:
        """Metrics of every slot, those of measures where they are due."""

    def of_slot(self, tree: Tree, slot: int) -> Tree:
        """What a state, a log or metrics hold for one slot."""

    def repack(self, slots: Slots, state: TrainState) -> tuple[Slots, TrainState]:
        """Without the empty slots, or with fewer of them."""


class SingleRun:
    """One run, by the engine's own program.

    Args:
      config: its settings.
      data: ``config.task.load()``, on the device or not yet.
      device: where to train; by default the first one.
    """

    def __init__(self, config: Config, data: Data, device: jax.Device | None = None):
        self.measures = config.measures
        self._sharding = jax.sharding.SingleDeviceSharding(device or jax.devices()[0])
        self._config = jax.device_put(config.traced(), self._sharding)
        self._data = jax.device_put(data, self._sharding)

    def slots(self) -> Slots:
        """One lane."""
        return (0,)

    def padded(self, slots: Slots) -> Slots:
        """One device has one slot."""
        return slots

    def initialize(self, slots: Slots) -> TrainState:
        """See :class:`Program`."""
        del slots
        return initialize(self._config, self._data)

    def abstract_state(self, slots: Slots) -> TrainState:
        """See :class:`Program`."""
        del slots
        state = jax.eval_shape(initialize, self._config, self._data)
        return jax.tree.map(lambda a: _struct(a, self._sharding), state)

    def advance(
        self, slots: Slots, length: int, state: TrainState
    ) -> tuple[TrainState, StepLog]:
        """See :class:`Program`."""
        del slots
        return run_chunk(self._config, length, self._data, state)

    def evaluate(self, slots: Slots, state: TrainState, due: Due) -> Evaluation:
        """See :class:`Program`."""
        del slots
        return evaluate(self._config, self._data, state, due)

    def of_slot(self, tree: Tree, slot: int) -> Tree:
        """All of it."""
        del slot
        return tree

    def repack(self, slots: Slots, state: TrainState) -> tuple[Slots, TrainState]:
        """There is nothing to leave out."""
        return slots, state


class BatchOfLanes:
    """Lanes as one program, divided among all devices.

    Args:
      configs: settings that agree in what is static.
      data: ``task.load()``, on the device or not yet.
      way: "vmap" or "map"; see :mod:`experiments.engine.lanes`.
    """

    def __init__(self, configs: Sequence[Config], data: Data, way: str = "vmap"):
        self.measures = configs[0].measures
        self._lanes, self._config = len(configs), stack(configs)
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
        self._config_of = functools.lru_cache(maxsize=2)(self._settings)

    def slots(self) -> Slots:
        """A slot a lane."""
        return self.padded(tuple(range(self._lanes)))

    def padded(self, slots: Slots) -> Slots:
        """See :class:`Program`."""
        return (*slots, *[EMPTY] * (-len(slots) % self._devices))

    def initialize(self, slots: Slots) -> TrainState:
        """See :class:`Program`."""
        return self._placed(initialize_lanes(self._config_of(slots), self._data))

    def abstract_state(self, slots: Slots) -> TrainState:
        """See :class:`Program`."""
        state = jax.eval_shape(initialize_lanes, self._config_of(slots), self._data)
        lanes = self._sharding(True)
        rest = jax.tree.map(lambda a: _struct(a, lanes), tuple(state[1:]))
        step: Any = _struct(state.step, self._sharding(False))
        return TrainState(step, *rest)

    def advance(
        self, slots: Slots, length: int, state: TrainState
    ) -> tuple[TrainState, StepLog]:
        """See :class:`Program`."""
        config = self._config_of(slots)
        return run_chunk_of_lanes(
            config, length, self._data, state, way=self._way, mesh=self._mesh
        )

    def evaluate(self, slots: Slots, state: TrainState, due: Due) -> Evaluation:
        """See :class:`Program`."""
        config = self._config_of(slots)
        return evaluate_lanes(
            config, self._data, state, due, way=self._way, mesh=self._mesh
        )

    def of_slot(self, tree: Tree, slot: int) -> Tree:
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

    def _settings(self, slots: Slots) -> Config:
        """The traced settings of every slot; an empty one has those of some lane."""
        lanes = np.maximum(slots, 0)
        config = jax.tree.map(lambda a: a[lanes], self._config)
        return jax.device_put(config, self._sharding(True))

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
