"""What ``list`` prints: which columns there is room for, and what stands in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.methods.named import filters_of
from experiments.records.status import Status
from experiments.results import listing
from experiments.results.conditions import Condition
from experiments.results.listing import Described
from experiments.results.numbers import NOTHING, short
from experiments.screen import console
from experiments.screen.fit import fitting, say_left_out

_FIRST = ("state", "gen 99", "filter", "steps", "task", "decay", "lanes", "reached")
"""Columns that stay where there is no room for all, after the name."""


def print_lines(
    found: Sequence[Described], extra: Sequence[str], root: Path, wanted: Sequence[str]
) -> None:
    """The table, as far as it fits; then which columns did not.

    Args:
      found: runs and sweeps.
      extra: names of columns that are asked for too.
      root: below which they are.
      wanted: the conditions that they meet.
    """
    columns = _columns(found, extra)
    header = list(columns)
    rows = [[_cell(each, name, root) for name in columns.values()] for each in found]
    asked = [heading for heading, name in columns.items() if name in extra]
    order = dict.fromkeys([*asked, *_FIRST, *header])
    shown = fitting(header, rows, [h for h in order if h in header[1:]])
    console.print_table(
        _title(found, root, wanted),
        [header[i] for i in shown],
        [[row[i] for i in shown] for row in rows],
    )
    say_left_out(header, shown)


def say_what_there_is(
    runs: Sequence[Described], root: Path, wanted: Sequence[str]
) -> None:
    """Which values there are, where no run has those that are wanted."""
    console.say(_title([], root, wanted))
    for text in wanted if runs else ():
        name = listing.resolved(Condition.parse(text).name, runs, "--filter")
        values = listing.in_few(listing.values_of(runs, name))
        console.say(f"{name} of the {len(runs)} runs there: {values or NOTHING}")


def _columns(found: Sequence[Described], extra: Sequence[str]) -> dict[str, str]:
    """Headings and names of the columns, those that were named in the command last."""
    columns = dict(listing.COLUMNS)
    if not any("lanes" in each for each in found):
        columns = {h: n for h, n in columns.items() if n not in listing.OF_SWEEPS}
    there = set(columns.values())
    return columns | {name: name for name in extra if name not in there}


def _title(found: Sequence[Described], root: Path, wanted: Sequence[str]) -> str:
    sweeps = [each for each in found if "lanes" in each]
    parts = []
    if len(found) > len(sweeps) or not sweeps:
        parts.append(_count(len(found) - len(sweeps), "run"))
    if sweeps:
        lanes = _count(sum(each["lanes"] for each in sweeps), "lane")
        parts.append(f"{_count(len(sweeps), 'sweep')} of {lanes}")
    conditions = f", with {' and '.join(wanted)}" if wanted else ""
    return f"{' and '.join(parts)} below {console.place(root)}{conditions}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _cell(each: Described, name: str, root: Path) -> Any:
    """What stands in a column, in few characters."""
    config = each["config"]
    if name == "run":
        return Path(each["run"]).relative_to(root)
    if name == "filter":
        return _filters(config)
    value = listing.shown(each, name)
    if name == "state" and len(counts := each.get("status", {})) > 1:
        diverged = counts.get(Status.DIVERGED)
        return f"{value}, {diverged} diverged" if diverged else value
    return listing.in_few(value) if isinstance(value, list) else value


def _filters(config: Mapping[str, Any]) -> str:
    """Names and, of each, the two numbers that matter most: ``ema 0.98/2``."""
    if any(isinstance(value, list) for value in config.values()):  # of a sweep
        return listing.in_few(config["filter"])
    texts = []
    for each in filters_of(config):
        first, second, *_ = each.in_effect().values()
        texts.append(f"{each.name} {short(first)}/{short(second)}")
    return "+".join(texts) or "none"
