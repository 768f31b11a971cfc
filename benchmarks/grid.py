"""Does any filter help on MNIST, once weight decay and learning rate are tuned?

First learning rate × weight decay without filter. Then, at the best of them, filters.
Then learning rates and decays around it without filter, and learning rates with the
best filter: 29 settings without filter, 15 with one. The best of either side is chosen
by seeds 0 – 2, which flatters both: they meet on fresh seeds.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import scipy.stats

from benchmarks import marked
from benchmarks.running import train
from experiments import over_seeds
from experiments.milestones import first_step

ACCURACY = 0.85
STEPS = 3000
EVAL_EVERY = 100
SEEDS = range(3)
FRESH_SEEDS = range(100, 106)
EVAL_EVERY_FRESH = 20

LEARNING_RATES = (3e-4, 1e-3, 3e-3)
WEIGHT_DECAYS = (0.5, 1.0, 2.0, 4.0, 8.0)
ALPHAS = (0.8, 0.9, 0.98)
GAINS = (0.1, 0.5, 2.0)
WINDOWS = (10, 100)
NEARBY_RATES = (0.6, 1.0, 1.6, 2.5, 4.0)
NEARBY_DECAYS = (0.7, 1.0, 1.4)


@dataclasses.dataclass(frozen=True)
class Setting:
    """A learning rate, a weight decay, a filter; the name of its runs."""

    learning_rate: float
    weight_decay: float
    filter: tuple[str, ...] = ("none",)

    @property
    def arguments(self) -> list[str]:
        """Options of the command line."""
        kind, *values = self.filter
        names = {"none": (), "ema": ("alpha", "lamb"), "ma": ("window-size", "lamb")}
        options = {
            "learning-rate": self.learning_rate,
            "weight-decay": self.weight_decay,
            "filter": kind,
            **dict(zip(names[kind], values, strict=True)),
        }
        return [part for name, v in options.items() for part in (f"--{name}", str(v))]

    def __str__(self) -> str:
        rate = f"lr{self.learning_rate:g}-decay{self.weight_decay:g}"
        return "-".join([*self.filter, rate])


@dataclasses.dataclass(frozen=True)
class Result:
    """What the seeds of a setting gave.

    Attributes:
      setting: the setting.
      steps: to ``ACCURACY``, None where it was not reached.
      accuracies: at the end, after ``STEPS``.
    """

    setting: Setting
    steps: list[int | None]
    accuracies: list[float]

    @property
    def rank(self) -> tuple[float, float]:
        """Key for sorting: sooner is better; if equal, the more accurate."""
        return over_seeds.order(over_seeds.median(self.steps)), -self.accuracy

    @property
    def accuracy(self) -> float:
        """Median at the end."""
        return statistics.median(self.accuracies)


def tuning() -> list[Setting]:
    """The first settings, without filter."""
    return [Setting(*pair) for pair in itertools.product(LEARNING_RATES, WEIGHT_DECAYS)]


def filtered(best: Setting) -> list[Setting]:
    """Filters at a learning rate and a decay."""
    filters = [
        *(("ema", str(a), str(g)) for a, g in itertools.product(ALPHAS, GAINS)),
        *(("ma", str(window), "1.0") for window in WINDOWS),
    ]
    return [dataclasses.replace(best, filter=filter) for filter in filters]


def nearby(best: Setting, decays: Sequence[float] = NEARBY_DECAYS) -> list[Setting]:
    """Settings around one, with its filter; it is not among them itself."""
    factors = itertools.product(NEARBY_RATES, decays)
    return [
        dataclasses.replace(
            best,
            learning_rate=_rounded(best.learning_rate * rate),
            weight_decay=_rounded(best.weight_decay * decay),
        )
        for rate, decay in factors
        if (rate, decay) != (1, 1)
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def measure(
    settings: Iterable[Setting],
    seeds: Iterable[int],
    root: Path,
    *,
    options: Sequence[str] = (),
) -> list[Result]:
    """Train every setting with every seed, and say what came of it; best first."""
    common = ["--steps", str(STEPS), "--eval-every", str(EVAL_EVERY), *options]
    results = []
    for setting in settings:
        result = Result(setting, [], [])
        for seed in seeds:
            arguments = ["mnist", *setting.arguments, *common, "--seed", str(seed)]
            metrics = train(arguments, root / f"{setting}-{seed}").metrics()
            accuracy = metrics["validation_accuracy"]
            result.steps.append(first_step(metrics["step"], accuracy, ACCURACY))
            result.accuracies.append(float(accuracy[-1]))
        results.append(result)
    return sorted(results, key=lambda result: result.rank)


def report(root: Path) -> str:
    """Train what is not recorded yet; the tables of all four parts."""
    tuned = measure(tuning(), SEEDS, root)
    filters = measure(filtered(tuned[0].setting), SEEDS, root)
    around = measure(nearby(tuned[0].setting), SEEDS, root)
    filters_around = measure(nearby(filters[0].setting, (1.0,)), SEEDS, root)
    with_filter, without = (
        min(two, key=lambda result: result.rank).setting
        for two in ((filters[0], filters_around[0]), (tuned[0], around[0]))
    )
    options = ("--eval-every", str(EVAL_EVERY_FRESH))
    fresh = [
        measure([setting], FRESH_SEEDS, root, options=options)[0]
        for setting in (with_filter, without)
    ]
    seeds = f"{len(SEEDS)} seeds, {STEPS:,} steps, evaluated every {EVAL_EVERY}"
    return "\n\n".join(
        [
            f"**Without filter** ({seeds}): steps to 85 %, then the final accuracy",
            _square(tuned),
            f"**Filters at learning rate {tuned[0].setting.learning_rate:g}, decay "
            f"{tuned[0].setting.weight_decay:g}**: none, then best first",
            _list([tuned[0], *filters]),
            "**Without filter, around the same setting**: itself, then best first",
            _list([tuned[0], *around]),
            "**The best filter at nearby learning rates**: itself, then best first",
            _list([filters[0], *filters_around]),
            f"**The best of either side on {len(FRESH_SEEDS)} fresh seeds**, "
            f"evaluated every {EVAL_EVERY_FRESH} steps",
            _list(fresh),
            _test(*fresh),
        ]
    )


def _square(results: Sequence[Result]) -> str:
    """Learning rate × weight decay."""
    by_setting = {str(result.setting): result for result in results}
    rows = [
        [
            f"{rate:g}",
            *(_short(by_setting[str(Setting(rate, decay))]) for decay in WEIGHT_DECAYS),
        ]
        for rate in LEARNING_RATES
    ]
    columns = [f"decay {decay:g}" for decay in WEIGHT_DECAYS]
    return marked.table(["learning rate", *columns], rows)


def _short(result: Result) -> str:
    time = over_seeds.median(result.steps)
    return f"{'never' if time is None else f'{time:,.0f}'}; {result.accuracy:.1%}"


def _list(results: Sequence[Result]) -> str:
    rows = [
        [
            " ".join(result.setting.filter),
            f"{result.setting.learning_rate:g}",
            f"{result.setting.weight_decay:g}",
            over_seeds.times_cell(result.steps, STEPS),
            over_seeds.spread(result.accuracies, ".1%"),
        ]
        for result in results
    ]
    columns = ("filter", "learning rate", "decay", "steps to 85 %", "final accuracy")
    return marked.table(columns, rows)


def _test(filtered: Result, unfiltered: Result) -> str:
    """Wilcoxon's signed-rank test on the pairs of seeds."""
    later = 2 * STEPS  # never: later than every other step
    with_filter, without = (
        [later if steps is None else steps for steps in result.steps]
        for result in (filtered, unfiltered)
    )
    ratio = over_seeds.ratio_cell(unfiltered.steps, filtered.steps)
    said = f"Without filter ÷ with filter, steps to 85 %: {ratio}."
    if with_filter == without:
        return f"{said} No pair differs."
    sooner = sum(a < b for a, b in zip(with_filter, without, strict=True))
    p = scipy.stats.wilcoxon(with_filter, without).pvalue
    return (
        f"{said} The filter is sooner in {sooner} of {len(without)} pairs; "
        f"Wilcoxon's signed-rank test, two-sided: p = {p:.3f}."
    )
