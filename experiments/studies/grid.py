"""Does any filter help, once weight decay and learning rate are tuned?

First learning rate × weight decay without filter. Then, at the best of them, filters.
Then learning rates and decays around the best without filter, and around the best with
one. Seeds 0 – 2 choose the best of either side, which flatters both: the two meet on
fresh seeds.
"""

import dataclasses
import functools
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.results import markdown as marked
from experiments.results import over_seeds
from experiments.results.milestones import first_step
from experiments.settings.config import Config
from experiments.studies.runs import train
from experiments.tasks import TASKS

SEEDS = range(3)


@dataclasses.dataclass(frozen=True)
class Setting:
    """A learning rate, a weight decay, and a filter with its parameters."""

    learning_rate: float
    weight_decay: float
    filter: tuple[Any, ...] = ("none",)

    @property
    def options(self) -> dict[str, Any]:
        """Its settings by name."""
        kind, *values = self.filter
        names = {"none": (), "ema": ("alpha", "lamb"), "ma": ("window_size", "lamb")}
        return {
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "filter": kind,
            **dict(zip(names[kind], values, strict=True)),
        }


@dataclasses.dataclass(frozen=True)
class Result:
    """What the seeds of a setting gave.

    Attributes:
      setting: the setting.
      steps: to the grid's accuracy, None where it was not reached.
      accuracies: at the end.
    """

    setting: Setting
    steps: list[int | None]
    accuracies: list[float]

    @property
    def rank(self) -> tuple[float, float, float]:
        """Key for sorting: in more seeds is better, then sooner, then more accurate."""
        median = over_seeds.median(self.steps)
        return self.steps.count(None), over_seeds.order(median), -self.accuracy

    @property
    def accuracy(self) -> float:
        """Median at the end."""
        return statistics.median(self.accuracies)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


@dataclasses.dataclass(frozen=True)
class Grid:
    """What is tried on a task.

    Attributes:
      task: its name.
      accuracy: validation accuracy to reach; see :attr:`Result.rank`.
      steps: of each run at most.
      eval_every: steps between evaluations.
      fresh_seeds: on which the best of either side meet.
      eval_every_fresh: steps between evaluations there.
      options: the runs' other settings.
      learning_rates: without filter, crossed with
      weight_decays: of AdamW.
      filters: at the best learning rate and decay.
      nearby_rates: factors on the best learning rate, crossed with
      nearby_decays: factors on the best decay.
    """

    task: str
    accuracy: float
    steps: int
    eval_every: int
    fresh_seeds: Sequence[int]
    eval_every_fresh: int
    options: Mapping[str, Any]
    learning_rates: Sequence[float]
    weight_decays: Sequence[float]
    filters: Sequence[tuple[Any, ...]]
    nearby_rates: Sequence[float]
    nearby_decays: Sequence[float] = (0.7, 1.0, 1.4)

    def tuning(self) -> list[Setting]:
        """The first settings, without filter."""
        pairs = itertools.product(self.learning_rates, self.weight_decays)
        return [Setting(*pair) for pair in pairs]

    def filtered(self, best: Setting) -> list[Setting]:
        """Filters at a learning rate and a decay."""
        return [dataclasses.replace(best, filter=filter) for filter in self.filters]

    def nearby(self, best: Setting) -> list[Setting]:
        """Settings around one, with its filter; it is not among them itself."""
        factors = itertools.product(self.nearby_rates, self.nearby_decays)
        return [
            dataclasses.replace(
                best,
                learning_rate=_rounded(best.learning_rate * rate),
                weight_decay=_rounded(best.weight_decay * decay),
            )
            for rate, decay in factors
            if (rate, decay) != (1, 1)
        ]

    def measure(
        self,
        root: Path,
        settings: Sequence[Setting],
        seeds: Sequence[int],
        eval_every: int,
    ) -> list[Result]:
        """Train every setting with every seed; what came of it, best first."""
        common = {"steps": self.steps, "eval_every": eval_every} | self.options
        configs = [
            Config.of(TASKS[self.task](), **common, **setting.options, seed=seed)
            for setting in settings
            for seed in seeds
        ]
        runs = iter(train(root, configs))
        results = []
        for setting in settings:
            tables = [next(runs).metrics() for _ in seeds]
            accuracies = [table["validation_accuracy"] for table in tables]
            steps = [
                first_step(table["step"], accuracy, self.accuracy)
                for table, accuracy in zip(tables, accuracies, strict=True)
            ]
            finals = [float(accuracy[-1]) for accuracy in accuracies]
            results.append(Result(setting, steps, finals))
        return sorted(results, key=lambda result: result.rank)


_FILTERS = (
    *(("ema", *pair) for pair in itertools.product((0.8, 0.9, 0.98), (0.1, 0.5, 2.0))),
    ("ma", 10, 1.0),
    ("ma", 100, 1.0),
)
GRIDS = {
    "mnist": Grid(
        task="mnist",
        accuracy=0.85,
        steps=3000,
        eval_every=100,
        fresh_seeds=range(100, 120),
        eval_every_fresh=20,
        options={},
        learning_rates=(3e-4, 1e-3, 3e-3),
        weight_decays=(0.5, 1.0, 2.0, 4.0, 8.0),
        filters=_FILTERS,
        nearby_rates=(0.6, 1.0, 1.6, 2.5, 4.0),
    ),
    "mul97": Grid(
        task="modular",
        accuracy=0.99,
        steps=1500,
        eval_every=20,
        fresh_seeds=range(100, 106),
        eval_every_fresh=5,
        options={"optimizer": "adamw", "stop_at": 0.99},
        learning_rates=(1e-3, 3e-3, 1e-2),
        weight_decays=(0.1, 0.3, 1.0, 3.0),
        filters=(*_FILTERS, ("ma", 100, 5.0)),
        nearby_rates=(0.6, 1.0, 1.6),
    ),
}


def report(grid: Grid, root: Path) -> str:
    """Train what is not recorded yet; the tables of all parts."""
    on_seeds = functools.partial(grid.measure, seeds=SEEDS, eval_every=grid.eval_every)
    tuned = on_seeds(root / "tuning", grid.tuning())
    filters = on_seeds(root / "filters", grid.filtered(tuned[0].setting))
    around = on_seeds(root / "around", grid.nearby(tuned[0].setting))
    with_best = grid.nearby(filters[0].setting)
    filters_around = on_seeds(root / "filters-around", with_best)
    best = [
        min(two, key=lambda result: result.rank).setting
        for two in ((filters[0], filters_around[0]), (tuned[0], around[0]))
    ]
    where = root / "fresh"
    measured = grid.measure(where, best, grid.fresh_seeds, grid.eval_every_fresh)
    fresh = sorted(measured, key=lambda result: best.index(result.setting))
    seeds = (
        f"{len(SEEDS)} seeds, {grid.steps:,} steps at most, evaluated every "
        f"{grid.eval_every}"
    )
    return "\n\n".join(
        [
            f"**Without filter** ({seeds}): steps to {grid.accuracy:.0%}, then the "
            "final accuracy",
            _square(grid, tuned),
            f"**Filters at learning rate {tuned[0].setting.learning_rate:g}, decay "
            f"{tuned[0].setting.weight_decay:g}**: none, then best first",
            _list(grid, [tuned[0], *filters]),
            "**Without filter, around the same setting**: itself, then best first",
            _list(grid, [tuned[0], *around]),
            "**The best filter, around the same setting**: itself, then best first",
            _list(grid, [filters[0], *filters_around]),
            f"**The best of either side on {len(grid.fresh_seeds)} fresh seeds**, "
            f"evaluated every {grid.eval_every_fresh} steps",
            _list(grid, fresh),
            _test(grid, *fresh),
        ]
    )


def _square(grid: Grid, results: Sequence[Result]) -> str:
    """Learning rate × weight decay."""
    by_setting = {result.setting: result for result in results}
    rows = [
        [
            f"{rate:g}",
            *(_short(by_setting[Setting(rate, decay)]) for decay in grid.weight_decays),
        ]
        for rate in grid.learning_rates
    ]
    columns = [f"decay {decay:g}" for decay in grid.weight_decays]
    return marked.table(["learning rate", *columns], rows)


def _short(result: Result) -> str:
    time = over_seeds.median(result.steps)
    return f"{'never' if time is None else f'{time:,.0f}'}; {result.accuracy:.1%}"


def _list(grid: Grid, results: Sequence[Result]) -> str:
    rows = [
        [
            " ".join(map(str, result.setting.filter)),
            f"{result.setting.learning_rate:g}",
            f"{result.setting.weight_decay:g}",
            over_seeds.times_cell(result.steps, grid.steps),
            over_seeds.spread(result.accuracies, ".1%"),
        ]
        for result in results
    ]
    columns = (
        "filter",
        "learning rate",
        "decay",
        f"steps to {grid.accuracy:.0%}",
        "final accuracy",
    )
    return marked.table(columns, rows)


def _test(grid: Grid, filtered: Result, unfiltered: Result) -> str:
    """Whether the filter is sooner, seed by seed."""
    ratio = over_seeds.ratio_cell(unfiltered.steps, filtered.steps)
    said = f"Without filter ÷ with filter, steps to {grid.accuracy:.0%}: {ratio}."
    p = over_seeds.signed_rank(unfiltered.steps, filtered.steps)
    if p is None:
        return f"{said} No pair differs."
    pairs = list(zip(filtered.steps, unfiltered.steps, strict=True))
    sooner = sum(over_seeds.order(a) < over_seeds.order(b) for a, b in pairs)
    return (
        f"{said} The filter is sooner in {sooner} of {len(pairs)} pairs; "
        f"Wilcoxon's signed-rank test, two-sided: p = {p:.3f}."
    )
