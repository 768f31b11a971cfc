"""Cells of tables: what several seeds gave.

A time that was not reached in a run is None: it is right-censored at the run's last
step. It is larger than every other time, but by how much is not known, so it is counted
and never averaged.
"""

import math
import statistics
from collections.abc import Sequence

import scipy.stats

Time = float | None


def order(time: Time) -> float:
    """Key for sorting: what was never reached comes last."""
    return math.inf if time is None else time


def median(times: Sequence[Time]) -> Time:
    """The median, never being larger than everything; None if it is never itself.

    Example:
      >>> median([300, None, 100])
      300
      >>> median([300, None, 100, None]) is None
      True
    """
    middle = statistics.median(map(order, times))
    return None if middle == math.inf else middle


def rank(times: Sequence[Time]) -> tuple[float, float]:
    """Key for sorting settings: in more seeds comes first, then sooner.

    Without times, such as before any run is over, a setting comes last.

    Example:
      >>> rank([440, 440]) < rank([380, None])
      True
    """
    if not times:
        return math.inf, math.inf
    missing = sum(time is None for time in times)
    return missing / len(times), order(median(times))


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median and range.

    Example:
      >>> spread([0.9, 0.8, 0.95], ".0%")
      '90% (80% – 95%)'
    """
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:{form}} ({low:{form}} – {high:{form}})"


def times_cell(times: Sequence[Time], budget: int) -> str:
    """Median and range, and how many never got there in ``budget`` steps.

    Example:
      >>> times_cell([2001, 2668, 2001], budget=5000)
      '2,001 (2,001 – 2,668)'
      >>> times_cell([2001, None, 2668], budget=5000)
      '2,668 (2,001 – never); 1 of 3 never in 5,000'
      >>> times_cell([None, None, 2668], budget=5000)
      'never (2,668 – never); 2 of 3 never in 5,000'
      >>> times_cell([None, None], budget=5000)
      '2 of 2 never in 5,000'
    """
    missing = sum(time is None for time in times)
    never = f"{missing} of {len(times)} never in {budget:,}"
    if missing == len(times):
        return never
    ordered = sorted(times, key=order)
    first, middle, last = map(_text, (ordered[0], median(times), ordered[-1]))
    cell = f"{middle} ({first} – {last})"
    return f"{cell}; {never}" if missing else cell


def prediction_cell(times: Sequence[Time]) -> str:
    """Where 95 of 100 further seeds would lie, were the times normally distributed.

    Student's t over the seeds that are there; none if one never got there.

    Example:
      >>> prediction_cell([10, 12, 14])
      '2 – 22'
      >>> prediction_cell([10, None, 14])
      'none'
    """
    known = [time for time in times if time is not None]
    if len(known) < max(len(times), 2):
        return "none"
    deviation = statistics.stdev(known) * math.sqrt(1 + 1 / len(known))
    middle = statistics.mean(known)
    half = float(scipy.stats.t.ppf(0.975, len(known) - 1)) * deviation
    return f"{max(0, middle - half):,.0f} – {middle + half:,.0f}"


def ratio_cell(slow: Sequence[Time], fast: Sequence[Time]) -> str:
    """The ratio of the medians, and the range of the ratios seed by seed.

    Pairs with a run that never got there have no ratio; they are counted.

    Example:
      >>> ratio_cell([400, 600, 500], [100, 200, 250])
      '2.50 (2.00 – 4.00)'
      >>> ratio_cell([400, None, 500], [100, 200, 250])
      '2.50 (2.00 – 4.00; 1 of 3 pairs without a ratio)'
      >>> ratio_cell([None, None], [100, 200])
      'none: 2 of 2 pairs without a ratio'
    """
    pairs = list(zip(slow, fast, strict=True))
    known = [a / b for a, b in pairs if a is not None and b is not None]
    missing = f"{len(pairs) - len(known)} of {len(pairs)} pairs without a ratio"
    if not known:
        return f"none: {missing}"
    above, below = median(slow), median(fast)
    whole = "none" if above is None or below is None else f"{above / below:.2f}"
    note = f"; {missing}" if len(known) < len(pairs) else ""
    return f"{whole} ({min(known):.2f} – {max(known):.2f}{note})"


def signed_rank(before: Sequence[Time], after: Sequence[Time]) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test on the ratios, seed by seed.

    What was never reached counts as twice the largest value of all; None if no pair
    differs.

    Example:
      >>> signed_rank([20, 30, None, 50, 60, 70], [10, 12, 13, 14, 15, 16])
      0.03125
      >>> signed_rank([20, None], [20, None]) is None
      True
    """
    largest = max((t for t in (*before, *after) if t is not None), default=1)
    logs = [
        [math.log(2 * largest if time is None else time) for time in times]
        for times in (before, after)
    ]
    # Pairs that do not differ are left out here: with them SciPy's versions disagree.
    differences = [a - b for a, b in zip(*logs, strict=True) if a != b]
    return float(scipy.stats.wilcoxon(differences).pvalue) if differences else None


def _text(time: Time) -> str:
    return "never" if time is None else f"{time:,.0f}"
