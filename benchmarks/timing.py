"""Timing in turn, and tables of the results.

Machines drift: all cases of a table are compiled first, then timed one after another,
several rounds; ratios are taken within a round, and their median is reported.
"""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.console import print_table
from experiments.provenance import device, versions

RESULTS = Path(__file__).with_name("RESULTS.md")


def seconds(function: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turn(
    cases: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each case, ``rounds`` times in turn, after one call that warms up."""
    for case in cases.values():
        case()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            times[name].append(seconds(case))
    return times


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Median of the ratios within a round."""
    pairs = zip(numerator, denominator, strict=True)
    return statistics.median(a / b for a, b in pairs)


def milliseconds(times: Sequence[float], per: int = 1) -> list[str]:
    """Two cells: the median, and the range, in milliseconds for one of ``per``."""
    scaled = [1e3 * t / per for t in times]
    digits = 2 if statistics.median(scaled) > 1 else 3
    return [
        f"{statistics.median(scaled):.{digits}f}",
        f"{min(scaled):.{digits}f} – {max(scaled):.{digits}f}",
    ]


def matmul_flops_per_second(size: int = 2048) -> float:
    """Floating-point operations a second in a plain float32 product."""
    a = jnp.ones((size, size))
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    times = in_turn({"product": lambda: jax.block_until_ready(product(a))}, 5)
    return 2 * size**3 / statistics.median(times["product"])


def copy(parameters: int) -> Callable[[], None]:
    """``np.copyto`` of so many float32, between arrays that are there."""
    source, target = np.ones(parameters, np.float32), np.zeros(parameters, np.float32)
    return lambda: np.copyto(target, source)


def machine() -> str:
    """One line: device, processor, versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (
        found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())
    ):
        model = found[1]
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{device()}; {os.cpu_count()} × {model}; {packages}"


def report(
    name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Print a table, and put it between its marks in ``RESULTS.md``.

    Each kind of device has marks of its own.
    """
    if jax.default_backend() != "cpu":
        name = f"{name}, {jax.default_backend()}"
    print_table(title, columns, [list(row) for row in rows])
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (columns, *rows)]
    lines.insert(1, "|" + "---|" * len(columns))
    table = "\n".join([f"**{title}**", "", *lines, "", f"*{machine()}*"])
    text = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    block = f"{begin}\n{table}\n{end}"
    if begin in text:
        before, after = text.split(begin)[0], text.split(end)[1]
        text = before + block + after
    else:
        text += f"\n{block}\n"
    RESULTS.write_text(text)
