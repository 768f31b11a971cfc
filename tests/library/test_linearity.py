"""Verdicts on transformations whose answer is known, and their counterexamples."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokfast_jax import (
    amplify,
    exponential_moving_average,
    grokfast_adamw,
    grokfast_ema,
    grokfast_ma,
    is_linear,
    is_time_invariant,
    linear_filter,
    moving_average,
    skip_non_finite,
    sum_of,
)
from tests.support.running import run_scan

# name: (transformation, is it linear, is it time-invariant)
KNOWN = {
    "identity": (optax.identity(), True, True),
    "sgd with momentum": (optax.sgd(0.1, momentum=0.9), True, True),
    "nesterov": (optax.sgd(0.1, momentum=0.9, nesterov=True), True, True),
    "optax.ema": (optax.ema(0.9, debias=False), True, True),
    "debiased optax.ema": (optax.ema(0.9, debias=True), True, False),
    "ema, zero": (exponential_moving_average(0.9, init="zero"), True, True),
    "ema, first gradient": (exponential_moving_average(0.9), True, False),
    "float32 average": (
        grokfast_ema(0.9, init="zero", accumulator_dtype=jnp.float32),
        True,
        True,
    ),
    "ma": (moving_average(5), True, True),
    "ma, partial": (moving_average(5, start="partial"), True, False),
    "grokfast_ma": (grokfast_ma(5), True, False),
    "grokfast_ma, no warm-up": (
        grokfast_ma(5, filter_type="sum", warmup=False),
        True,
        True,
    ),
    "start step": (amplify(optax.trace(0.5), 1.0, start_step=3), True, False),
    "linear filter": (linear_filter([1, 2], [1, -0.5]), True, True),
    "sum": (sum_of((moving_average(3), 1.0), (optax.trace(0.5), -2.0)), True, True),
    "scheduled weight": (
        sum_of((moving_average(3), optax.linear_schedule(0, 1, 100))),
        True,
        False,
    ),
    "schedule": (optax.scale_by_schedule(lambda t: 0.999**t), True, False),
    "centralized": (optax.centralize(), True, True),
    "guarded": (skip_non_finite(optax.trace(0.9)), True, True),
    "clip": (optax.clip(1.0), False, True),
    "clip, high": (optax.clip(500.0), False, True),
    "clip, low": (optax.clip(5e-3), False, True),
    "global norm": (optax.clip_by_global_norm(1.0), False, True),
    "sign": (optax.scale_by_sign(), False, True),
    "decay": (optax.add_decayed_weights(1e-4), False, True),
    "adam": (optax.scale_by_adam(), False, False),
    "grokfast_adamw": (grokfast_adamw(1e-3), False, False),
    "noise": (optax.add_noise(0.1, 0.5, 0), False, False),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", KNOWN)
def test_linear(name):
    tx, expected, _ = KNOWN[name]
    verdict = is_linear(tx, 64)
    assert bool(verdict) == verdict.holds == expected
    if expected:
        assert verdict.error < 1e-6
        assert verdict.counterexample is None
        return
    assert verdict.error > 1e-5 or np.isnan(verdict.error)
    with jax.enable_x64(True):  # the counterexample is one
        x, y = verdict.counterexample
        tx = with_params_of_one(tx)
        of_x, of_y, of_sum = (run_scan(tx, g) for g in (x, y, x + y))
    assert not np.allclose(of_x + of_y, of_sum, rtol=1e-6, atol=1e-6 * abs(of_x).max())


@pytest.mark.thorough
@pytest.mark.parametrize("name", KNOWN)
def test_time_invariant(name):
    tx, _, expected = KNOWN[name]
    verdict = is_time_invariant(tx, 64)
    assert bool(verdict) == verdict.holds == expected
    if expected:
        assert verdict.error < 1e-6
        assert verdict.counterexample is None
        return
    with jax.enable_x64(True):
        x, delay = verdict.counterexample
        delayed = np.concatenate([np.zeros((delay, 2, 2)), x])
        tx = with_params_of_one(tx)
        now, later = run_scan(tx, x), run_scan(tx, delayed)[delay:]
    assert not np.allclose(later, now, rtol=1e-6, atol=1e-6 * abs(now).max())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_linear(value):
    tx = optax.scale(value)
    assert not is_linear(tx, 8)
    assert not is_time_invariant(tx, 8)


def test_longer_sequences_see_more():
    late = amplify(optax.trace(0.5), 1.0, start_step=500)
    assert is_time_invariant(late, 100)
    assert not is_time_invariant(late)


@pytest.mark.parametrize("ask", [is_linear, is_time_invariant])
def test_bad_length(ask):
    with pytest.raises(ValueError, match="n must be an integer ≥ 1, got 0"):
        ask(optax.identity(), 0)
    with pytest.raises(TypeError, match=r"tx must be an optax\.Grad.* got 3"):
        ask(3)


def test_verdicts_are_short_and_go_into_sets():
    no = is_linear(optax.clip(1.0))
    assert repr(no).startswith("Verdict(holds=False, error=")
    assert len(repr(no)) < 80
    assert no in {no, is_linear(optax.clip(1.0))}


def with_params_of_one(tx):
    def update(g, state):
        return optax.with_extra_args_support(tx).update(g, state, jnp.ones((2, 2)))

    return optax.GradientTransformation(tx.init, update)
