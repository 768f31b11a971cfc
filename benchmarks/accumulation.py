"""The price of ``optax.MultiSteps`` around a filter: it selects the whole state."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from benchmarks import timing
from grokfast_jax import grokfast_ema, grokfast_ma

PARAMETERS, MICRO_STEPS, EVERY = 424_000, 20, 4
FILTERS = {"EMA": grokfast_ema(), "MA, w = 10": grokfast_ma(10), "MA": grokfast_ma(100)}


def main(rounds: int) -> None:
    """Time each filter alone and inside ``MultiSteps``, in one scan each."""
    cases = {}
    for name, tx in FILTERS.items():
        cases[name] = _updates(tx)
        cases[f"{name}, MultiSteps"] = _updates(
            optax.MultiSteps(tx, EVERY).gradient_transformation()
        )
    times = timing.in_turn(cases, rounds)
    rows = [
        [
            name,
            *timing.milliseconds(times[name], MICRO_STEPS),
            timing.ratio(times[name], times[name.removesuffix(", MultiSteps")]),
        ]
        for name in cases
    ]
    timing.report(
        "accumulation",
        f"A micro-step, {PARAMETERS:,} parameters, an update every {EVERY} of them; "
        "MA: w = 100",
        ("case", "median ms", "range", "÷ filter alone"),
        rows,
    )


def _updates(tx: optax.GradientTransformation) -> Callable[[], None]:
    params = jnp.ones(PARAMETERS)

    @functools.partial(jax.jit, donate_argnums=0)
    def chunk(state):
        def step(state, g):
            update, state = tx.update(jnp.full_like(params, g), state, params)
            return state, update[0]

        return jax.lax.scan(step, state, jnp.arange(float(MICRO_STEPS)))

    state = jax.tree.map(jnp.array, tx.init(params))  # a buffer each, to be donated

    def run() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(chunk(state))

    return run
