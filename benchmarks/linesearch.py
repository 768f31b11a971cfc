"""Steps of the line searches beside Adam's, and what they cost in forward passes."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from experiments.engine.compiled import compiled
from experiments.engine.objective import mean_loss
from experiments.engine.programs import SingleRun
from experiments.engine.state import Keys, TrainState, numerics_of, with_precision
from experiments.methods.named import settings_of
from experiments.methods.observe import states_of
from experiments.settings.config import Config
from experiments.settings.task import Data, Examples, Task
from experiments.tasks.cifar import CifarTask
from experiments.tasks.glue import GlueTask
from experiments.tasks.gpt import GptTask
from experiments.tasks.mnist import MnistTask
from experiments.tasks.modular import ModularTask
from grokfast_jax.linesearch import LineSearchState

OPTIMIZERS = ("adam", "sls", "adam_sls", "alsals", "salsa")


@dataclasses.dataclass(frozen=True)
class Case:
    """A task, the steps before any is timed, and the steps of a timing."""

    task: Task
    before: int
    count: int


CASES = {
    "x·y mod 97": Case(ModularTask(), 600, 40),
    "MNIST": Case(MnistTask(), 2000, 200),
    "GPT": Case(GptTask(), 500, 20),
    "CIFAR-10, width 16": Case(
        CifarTask(width=16, train_points=10_000, validation_points=2000), 100, 10
    ),
    "SST-2": Case(GlueTask(), 100, 10),
}


def main(rounds: int) -> None:
    """Time the next steps of every optimizer and the forward pass in turn."""
    rows: list[list[str]] = []
    for name, case in CASES.items():
        for row in _rows(name, case, rounds):
            print(*row, sep=" | ", flush=True)
            rows.append(row)
    timing.report(
        "line searches",
        f"A training step with a line search beside Adam's, {rounds} rounds; forward "
        "passes beside the one that has the gradient, by count and by time",
        (
            "task",
            "optimizer",
            "median ms",
            "÷ Adam",
            "passes a step",
            "in the first steps",
            "time beyond Adam's ÷ a forward pass",
        ),
        rows,
    )


def _rows(name: str, case: Case, rounds: int) -> Iterator[list[str]]:
    data = case.task.load()
    runs = {
        optimizer: Run(settings_of(case.task, optimizer=optimizer).config, data)
        for optimizer in OPTIMIZERS
    }
    for run in runs.values():
        run.advance(case.before)
    first = {optimizer: run.passes() / case.before for optimizer, run in runs.items()}
    cases: dict[str, Callable[[], Any]] = {
        optimizer: functools.partial(run.advance, case.count)
        for optimizer, run in runs.items()
    }
    config = settings_of(case.task, optimizer="adam").config
    cases["forward"] = _forward(config, data, runs["adam"].state, case.count)
    for run in cases.values():
        run()  # compiles
    counted = {optimizer: run.passes() for optimizer, run in runs.items()}
    times = timing.in_turn(cases, rounds)
    steps = (rounds + 1) * case.count
    for optimizer in (*OPTIMIZERS, "forward"):
        row = [name, optimizer, timing.milliseconds(times[optimizer], case.count)[0]]
        row.append(timing.ratio(times[optimizer], times["adam"]))
        if optimizer in OPTIMIZERS[1:]:
            passes = (runs[optimizer].passes() - counted[optimizer]) / steps
            extra = np.subtract(times[optimizer], times["adam"])
            row += [f"{passes:.2f}", f"{first[optimizer]:.2f} of {case.before:,}"]
            row.append(timing.ratio(list(extra), times["forward"]))
        yield [*row, "", "", ""][:7]


class Run:
    """One run, advanced by so many steps at a time."""

    def __init__(self, config: Config, data: Data):
        self._config = config
        with numerics_of(config):
            self._program = SingleRun(config, data)
            self.state = self._program.initialize(self._program.slots())

    def advance(self, count: int) -> None:
        """Do ``count`` steps."""
        with numerics_of(self._config):
            slots = self._program.slots()
            self.state, log = self._program.advance(slots, count, self.state)
            jax.block_until_ready(log)

    def passes(self) -> int:
        """Forward passes of all searches so far."""
        states = states_of(self.state.opt_state, LineSearchState)
        return int(states[0].total_evaluations) if states else 0


def _forward(
    config: Config, data: Data, state: TrainState, count: int
) -> Callable[[], Any]:
    """The losses alone of as many steps' batches."""

    @compiled()
    @with_precision
    def losses(config: Config, data: Data, state: TrainState) -> jax.Array:
        task, loss = config.task, mean_loss(config.task)
        keys = Keys.from_seed(config.training.seed)
        splits = task.splits(data, keys.split)
        data, split = task.with_split(data, splits), splits["train"]
        order = task.order(data, keys.order, state.step * 0, len(split))
        size = min(config.training.batch_size, len(split))

        def of(step: jax.Array) -> jax.Array:
            start = (step * size) % (len(split) - size + 1)
            rows = jax.lax.dynamic_slice_in_dim(order, start, size)

            def value(examples: Examples) -> jax.Array:
                key = jax.random.fold_in(keys.step, step)
                return loss.value(state.params, state.model_state, examples, key)[0]

            return task.on_examples(value, data, split[rows])

        return jax.lax.map(of, jax.numpy.arange(count))

    state = jax.tree.map(jax.numpy.copy, state)  # the run goes on, and donates its own
    arguments = config.traced(), jax.device_put(data), state

    def run() -> None:
        with numerics_of(config):
            jax.block_until_ready(losses(*arguments))

    return run
