"""Tables that fit the screen: whole columns are left out, never the names of things."""

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from experiments.results.numbers import short
from experiments.screen.console import console, say

_BETWEEN = 2  # characters between two columns, and on both edges together


def fitting(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    order: Sequence[str],
    width: int | None = None,
) -> list[int]:
    """Which columns of a table fit; those that are not in the order always stay.

    Args:
      header: names of the columns.
      rows: their cells.
      order: names of those that may be left out, what is most important first.
      width: characters there are; by default those of the screen.
    """
    width = console.width if width is None else width
    widths = [
        max(cell_len(short(cell)) for cell in column) + _BETWEEN
        for column in zip(header, *rows, strict=True)
    ]
    places = [header.index(name) for name in order]
    chosen = [i for i in range(len(header)) if i not in places]
    left = width - sum(widths[i] for i in chosen)
    for place in places:
        if widths[place] <= left:
            left -= widths[place]
            chosen.append(place)
    return sorted(chosen)


def say_left_out(header: Sequence[str], shown: Sequence[int]) -> None:
    """Name the columns that a table has no room for, if there are any."""
    if out := [name for i, name in enumerate(header) if i not in shown]:
        say(f"No room for {', '.join(out)}: a wider window or --json has them.")
