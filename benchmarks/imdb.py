"""The training step of IMDb, batch 50, against a plain PyTorch twin."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from benchmarks.training_step import evaluation, steps
from experiments.engine.state import Keys
from experiments.methods.named import settings_of
from experiments.models.padding import schedule
from experiments.settings.task import Data
from experiments.tasks.imdb import ImdbTask

STEPS = 15  # an epoch: every review once, so that both read as many words
CASES = {"none": "float32", "ema": "float32", "none, bfloat16": "bfloat16"}


def main(rounds: int) -> None:
    """Time an epoch of every case and of its twin in turn."""
    cases: dict[str, Callable[[], Any]] = {}
    for name, products in CASES.items():
        task, filter = ImdbTask(products=products), name.split(",")[0]
        cases[name] = steps(settings_of(task, filter=filter).config, count=STEPS)
    cases["evaluation"] = evaluation(settings_of(ImdbTask(), measures="none").config)
    tokens, labels = _training()
    cases |= _twins(tokens, labels)
    cases |= {"product": timing.large_product("float32")}
    times = timing.in_turn(cases, rounds)
    rows = []
    for name in (*CASES, "evaluation"):
        per = 1 if name == "evaluation" else STEPS
        twin = times.get(f"PyTorch, {name}", times.get("PyTorch, none"))
        row = [name, *timing.milliseconds(times[name], per)]
        compared = twin and name != "evaluation"
        rows.append([*row, timing.ratio(times[name], twin) if compared else ""])
    rows += [
        [name, *timing.milliseconds(times[name], STEPS), ""]
        for name in times
        if name.startswith("PyTorch")
    ]
    timing.report(
        "imdb",
        f"Training step of IMDb, 2-layer LSTM of 256, batch 50, {rounds} rounds of "
        f"{STEPS} steps; evaluation of all 1000 reviews",
        ("case", "median ms", "range", "÷ PyTorch"),
        rows,
    )
    _report_floor(times, tokens)


def _training() -> tuple[np.ndarray, np.ndarray]:
    """Tokens and labels of the reviews to train on, of seed 0."""
    task = ImdbTask()
    data: Data = task.load()
    splits = task.splits(data, Keys.from_seed(0).split)
    examples = task.take(task.with_split(data, splits), splits["train"])
    return np.asarray(examples["tokens"]), np.asarray(examples["labels"])


def _twins(tokens: np.ndarray, labels: np.ndarray) -> dict[str, Callable[[], Any]]:
    """As many steps of the PyTorch twin; none without PyTorch."""
    try:
        from benchmarks import torch_imdb
    except ModuleNotFoundError:
        print("PyTorch is not installed: no comparison with it.")
        return {}
    cases = {}
    for name in ("none", "ema"):
        model = torch_imdb.ReviewLstm(1001, 64, 256, 2)
        train = torch_imdb.make_steps(model, tokens, labels, filter_name=name)
        cases[f"PyTorch, {name}"] = lambda train=train: train(STEPS)
    return cases


def positions_read(tokens: np.ndarray) -> int:
    """Rows × steps of the schedule of a batch."""
    plan = schedule(jax.numpy.asarray(tokens))
    steps = plan.tokens.shape[1]
    return sum(
        rows * steps * (int(end) - int(first)) for rows, first, end in plan.stages()
    )


def _report_floor(times: dict[str, list[float]], tokens: np.ndarray) -> None:
    """Products with the recurrent matrices and between the layers, three a matrix."""
    order = np.random.default_rng(0).permutation(len(tokens))
    batches = [tokens[rows] for rows in np.split(order, STEPS)]
    counts = {
        "words alone": np.mean([(batch != 0).sum() for batch in batches]),
        "what is read here": np.mean([positions_read(batch) for batch in batches]),
        "padding too, as PyTorch": batches[0].size,
    }
    operations = 2 * timing.PRODUCT_SIZE**3
    own = [seconds / STEPS for seconds in times["none"]]
    rows = []
    for name, count in counts.items():
        flops = float(count) * 3 * 3 * 2 * 256 * 1024
        floors = [seconds * flops / operations for seconds in times["product"]]
        row = [name, f"{count:,.0f}", f"{flops / 1e9:.1f}"]
        rows.append([*row, *timing.milliseconds(floors), timing.ratio(own, floors)])
    speed = [operations / seconds / 1e9 for seconds in times["product"]]
    timing.report(
        "imdb floor",
        "Floor of a step of IMDb: three products a matrix (forward, and the gradients "
        "by input and by weight) and position, at the speed of one of "
        f"{timing.PRODUCT_SIZE} × {timing.PRODUCT_SIZE} in the same round, "
        f"{min(speed):.0f} – {max(speed):.0f} GFLOP/s",
        ("positions", "a batch", "GFLOP", "floor ms", "range", "step ÷ floor"),
        rows,
    )
