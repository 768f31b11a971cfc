"""Grokfast as others have it, beside ours: correctness, behaviour, state and cost.

Every implementation filters the same gradients, and is held against NumPy in float64:
ours; the published algorithm in plain PyTorch (``torch_twin.py``); the functions and
the optimizer of ``pytorch_optimizer``; and Optax's own parts. Each is held against the
filter with *its* start, so that a start is no error; the first update tells it.
"""

import functools
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from pytorch_optimizer.optimizer.grokfast import (
    GrokFastAdamW,
    gradfilter_ema,
    gradfilter_ma,
)

from benchmarks import timing
from benchmarks.torch_twin import ema_filter, ma_filter
from grokfast_jax import (
    amplify,
    exponential_moving_average,
    grokfast_adam,
    grokfast_adamw,
    grokfast_ema,
    grokfast_ma,
)

PAGE = Path(__file__).parents[1] / "docs" / "comparison.md"
WIDTH = 16  # parameters, where numbers are compared
LEAVES, SHAPE = 16, (1024, 64)  # where time is: 1,048,576 parameters
LAMB, WINDOW = 2.0, 100

Run = Callable[[np.ndarray, str], np.ndarray]
"""Gradients ``[T, n]`` and the name of their dtype to the filtered gradients."""


def main(rounds: int) -> None:
    """Compare, time, and write the tables into ``docs/comparison.md``."""
    # Threads that wait for each other use the processor, whose time is taken below.
    torch.set_num_threads(1)
    _correctness()
    _optimizers()
    _cost(rounds)


# What each makes of the same gradients.


def of_jax(tx: optax.GradientTransformation) -> Run:
    """Run an Optax transformation in one scan."""

    def run(gradients: np.ndarray, dtype: str) -> np.ndarray:
        @jax.jit
        def scan(gradients: jax.Array) -> jax.Array:
            def step(state: Any, g: jax.Array) -> Any:
                output, state = tx.update(g, state)
                return state, output

            return jax.lax.scan(step, tx.init(jnp.zeros_like(gradients[0])), gradients)[
                1
            ]

        return np.asarray(scan(jnp.asarray(gradients, dtype)), np.float64)

    return run


def of_twin(make: Callable[[], Callable[[dict[str, torch.Tensor]], None]]) -> Run:
    """Run a plain filter of ``torch_twin.py``, which changes gradients in place."""

    def run(gradients: np.ndarray, dtype: str) -> np.ndarray:
        apply, outputs = make(), []
        for g in torch.tensor(gradients, dtype=getattr(torch, dtype)):
            apply({"w": g})
            outputs.append(g.double().numpy())
        return np.stack(outputs)

    return run


def of_library(apply: Callable[..., Any], **settings: Any) -> Run:
    """Run a function of ``pytorch_optimizer``, which changes a module's gradients."""

    def run(gradients: np.ndarray, dtype: str) -> np.ndarray:
        weights = torch.zeros(gradients.shape[1], dtype=getattr(torch, dtype))
        module = torch.nn.ParameterList([torch.nn.Parameter(weights)])
        memory, outputs = None, []
        for g in torch.tensor(gradients, dtype=weights.dtype):
            module[0].grad = g
            memory = apply(module, memory, **settings)
            outputs.append(module[0].grad.double().numpy().copy())
        return np.stack(outputs)

    return run


def true_ema(gradients: np.ndarray, alpha: float, start: str) -> np.ndarray:
    """G + λ·EMA(g) in float64, from the first gradient, from 0, or without bias."""
    m = gradients[0] if start == "first" else np.zeros_like(gradients[0])
    outputs = []
    for t, g in enumerate(gradients):
        m = alpha * m + (1 - alpha) * g
        slow = m / (1 - alpha ** (t + 1)) if start == "debiased" else m
        outputs.append(g + LAMB * slow)
    return np.stack(outputs)


def true_ma(gradients: np.ndarray) -> np.ndarray:
    """G + λ times the mean of the last w gradients, once there are w, in float64."""
    window: deque[np.ndarray] = deque(maxlen=WINDOW)
    outputs = []
    for g in gradients:
        window.append(g)
        slow = sum(window) / WINDOW if len(window) == WINDOW else 0
        outputs.append(g + LAMB * slow)
    return np.stack(outputs)


def emas(alpha: float) -> dict[str, tuple[str, Run]]:
    """Names, starts and implementations."""
    twin = functools.partial(ema_filter, alpha, LAMB)
    library = of_library(gradfilter_ema, alpha=alpha, lamb=LAMB)

    def of_optax(**settings: Any) -> Run:
        return of_jax(amplify(optax.ema(alpha, **settings), LAMB))

    return {
        "`grokfast_ema`": ("first", of_jax(grokfast_ema(alpha, LAMB))),
        '`grokfast_ema(init="zero")`': (
            "zero",
            of_jax(grokfast_ema(alpha, LAMB, init="zero")),
        ),
        "published algorithm, plain PyTorch": ("first", of_twin(twin)),
        "`pytorch_optimizer.gradfilter_ema`": ("first", library),
        "`amplify(optax.ema)`": ("debiased", of_optax()),
        "`amplify(optax.ema(debias=False))`": ("zero", of_optax(debias=False)),
        "`amplify(optax.ema(accumulator_dtype=float32))`": (
            "debiased",
            of_optax(accumulator_dtype=jnp.float32),
        ),
    }


def mas() -> dict[str, Run]:
    """Names and implementations."""
    library = functools.partial(
        of_library, gradfilter_ma, window_size=WINDOW, lamb=LAMB
    )
    return {
        "`grokfast_ma`": of_jax(grokfast_ma(WINDOW, LAMB)),
        "published algorithm, plain PyTorch": of_twin(
            functools.partial(ma_filter, WINDOW, LAMB)
        ),
        "`pytorch_optimizer.gradfilter_ma`": library(),
    }


def _correctness() -> None:
    random = np.random.default_rng(0).normal
    white = random(size=(2000, WIDTH)).astype(np.float32).astype(np.float64)
    # A mean of 1 below the noise, in numbers that bfloat16 has.
    half = np.asarray(jnp.asarray(1 + random(size=(5000, WIDTH)), jnp.bfloat16), float)
    shrinking = white.repeat(3, axis=0) * np.geomspace(1, 1e-6, 6000)[:, None]
    shrinking = shrinking.astype(np.float32).astype(np.float64)
    one_nan = white.copy()
    one_nan[WINDOW] = np.nan

    rows = []
    for name in emas(0.98):
        start, run = emas(0.98)[name]
        slow = emas(0.999)[name][1]
        rows.append(
            [
                name,
                f"{run(np.ones((1, WIDTH)), 'float32')[0, 0]:.2f}",
                _error(run(white, "float32"), true_ema(white, 0.98, start)),
                _error(
                    slow(half, "bfloat16")[-1000:], true_ema(half, 0.999, start)[-1000:]
                ),
                forgotten(run(one_nan, "float32")),
            ]
        )
    timing.report(
        "EMA",
        "The exponential moving average",
        ("implementation", "first update", "float32", "bfloat16", "NaN forgotten"),
        rows,
        PAGE,
    )
    rows = [
        [
            name,
            f"{np.argmax(run(np.ones((WINDOW, WIDTH)), 'float32')[:, 0] > 1) + 1}",
            _error(run(white, "float32"), true_ma(white)),
            _error(run(shrinking, "float32")[-WINDOW:], true_ma(shrinking)[-WINDOW:]),
            forgotten(run(one_nan, "float32")),
        ]
        for name, run in mas().items()
    ]
    timing.report(
        "MA",
        "The moving average, w = 100",
        ("implementation", "first filtered", "float32", "shrinking", "NaN forgotten"),
        rows,
        PAGE,
    )


def _error(outputs: np.ndarray, truth: np.ndarray) -> str:
    return f"{np.max(np.abs(outputs - truth)) / np.max(np.abs(truth)):.1e}"


def forgotten(outputs: np.ndarray) -> str:
    """Updates from the NaN, at update ``WINDOW``, until the last that is not finite."""
    wrong = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    return "never" if wrong[-1] == len(outputs) - 1 else str(wrong[-1] - WINDOW + 1)


# What whole optimizers do beside the filter.


def _optimizers() -> None:
    rows = [
        ["`grokfast_adamw`, `grokfast_adam`", *ours()],
        ["`pytorch_optimizer.GrokFastAdamW`", *theirs()],
    ]
    timing.report(
        "optimizers",
        "Whole optimizers",
        ("optimizer", "first step", "coupled decay", "switched on late"),
        rows,
        PAGE,
    )


def ours() -> list[str]:
    """A row of ours."""
    one = jnp.ones(1)
    adamw = grokfast_adamw(1e-3, 0.98, LAMB, weight_decay=0.0)
    first = adamw.update(one, adamw.init(one), one)[0]
    # β₁ = 0: the first moment is what comes out of filter and decay.
    adam = grokfast_adam(0.0, 0.98, LAMB, b1=0.0, l2=0.1)
    state = adam.init(one)
    update = jax.jit(adam.update)
    for _ in range(1000):
        _, state = update(jnp.zeros(1), state, one)
    moment = optax.tree.get(state, "mu")
    late = amplify(exponential_moving_average(0.98), LAMB, start_step=100)
    outputs = of_jax(late)(np.array([[5.0]] + [[1.0]] * 100), "float32")
    return [
        f"{-first[0] / 1e-3:.2f}",
        f"{moment[0] / 0.1:.2f}",
        f"{outputs[-1, 0]:.2f}",
    ]


def theirs() -> list[str]:
    """A row of ``GrokFastAdamW``."""

    def optimizer(**settings: Any) -> tuple[torch.nn.Parameter, Any]:
        weight = torch.nn.Parameter(torch.ones(1))
        return weight, GrokFastAdamW([weight], **settings)

    weight, adamw = optimizer(lr=1e-3)
    weight.grad = torch.ones(1)
    adamw.step()
    first = 1 - weight.item()
    weight, adam = optimizer(
        lr=0.0, betas=(0.0, 0.99), weight_decay=0.1, weight_decouple=False
    )
    for _ in range(1000):
        weight.grad = torch.zeros(1)
        adam.step()
    moment = adam.state[weight]["exp_avg"].item()
    weight, late = optimizer(lr=0.0, betas=(0.0, 0.99), grokfast_after_step=100)
    for gradient in (5.0, *[1.0] * 100):
        weight.grad = torch.full((1,), gradient)
        late.step()
    output = late.state[weight]["exp_avg"].item()
    return [f"{first / 1e-3:.2f}", f"{moment / 0.1:.2f}", f"{output:.2f}"]


# What they cost.


def _cost(rounds: int) -> None:
    """Time updates by the processor's clock, which other programs hardly slow."""
    rows = []
    for cases, updates in ((_ema_cases(), 40), (_ma_cases(), 3), (_adam_cases(), 10)):
        runs = {
            name: functools.partial(_repeat, update, updates)
            for name, (update, _) in cases.items()
        }
        times = timing.in_turn(runs, rounds, time.process_time)
        ours = times[next(iter(cases))]
        rows += [
            [
                name,
                *timing.milliseconds(times[name], updates),
                timing.ratio(times[name], ours),
                f"{copies:.0f}",
            ]
            for name, (_, copies) in cases.items()
        ]
    timing.report(
        "cost",
        f"An update alone, {LEAVES * SHAPE[0] * SHAPE[1]:,} parameters in {LEAVES} "
        f"leaves, float32, processor time, {rounds} rounds",
        ("implementation", "median ms", "range", "÷ ours", "copies in the state"),
        rows,
        PAGE,
    )


Update = Callable[[], Any]
"""One update; what it returns may still be on its way."""


def _repeat(update: Update, times: int) -> None:
    for _ in range(times):
        result = update()
    jax.block_until_ready(result)


def _ema_cases() -> dict[str, tuple[Update, float]]:
    """Ours first; beside each the copies of the parameters in its state."""
    library = functools.partial(gradfilter_ema, alpha=0.98, lamb=LAMB)
    return {
        "`grokfast_ema`": _of_optax(grokfast_ema(0.98, LAMB)),
        "`amplify(optax.ema)`": _of_optax(amplify(optax.ema(0.98), LAMB)),
        "EMA, plain PyTorch": (_of_twin(ema_filter(0.98, LAMB)), 1),
        "`pytorch_optimizer.gradfilter_ema`": (_of_library(library), 1),
    }


def _ma_cases() -> dict[str, tuple[Update, float]]:
    library = functools.partial(gradfilter_ma, window_size=WINDOW, lamb=LAMB)
    cases = {
        "`grokfast_ma`, w = 100": _of_optax(grokfast_ma(WINDOW, LAMB)),
        "MA, w = 100, plain PyTorch": (_of_twin(ma_filter(WINDOW, LAMB)), WINDOW),
        "`pytorch_optimizer.gradfilter_ma`, w = 100": (_of_library(library), WINDOW),
    }
    for update, _ in cases.values():
        _repeat(update, WINDOW)  # the window is full
    return cases


def _adam_cases() -> dict[str, tuple[Update, float]]:
    params = _torch_params()
    return {
        "`grokfast_adamw`": _of_optax(grokfast_adamw(1e-3)),
        "`pytorch_optimizer.GrokFastAdamW`": (GrokFastAdamW(params).step, 3),
    }


# Gradients of 0 throughout: filters in place would else let them grow without end.


def _of_optax(tx: optax.GradientTransformation) -> tuple[Update, float]:
    params = [jnp.zeros(SHAPE) for _ in range(LEAVES)]
    gradient = [jnp.zeros(SHAPE) for _ in range(LEAVES)]
    state = jax.jit(tx.init)(params)
    in_state, in_params = (
        sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) for tree in (state, params)
    )
    compiled = jax.jit(tx.update, donate_argnums=1)

    def update() -> Any:
        nonlocal state
        updates, state = compiled(gradient, state, params)
        return updates

    return update, in_state / in_params


def _of_twin(apply: Callable[[dict[str, torch.Tensor]], None]) -> Update:
    gradients = {str(i): torch.zeros(SHAPE) for i in range(LEAVES)}
    return lambda: apply(gradients)


def _of_library(apply: Callable[..., Any]) -> Update:
    module, memory = _torch_params(), None

    def update() -> None:
        nonlocal memory
        memory = apply(module, memory)

    return update


def _torch_params() -> torch.nn.ParameterList:
    params = [torch.nn.Parameter(torch.zeros(SHAPE)) for _ in range(LEAVES)]
    for param in params:
        param.grad = torch.zeros(SHAPE)
    return torch.nn.ParameterList(params)
