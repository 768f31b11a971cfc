"""Timing in turn, and tables of the results.

Machines drift: all cases of a table are compiled first, then timed one after another,
several rounds; ratios are taken within a round, and their median is reported.
"""

import contextlib
import importlib.metadata
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

from experiments.records.provenance import device, versions
from experiments.results import markdown as marked

RESULTS = Path(__file__).with_name("RESULTS.md")


Clock = Callable[[], float]


def seconds(function: Callable[[], Any], clock: Clock = time.perf_counter) -> float:
    """Seconds of one call."""
    start = clock()
    function()
    return clock() - start


def in_turn(
    cases: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each case, ``rounds`` times in turn, after one call that warms up."""
    for case in cases.values():
        case()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            times[name].append(seconds(case, clock))
    return times


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> str:
    """A cell: the median of the ratios within a round, and their quartiles."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    low, median, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return f"{median:.2f} ({low:.2f} – {high:.2f})"


def milliseconds(times: Sequence[float], per: int = 1) -> list[str]:
    """Two cells: the median, and the range, in milliseconds for one of ``per``."""
    scaled = [1e3 * t / per for t in times]
    digits = 2 if statistics.median(scaled) > 1 else 3
    return [
        f"{statistics.median(scaled):.{digits}f}",
        f"{min(scaled):.{digits}f} – {max(scaled):.{digits}f}",
    ]


PRODUCT_SIZE = 2048 if jax.default_backend() == "cpu" else 8192


def large_product(precision: str) -> Callable[[], Any]:
    """A product of two matrices of ``PRODUCT_SIZE``: 2·PRODUCT_SIZE³ operations."""
    a = jnp.ones((PRODUCT_SIZE, PRODUCT_SIZE))
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=precision))
    return lambda: jax.block_until_ready(product(a))


def copies(parameters: int, count: int) -> Callable[[], None]:
    """``count`` copies of so many float32, between arrays that are there.

    By ``np.copyto``, on one core; on an accelerator by the device.
    """
    source = np.ones(parameters, np.float32)
    if jax.default_backend() != "cpu":
        on_device, negate = jax.device_put(source), jax.jit(jnp.negative)
        return lambda: jax.block_until_ready([negate(on_device) for _ in range(count)])
    target = np.zeros_like(source)

    def copy() -> None:
        for _ in range(count):
            np.copyto(target, source)

    return copy


def machine() -> str:
    """One line: device, processor, versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (
        found := re.search(r"model name\s*: (.*)", cpuinfo.read_text(encoding="utf-8"))
    ):
        model = found[1]
    packages = dict(versions())
    for name in ("torch", "pytorch_optimizer"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    listed = ", ".join(f"{name} {version}" for name, version in packages.items())
    return f"{device()}; {os.cpu_count()} × {model}; {listed}"


def report(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    page: Path = RESULTS,
) -> None:
    """Print a table, and put it between its marks in ``RESULTS.md`` or another page.

    Each kind of device has marks of its own.
    """
    if jax.default_backend() != "cpu":
        name = f"{name}, {jax.default_backend()}"
    table = marked.table(columns, rows)
    text = "\n".join([f"**{title}**", "", table, "", f"*{machine()}*"])
    print(text)
    marked.put(page, name, text)
