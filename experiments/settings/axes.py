"""Which runs a sweep consists of: lists and ranges of settings → configurations."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np

from experiments.commands.options import WITHOUT_EFFECT
from experiments.settings.config import Config, Options


@dataclasses.dataclass(frozen=True)
class Range:
    """Values to be drawn, uniformly or log-uniformly.

    Attributes:
      low: smallest value.
      high: largest value.
      log: whether the logarithm is uniform.
      whole: whether only integers are drawn.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, rng: np.random.Generator, count: int) -> list[float]:
        """``count`` independent values.

        Example:
          >>> Range(1e-4, 1e-2, log=True).draw(np.random.default_rng(0), 2)
          [0.00188, 0.000346]
        """
        if self.whole and not self.log:
            return rng.integers(self.low, self.high, count, endpoint=True).tolist()
        if self.log:
            values = np.exp(rng.uniform(np.log(self.low), np.log(self.high), count))
        else:
            values = rng.uniform(self.low, self.high, count)
        if self.whole:
            return np.rint(values).astype(int).tolist()
        # Three digits: values that a person can type, and still inside the range.
        rounded = [float(f"{value:.3g}") for value in values]
        return [min(max(value, self.low), self.high) for value in rounded]


class Values(click.ParamType):
    """Values of one kind, separated by commas, or a range ``LOW:HIGH[:log]``.

    Args:
      kind: Click's type of a value.
      ranges: whether a range will do.
    """

    def __init__(self, kind: Any, *, ranges: bool = True):
        self.kind, self.ranges = click.types.convert_type(kind), ranges
        self.name = f"{self.kind.name},…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """A tuple, each part as the kind converts it, or a :class:`Range`."""
        if isinstance(value, (tuple, Range)):
            return value
        if not isinstance(value, str):  # a default, or of a preset
            return (value,)
        is_number = isinstance(
            self.kind, (click.types.FloatParamType, click.types.IntParamType)
        )
        if self.ranges and is_number and ":" in value:
            return self._range(value, param, ctx)
        parts = value.split(",")
        if "" in parts:
            self.fail(f"{value!r} has an empty place between its commas.", param, ctx)
        return tuple(self.kind.convert(part, param, ctx) for part in parts)

    def _range(self, value: str, param: Any, ctx: Any) -> Range:
        low, high, *kind = value.split(":")
        if kind not in ([], ["log"]):
            self.fail(f"{value!r} is not LOW:HIGH or LOW:HIGH:log.", param, ctx)
        low, high = (self.kind.convert(end, param, ctx) for end in (low, high))
        if not low < high or (kind and low <= 0):
            least = "0 < LOW < HIGH" if kind else "LOW < HIGH"
            self.fail(f"{value!r} must have {least}.", param, ctx)
        whole = isinstance(self.kind, click.types.IntParamType)
        return Range(low, high, log=bool(kind), whole=whole)


def combinations(
    options: Mapping[str, tuple[Any, ...] | Range],
    *,
    zipped: bool = False,
    samples: int | None = None,
    sample_seed: int = 0,
) -> list[dict[str, Any]]:
    """Every combination of the options' values, the last option varying fastest.

    Args:
      options: values, or a range, by name.
      zipped: pair the lists, which must be of one length (or have one value), instead
        of crossing them; seeds are crossed in any case.
      samples: how many times to draw from the ranges, each draw crossed with the lists.
      sample_seed: seed of the draws.

    Raises:
      ValueError: ranges without samples, samples without ranges, or lists of different
        lengths that are to be paired.

    Example:
      >>> combinations({"alpha": (0.9, 0.98), "seed": (0, 1)})[:2]
      [{'alpha': 0.9, 'seed': 0}, {'alpha': 0.9, 'seed': 1}]
      >>> combinations({"alpha": (0.9, 0.98), "lamb": (5.0, 2.0)}, zipped=True)
      [{'alpha': 0.9, 'lamb': 5.0}, {'alpha': 0.98, 'lamb': 2.0}]
    """
    ranges = {n: values for n, values in options.items() if isinstance(values, Range)}
    if ranges and samples is None:
        raise ValueError(f"{', '.join(ranges)}: a range needs --samples N.")
    if samples is not None and not ranges:
        raise ValueError("--samples needs a range, such as --alpha 0.8:0.99.")
    rng = np.random.default_rng(sample_seed)
    blocks = []
    if ranges:
        drawn = zip(*(r.draw(rng, samples) for r in ranges.values()), strict=True)
        blocks.append([dict(zip(ranges, draw, strict=True)) for draw in drawn])
    lists = {n: values for n, values in options.items() if n not in ranges}
    if zipped:
        many = {n: v for n, v in lists.items() if len(v) > 1 and n != "seed"}
        lengths = {name: len(values) for name, values in many.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"--zip needs lists of one length, got {lengths}.")
        rows = zip(*many.values(), strict=True)
        if many:
            blocks.append([dict(zip(many, row, strict=True)) for row in rows])
        lists = {name: v for name, v in lists.items() if name not in many}
    blocks += [[{name: value} for value in values] for name, values in lists.items()]
    merged = []
    for parts in itertools.product(*blocks):
        values = {name: value for part in parts for name, value in part.items()}
        merged.append({name: values[name] for name in options})
    return merged


def configurations(task: type, settings: Sequence[Mapping[str, Any]]) -> list[Config]:
    """A configuration for each of the settings, in order, equal ones once.

    Options that have no effect with the others get their defaults: without filter all
    values of α are one run.

    Raises:
      ValueError: a value out of its range, or a combination that cannot be.
    """
    names = {field.name for field in dataclasses.fields(task)}
    configs = []
    for values in settings:
        own = task(**{n: value for n, value in values.items() if n in names})
        others = {n: value for n, value in values.items() if n not in names}
        configs.append(_without_idle(Config.of(own, **others)))
    return list(dict.fromkeys(configs))


def _without_idle(config: Config) -> Config:
    values = config.asdict()

    def settled(group: Options) -> Options:
        idle = {
            field.name: field.default
            for field in dataclasses.fields(group)  # type: ignore[arg-type]
            if field.name in WITHOUT_EFFECT
            and values[WITHOUT_EFFECT[field.name][0]]
            not in WITHOUT_EFFECT[field.name][1]
        }
        return dataclasses.replace(group, **idle)  # type: ignore[type-var]

    return dataclasses.replace(
        config, filter=settled(config.filter), optimizer=settled(config.optimizer)
    )
