"""How curves are told apart: colour and line by setting, words where they coincide."""

import colorsys
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

Curves = Mapping[str, Mapping[str, Sequence[Line2D]]]
"""Lines by their label and by what they show."""
STYLES = ("-", "--", "-.", ":")
_NAMED = 10  # colours of Matplotlib's cycle
_GOLDEN = 0.618034  # multiples of it, modulo 1, are far apart
_NEAR = 1.0  # pixels


def looks(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and line style of each label, by its place among all of them.

    Given all settings of a sweep, and not only those that are drawn, a setting looks
    the same in every picture.

    Example:
      >>> looks(["none", "ema"])["ema"]
      {'color': 'C1', 'linestyle': '--'}
    """
    labels = list(labels)
    colors = [f"C{i}" for i in range(_NAMED)]
    if len(labels) > _NAMED:
        hues = (i * _GOLDEN % 1 for i in range(len(labels)))
        # Dark and light in turn: greens of near hues look alike.
        colors = [
            colorsys.hls_to_rgb(hue, (0.35, 0.5, 0.62)[i % 3], 0.85)  # type: ignore[misc]
            for i, hue in enumerate(hues)
        ]
    return {
        label: {"color": colors[i], "linestyle": STYLES[i % len(STYLES)]}
        for i, label in enumerate(labels)
    }


def in_legend(curves: Curves, notes: Mapping[str, str] | None = None) -> list[str]:
    """What the legend says of each label: itself, a note, what its curves lie on.

    To be asked when the axes have their scales.

    Args:
      curves: the lines of each label, by what they show, the same for all.
      notes: what is said after a label.
    """
    texts = []
    for label, of_label in curves.items():
        same: dict[str, list[str]] = {}  # what is shown, by the label it lies on
        for what, lines in of_label.items():
            if (other := _first_same(label, lines, what, curves)) is not None:
                same.setdefault(other, []).append(what)
        text = label + (notes or {}).get(label, "")
        for other, shown in same.items():
            every = len(shown) == len(of_label)
            text += f", same {'curve' if every else ' and '.join(shown)} as {other}"
        texts.append(text)
    return texts


def _first_same(
    label: str, lines: Sequence[Line2D], what: str, curves: Curves
) -> str | None:
    """The first of the earlier labels on whose lines these lie."""
    earlier = itertools.takewhile(lambda other: other != label, curves)
    return next((o for o in earlier if _coincide(lines, curves[o][what])), None)


def _coincide(lines: Sequence[Line2D], others: Sequence[Line2D]) -> bool:
    """Whether lines lie on others, each on its own; where nothing is drawn none do."""
    if len(lines) != len(others):
        return False
    pairs = [(_pixels(a), _pixels(b)) for a, b in zip(lines, others, strict=True)]
    return any(len(a) for a, _ in pairs) and all(_is_near(a, b) for a, b in pairs)


def _pixels(line: Line2D) -> np.ndarray:
    """Where a line's points are on the picture, ``[points, 2]``."""
    axes = line.axes
    assert axes is not None
    axes.get_xlim(), axes.get_ylim()  # whatever is to be scaled still, now is
    with np.errstate(all="ignore"):  # 0 on a logarithmic axis
        points = axes.transData.transform(line.get_xydata())
    return points[np.isfinite(points).all(axis=1)]


def _is_near(a: np.ndarray, b: np.ndarray) -> bool:
    if not len(a) or not len(b):
        return len(a) == len(b)
    if np.abs(a[[0, -1], 0] - b[[0, -1], 0]).max() > _NEAR:
        return False
    x = np.union1d(a[:, 0], b[:, 0])
    distance = np.interp(x, a[:, 0], a[:, 1]) - np.interp(x, b[:, 0], b[:, 1])
    return bool(np.abs(distance).max() <= _NEAR)
