"""Which evaluations of a long run are drawn: a browser is slow with millions."""

import itertools

import numpy as np

POINTS_IN_ALL = 60_000
"""Of each quantity, over all curves; a page of them is drawn in about a second."""
FEWEST, MOST = 100, 1000  # of a curve, however many others there are


def points_of(runs: int) -> int:
    """How many points a curve may have beside those of the other runs.

    Example:
      >>> points_of(3), points_of(200), points_of(5000)
      (1000, 300, 100)
    """
    return min(MOST, max(FEWEST, POINTS_IN_ALL // max(runs, 1)))


def kept(values: np.ndarray, most: int) -> np.ndarray:
    """The places of the values that are drawn, in order; what is not finite has none.

    All of few. Of many the first, the last, and the least and the largest of each of
    ``most / 4`` intervals of equal length and as many of lengths that grow in
    proportion: both on a linear and on a logarithmic axis no peak is lost. A value that
    is drawn is one that was recorded, never a mean.

    Example:
      >>> kept(np.array([0.1, np.nan, 0.3]), most=8).tolist()
      [0, 2]
      >>> spiky = np.zeros(1000)
      >>> spiky[[3, 617]] = 1.0, -1.0
      >>> places = kept(spiky, most=40)
      >>> len(places) <= 40, {0, 3, 617, 999} <= set(places.tolist())
      (True, True)
    """
    finite = np.flatnonzero(np.isfinite(values))
    count = len(finite)
    if count <= most:
        return finite
    values, intervals = values[finite], (most - 2) // 4
    chosen = [0, count - 1]
    for edges in (
        np.linspace(0, count, intervals + 1),
        np.geomspace(1, count, intervals + 1),
    ):
        for start, end in itertools.pairwise(np.unique(edges.astype(int))):
            part = values[start:end]
            chosen += [start + int(part.argmin()), start + int(part.argmax())]
    return finite[np.unique(chosen)]
