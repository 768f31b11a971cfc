"""Does any filter help, once weight decay and learning rate are tuned?

First learning rate × weight decay without filter. Then, at the best of them, filters.
Then learning rates and decays around the best without filter, and around the best with
one. Seeds 0 – 2 choose the best of either side, which flatters both: the two meet on
fresh seeds.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.methods.named import settings_of
from experiments.results import markdown, over_seeds
from experiments.results.milestones import first_step
from experiments.settings.config import Settings
from experiments.settings.method import ScheduledOptimizer
from experiments.studies.runs import read_sweep, train_study
from experiments.tasks import TASKS

SEEDS = range(3)
_HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Setting:
    """A learning rate, a weight decay, and a filter with its parameters."""

    learning_rate: float
    weight_decay: float
    filter: str = "none"

    @property
    def words(self) -> str:
        """The filter: its name and its values."""
        name, *pairs = self.filter.split(":")
        return " ".join([name, *(pair.split("=")[1] for pair in pairs)])


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
        return *over_seeds.rank(self.steps), -self.accuracy

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
      tuning: the sweep's file of learning rates × decays without filter.
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
    tuning: Path
    filters: Sequence[str]
    nearby_rates: Sequence[float]
    nearby_decays: Sequence[float] = (0.7, 1.0, 1.4)

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

    def settings_of(
        self, settings: Sequence[Setting], seeds: Sequence[int], eval_every: int
    ) -> list[Settings]:
        """The runs of some settings, seed by seed."""
        common = {"steps": self.steps, "eval_every": eval_every, **self.options}
        return [
            settings_of(
                TASKS[self.task](), **common, **dataclasses.asdict(setting), seed=seed
            )
            for setting in settings
            for seed in seeds
        ]

    def measure(self, root: Path, runs: Sequence[Settings]) -> list[Result]:
        """Train all runs; what came of each setting, best first."""
        tables: dict[Setting, list[Mapping[str, Any]]] = {}
        for lane in train_study(root, runs):
            tables.setdefault(_setting(lane.settings), []).append(lane.run.metrics())
        results = []
        for setting, of_seeds in tables.items():
            accuracies = [table["validation_accuracy"] for table in of_seeds]
            steps = [
                first_step(table["step"], accuracy, self.accuracy)
                for table, accuracy in zip(of_seeds, accuracies, strict=True)
            ]
            finals = [float(accuracy[-1]) for accuracy in accuracies]
            results.append(Result(setting, steps, finals))
        return sorted(results, key=lambda result: result.rank)


def _setting(settings: Settings) -> Setting:
    optimizer = settings.config.optimizer
    assert isinstance(optimizer, ScheduledOptimizer)  # AdamW, by the grid's command
    texts = [
        ":".join(
            [f.name, *(f"{n}={v}" for n, v in f.in_effect().items() if n in _TRIED)]
        )
        for f in settings.config.filters
    ]
    return Setting(
        optimizer.learning_rate, optimizer.weight_decay, "+".join(texts) or "none"
    )


_TRIED = ("alpha", "window_size", "lamb")  # what filters differ in
_FILTERS = (
    *(
        f"ema:alpha={alpha}:lamb={lamb}"
        for alpha, lamb in itertools.product((0.8, 0.9, 0.98), (0.1, 0.5, 2.0))
    ),
    "ma:window_size=10:lamb=1.0",
    "ma:window_size=100:lamb=1.0",
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
        tuning=_HERE / "mnist-tuning.toml",
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
        tuning=_HERE / "mul97-tuning.toml",
        filters=(*_FILTERS, "ma:window_size=100:lamb=5.0"),
        nearby_rates=(0.6, 1.0, 1.6),
    ),
}


def report(grid: Grid, root: Path) -> str:
    """Train what is not recorded yet; the tables of all parts."""

    def on_seeds(part: str, settings: Sequence[Setting]) -> list[Result]:
        runs = grid.settings_of(settings, SEEDS, grid.eval_every)
        return grid.measure(root / part, runs)

    tuned = grid.measure(root / "tuning", read_sweep(grid.tuning))
    filters = on_seeds("filters", grid.filtered(tuned[0].setting))
    around = on_seeds("around", grid.nearby(tuned[0].setting))
    filters_around = on_seeds("filters-around", grid.nearby(filters[0].setting))
    best = [
        min(two, key=lambda result: result.rank).setting
        for two in ((filters[0], filters_around[0]), (tuned[0], around[0]))
    ]
    runs = grid.settings_of(best, grid.fresh_seeds, grid.eval_every_fresh)
    measured = grid.measure(root / "fresh", runs)
    fresh = sorted(measured, key=lambda result: best.index(result.setting))
    seeds = (
        f"{len(SEEDS)} seeds, {grid.steps:,} steps at most, evaluated every "
        f"{grid.eval_every}"
    )
    return "\n\n".join(
        [
            f"**Without filter** ({seeds}): steps to {grid.accuracy:.0%}, then the "
            "final accuracy",
            _square(tuned),
            markdown.folded(
                f"Filters at learning rate {tuned[0].setting.learning_rate:g}, decay "
                f"{tuned[0].setting.weight_decay:g}: none, then best first",
                _list(grid, [tuned[0], *filters]),
            ),
            markdown.folded(
                "Without filter, around the same setting: itself, then best first",
                _list(grid, [tuned[0], *around]),
            ),
            markdown.folded(
                "The best filter, around the same setting: itself, then best first",
                _list(grid, [filters[0], *filters_around]),
            ),
            f"**The best of either side on {len(grid.fresh_seeds)} fresh seeds**, "
            f"evaluated every {grid.eval_every_fresh} steps",
            _list(grid, fresh),
            _test(grid, *fresh),
        ]
    )


def _square(results: Sequence[Result]) -> str:
    """Learning rate × weight decay."""
    by_setting = {result.setting: result for result in results}
    rates = sorted({setting.learning_rate for setting in by_setting})
    decays = sorted({setting.weight_decay for setting in by_setting})
    rows = [
        [f"{rate:g}", *(_short(by_setting[Setting(rate, decay)]) for decay in decays)]
        for rate in rates
    ]
    columns = [f"decay {decay:g}" for decay in decays]
    return markdown.table(["learning rate", *columns], rows)


def _short(result: Result) -> str:
    time = over_seeds.median(result.steps)
    return f"{'never' if time is None else f'{time:,.0f}'}; {result.accuracy:.1%}"


def _list(grid: Grid, results: Sequence[Result]) -> str:
    rows = [
        [
            result.setting.words,
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
    return markdown.table(columns, rows)


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
