"""Properties that hold for all inputs, tried on random ones."""

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import numpy as np
import optax
import pytest

from grokfast_jax import (
    exponential_moving_average,
    grokfast_ema,
    grokfast_ma,
    is_linear,
    is_time_invariant,
    linear_filter,
    moving_average,
)
from tests.support import twin
from tests.support.running import run_scan
from tests.support.table import ROWS

STEPS = 24
finite = st.floats(-1e3, 1e3, allow_subnormal=False)
signals = hypothesis.extra.numpy.arrays(np.float64, (STEPS, 2), elements=finite)
alphas = st.floats(0.0, 0.999)
lambs = st.floats(0.0, 10.0)
few = hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
linear = pytest.mark.parametrize(
    "row", [pytest.param(r, id=n) for n, r in ROWS.items() if r.linear and r.any_names]
)
invariant = pytest.mark.parametrize(
    "row",
    [pytest.param(r, id=n) for n, r in ROWS.items() if r.linear and r.time_invariant],
)


def compiled(tx):
    """Outputs for a sequence of gradients, in float64, compiled once."""
    scan = jax.jit(lambda g: run_scan(tx, g))

    def run(g):
        with jax.enable_x64(True):
            return np.asarray(scan(jax.numpy.asarray(g)))

    return run


def size_of(*signals):
    return 1e-6 + max(np.abs(g).max() for g in signals)


def tolerance_of(row):
    return 1e-4 if "accumulator_dtype" in row.static else 1e-9


@linear
def test_superposition(row):
    run, tolerance = compiled(row.make()), tolerance_of(row)

    @few
    @hypothesis.given(signals, signals, finite, finite)
    def check(x, y, a, b):
        expected = a * run(x) + b * run(y)
        error = np.abs(run(a * x + b * y) - expected).max()
        assert error <= tolerance * size_of(a * x, b * y)

    check()


@invariant
def test_time_invariance(row):
    run, tolerance = compiled(row.make()), tolerance_of(row)

    @few
    @hypothesis.given(signals, st.integers(1, STEPS - 1))
    def check(x, delay):
        delayed = np.concatenate([np.zeros((delay, 2)), x])[:STEPS]
        out = run(delayed)
        assert np.abs(out[:delay]).max() == 0
        expected = run(x)[: STEPS - delay]
        assert np.abs(out[delay:] - expected).max() <= tolerance * size_of(x)

    check()


@pytest.mark.thorough
@pytest.mark.parametrize("name", [n for n, r in ROWS.items() if not r.searches])
def test_the_table_tells_the_truth(name):
    row = ROWS[name]
    tx = row.make() if row.any_names else _on_a_tree(row.make())
    assert bool(is_linear(tx, 16)) == row.linear
    assert bool(is_time_invariant(tx, 16)) == row.time_invariant


def _on_a_tree(tx):
    """Of the one parameter, as "w" and as "b", the sum of both outputs."""

    def both(leaf):
        return {"w": leaf, "b": 2 * leaf}

    def update(g, state, params):
        out, state = tx.update(both(g), state, both(params))
        return out["w"] + out["b"], state

    return optax.GradientTransformation(lambda params: tx.init(both(params)), update)


@few
@hypothesis.given(
    signals,
    alphas,
    lambs,
    st.sampled_from(["zero", "first_gradient"]),
    st.integers(0, STEPS),
    st.booleans(),
)
def test_grokfast_ema_equals_its_twin(g, alpha, lamb, init, start_step, normalize):
    options = {"init": init, "start_step": start_step, "normalize": normalize}
    with jax.enable_x64(True):
        out = run_scan(grokfast_ema(alpha, lamb, **options), g)
    expected = twin.grokfast_ema(g, alpha, lamb, **options)
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9 * size_of(g))


@few
@hypothesis.given(
    signals,
    st.integers(1, 30),
    lambs,
    st.sampled_from(["mean", "sum"]),
    st.booleans(),
    st.integers(0, STEPS),
    st.booleans(),
)
def test_grokfast_ma_equals_its_twin(g, w, lamb, kind, warmup, start_step, normalize):
    options = {
        "filter_type": kind,
        "warmup": warmup,
        "start_step": start_step,
        "normalize": normalize,
    }
    with jax.enable_x64(True):
        out = run_scan(grokfast_ma(w, lamb, **options), g)
    expected = twin.grokfast_ma(g, w, lamb, **options)
    size = size_of(g) * (w if kind == "sum" else 1)
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9 * size)


@few
@hypothesis.given(signals, lambs)
def test_window_of_one_and_alpha_of_zero_scale(g, lamb):
    with jax.enable_x64(True):
        for tx in (grokfast_ma(1, lamb), grokfast_ema(0.0, lamb)):
            # XLA's CPU flushes what is below the smallest normal number to zero.
            np.testing.assert_allclose(
                run_scan(tx, g), (1 + lamb) * g, rtol=1e-12, atol=1e-300
            )


@few
@hypothesis.given(signals, alphas, st.integers(1, 30))
def test_gain_of_zero_is_the_gradient_bit_for_bit(g, alpha, w):
    with jax.enable_x64(True):
        for tx in (grokfast_ema(alpha, 0.0), grokfast_ma(w, 0.0)):
            np.testing.assert_array_equal(run_scan(tx, g), g)


@pytest.mark.thorough
@few
@hypothesis.given(signals, alphas, st.integers(1, 30))
def test_averages_stay_within_the_gradients_seen(g, alpha, w):
    with jax.enable_x64(True):
        for tx in (
            exponential_moving_average(alpha),
            moving_average(w, start="partial"),
        ):
            out, slack = np.asarray(run_scan(tx, g)), 1e-9 * size_of(g)
            assert (out <= np.maximum.accumulate(g) + slack).all()
            assert (out >= np.minimum.accumulate(g) - slack).all()


@pytest.mark.thorough
@few
@hypothesis.given(signals, st.floats(0.0, 0.99))
def test_filters_in_a_chain_commute(g, alpha):
    ema = exponential_moving_average(alpha, init="zero")
    others = (moving_average(5), linear_filter([1.0, -0.5], [1.0, 0.3]))
    with jax.enable_x64(True):
        for other in others:
            np.testing.assert_allclose(
                run_scan(optax.chain(ema, other), g),
                run_scan(optax.chain(other, ema), g),
                rtol=1e-9,
                atol=1e-9 * size_of(g),
            )
