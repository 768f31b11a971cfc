"""Which runs a sweep consists of: lists and ranges of values → combinations."""

import dataclasses
import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np


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

    def __post_init__(self) -> None:
        """Check the ends.

        Raises:
          ValueError: they are no range.
        """
        if not self.low < self.high or (self.log and self.low <= 0):
            least = "0 < LOW < HIGH" if self.log else "LOW < HIGH"
            raise ValueError(f"'{self.low}:{self.high}' must have {least}.")

    def draw(self, rng: np.random.Generator, count: int) -> list[float]:
        """``count`` independent values.

        Example:
          >>> Range(1e-4, 1e-2, log=True).draw(np.random.default_rng(0), 2)
          [0.00188, 0.000346]
        """
        if self.whole and not self.log:
            low, high = int(self.low), int(self.high)
            return rng.integers(low, high, count, endpoint=True).tolist()
        if self.log:
            values = np.exp(rng.uniform(np.log(self.low), np.log(self.high), count))
        else:
            values = rng.uniform(self.low, self.high, count)
        if self.whole:
            return np.rint(values).astype(int).tolist()
        # Three digits: values that a person can type, and still inside the range.
        rounded = [float(f"{value:.3g}") for value in values]
        return [min(max(value, self.low), self.high) for value in rounded]


def options_of(
    values: Mapping[str, Any], seeds: int | None = None
) -> dict[str, tuple[Any, ...] | Range]:
    """Values, lists and ranges as :func:`combinations` takes them.

    Args:
      values: by name; a text ``LOW:HIGH`` or ``LOW:HIGH:log`` is a range, None is left
        out.
      seeds: so many, counted from the one ``seed``.

    Raises:
      ValueError: several budgets, or seeds given twice.

    Example:
      >>> options_of({"alpha": [0.9, 0.98], "lamb": 2.0, "seed": 3}, seeds=2)
      {'alpha': (0.9, 0.98), 'lamb': (2.0,), 'seed': (3, 4)}
    """
    options = {n: _as_options(v) for n, v in values.items() if v is not None}
    if empty := [name for name, value in options.items() if value == ()]:
        raise ValueError(f"{empty[0]} must have a value, got an empty list.")
    steps, seed = options.get("steps", ()), options.get("seed", (0,))
    # Lanes are told apart by all settings but the steps.
    if isinstance(steps, Range) or len(steps) > 1:
        raise ValueError("--steps takes one value: the same budget for every lane.")
    if seeds is not None:
        if not isinstance(seeds, int) or seeds < 1:
            raise ValueError(f"seeds must be an integer ≥ 1, got {seeds!r}.")
        if isinstance(seed, Range) or len(seed) > 1:
            raise ValueError("--seeds N counts from one --seed; it was given several.")
        (first,) = seed
        options["seed"] = tuple(range(first, first + seeds))
    return options


def _as_options(value: Any) -> tuple[Any, ...] | Range:
    if isinstance(value, Range):
        return value
    if isinstance(value, (list, tuple, range, np.ndarray)):
        return tuple(value)
    if isinstance(value, str) and (found := _RANGE.fullmatch(value)):
        low, high = (json.loads(end) for end in found.groups()[:2])
        whole = isinstance(low, int) and isinstance(high, int)
        return Range(low, high, log=found[3] is not None, whole=whole)
    return (value,)


_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER}):({_NUMBER})(:log)?")


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
    if samples is not None:
        drawn = zip(*(r.draw(rng, samples) for r in ranges.values()), strict=True)
        blocks.append([dict(zip(ranges, draw, strict=True)) for draw in drawn])
    lists = {n: v for n, v in options.items() if not isinstance(v, Range)}
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
