"""Which runs share a colour: those of one setting, or of one value of a chosen one."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from experiments.pictures.looks import looks
from experiments.results.numbers import short
from experiments.results.table import label, name_in_words

MOST_COLOURS = 12
"""Of more different numbers, neighbours share a colour, of a scale from low to high."""
_DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
"""Matplotlib's names of lines, and Plotly's."""


def colourings(
    rows: Sequence[Mapping[str, Any]], swept: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Ways to colour runs, by what they go by: "" for all settings, or one's name.

    Each is a dict of ``labels``, ``colours`` and ``dashes`` of its groups, and ``of``,
    the group of every run. A setting has its colour of the sweep's pictures.

    Args:
      rows: the settings of every run.
      swept: those in which runs differ, but for the seed.
    """
    ways = {"": _by_label([label(row, swept) or "all seeds" for row in rows])}
    for name in swept:
        values = [row.get(name) for row in rows]
        numbers = {v for v in values if v is not None}
        if len(numbers) > MOST_COLOURS and all(map(_is_number, numbers)):
            ways[name] = _by_size(name, values)
        else:
            ways[name] = _by_label([label(row, [name]) for row in rows])
    return ways


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _by_label(labels: Sequence[str]) -> dict[str, Any]:
    places = {text: i for i, text in enumerate(dict.fromkeys(labels))}
    styles = looks(places).values()
    return {
        "labels": list(places),
        "colours": [mpl.colors.to_hex(style["color"]) for style in styles],
        "dashes": [_DASHES[style["linestyle"]] for style in styles],
        "of": [places[text] for text in labels],
    }


def _by_size(name: str, values: Sequence[float | None]) -> dict[str, Any]:
    """Groups of about as many runs each, from the least values to the largest."""
    known = np.sort([value for value in values if value is not None])
    parts = [part for part in np.array_split(known, MOST_COLOURS) if len(part)]
    tops = [part[-1] for part in parts[:-1]]
    words = name_in_words(name)
    labels = [f"{words} {short(float(p[0]))} … {short(float(p[-1]))}" for p in parts]
    scale = mpl.colormaps["viridis"](np.linspace(0, 0.95, len(parts)))
    colours = [mpl.colors.to_hex(colour) for colour in scale]
    if len(known) < len(values):
        labels, colours = [*labels, f"without {words}"], [*colours, "#888888"]
    return {
        "labels": labels,
        "colours": colours,
        "dashes": ["solid"] * len(labels),
        "of": [
            len(parts) if v is None else int(np.searchsorted(tops, v)) for v in values
        ],
    }
