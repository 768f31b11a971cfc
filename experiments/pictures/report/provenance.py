"""Where the figures of some runs come from, as their records say."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.files import json_text
from experiments.results.numbers import short

_RESULTS = {
    "status",
    "steps",
    "diverged_at_step",
    "milestones",
    "milestone_resolution_steps",
    "final",
    "seconds",
    "compile_seconds",
    "ms_per_step",
    "peak_memory_mib",
    "parameters_sha256",
    "started",
}
"""What a summary says of the run alone; all else says where it comes from."""


def provenance(summaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the summaries say of versions, devices and so on, whatever that is.

    Each is a dict: ``what`` it is of, ``value``, and in how many ``runs`` it is so.
    Starts are one line, the first and the last.
    """
    counts: dict[tuple[str, str], int] = {}
    if starts := sorted(filter(None, (each.get("started") for each in summaries))):
        ends = " … ".join(dict.fromkeys((starts[0], starts[-1])))
        counts["started", ends] = len(starts)
    for summary in summaries:
        for line in _lines(summary):
            counts[line] = counts.get(line, 0) + 1
    names = list(dict.fromkeys(what for what, _ in counts))
    return [
        {"what": what, "value": value, "runs": count}
        for name in names
        for (what, value), count in counts.items()
        if what == name
    ]


def _lines(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in summary.items():
        if name in _RESULTS:
            continue
        if name == "revisions":  # of the source; more than one after a resume
            yield "source", ", then ".join(each or "not known" for each in value)
            continue
        parts = value.items() if isinstance(value, dict) else [(name, value)]
        for part, each in parts:
            what = part if part == name else f"{name}: {part}"
            text = json_text(each) if isinstance(each, (dict, list)) else short(each)
            yield what.replace("_", " "), text
