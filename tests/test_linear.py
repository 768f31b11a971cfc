"""``linear_filter`` against ``scipy.signal``."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.signal

from grokfast_jax import (
    amplify,
    exponential_moving_average,
    linear_filter,
    moving_average,
)
from tests.running import run_eager, run_scan

rng = np.random.default_rng(0)
ema_from_zero = functools.partial(exponential_moving_average, init="zero")


def random_filter(order, radius):
    """Random zeros, and poles inside of a circle."""
    pairs = radius * rng.uniform(0.2, 1, order // 2)
    angles = rng.uniform(0, np.pi, order // 2)
    poles = np.concatenate([pairs * np.exp(1j * angles), pairs * np.exp(-1j * angles)])
    if order % 2:
        poles = np.append(poles, radius * rng.uniform(-1, 1))
    return rng.normal(size=order + 1), np.real(np.poly(poles))


def signal(dtype, steps=300):
    return rng.normal(size=(steps, 3)).astype(dtype)


def relative_error(ours, expected):
    return np.abs(np.asarray(ours) - expected).max() / np.abs(expected).max()


CASES = {
    "gain": ([2.0], [1.0]),
    "fir": ([0.5, 0.0, -1.0, 0.25], [1.0]),
    "one pole": ([0.1], [1.0, -0.9]),
    "a0 not 1": ([0.3, 0.2], [2.0, -1.0, 0.5]),
    "more poles than zeros": ([1.0], [1.0, -0.5, 0.25, -0.1]),
    **{f"order {n}": random_filter(n, 0.95) for n in (1, 2, 3, 4)},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("run", [run_eager, run_scan])
def test_equals_lfilter_in_float64(name, run):
    b, a = CASES[name]
    with jax.enable_x64(True):
        g = signal(np.float64)
        expected = scipy.signal.lfilter(b, a, g, axis=0)
        assert relative_error(run(linear_filter(b, a), g), expected) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_equals_lfilter_in_float32(name):
    b, a = CASES[name]
    g = signal(np.float32)
    expected = scipy.signal.lfilter(b, a, g.astype(np.float64), axis=0)
    assert relative_error(run_scan(linear_filter(b, a), g), expected) < 1e-5


@pytest.mark.parametrize("kind", ["lowpass", "highpass"])
@pytest.mark.parametrize(
    ("order", "cutoff"),
    [(1, 1e-4), (2, 0.01), (2, 1e-4), (4, 0.006), (4, 1e-3), (6, 0.05), (4, 0.9)],
)
def test_sections_of_butterworth_filters(order, cutoff, kind):
    sos = scipy.signal.butter(order, cutoff, kind, output="sos")
    g = 1 + signal(np.float32, 30_000)
    expected = scipy.signal.sosfilt(sos, g.astype(np.float64), axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = run_scan(linear_filter(sos=sos), g)
    assert relative_error(ours, expected) < 1e-5
    with jax.enable_x64(True):
        ours = run_scan(linear_filter(sos=sos), g.astype(np.float64))
        # SciPy's own coefficients around 0 are what limits the slowest of them.
        assert relative_error(ours, expected) < 1e-10


def test_warns_where_float32_moves_a_pole():
    b, a = scipy.signal.butter(4, 0.006)
    tx = linear_filter(b, a)
    with pytest.warns(UserWarning, match="float32 moves a pole by .*sos="):
        state = tx.init(jnp.zeros(2))
    # The warning is right: the result is far off.
    g = np.ones((2000, 1), np.float32)
    expected = scipy.signal.lfilter(b, a, g.astype(np.float64), axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert relative_error(run_scan(tx, g), expected) > 0.01
    assert len(state.delays[0]) == 4


@pytest.mark.parametrize(
    ("filter", "other"),
    [
        (linear_filter([0.1], [1, -0.9]), ema_from_zero(0.9)),
        (linear_filter(np.full(7, 1 / 7)), moving_average(7)),
        (linear_filter([1.0], [1, -0.9]), optax.trace(0.9)),
        (linear_filter([1.9, -0.9], [1, -0.9]), optax.trace(0.9, nesterov=True)),
        (linear_filter([0.1], [1, -0.9]), optax.ema(0.9, debias=False)),
    ],
)
def test_known_filters_are_special_cases(filter, other):
    g = signal(np.float32)
    np.testing.assert_allclose(
        run_scan(filter, g), run_scan(other, g), rtol=2e-5, atol=1e-5
    )


def test_state_is_one_copy_an_order():
    params = {"w": jnp.zeros((4, 2), jnp.bfloat16), "n": jnp.zeros(3, jnp.int32)}
    state = linear_filter([1, 0, 0, 1], [1, 0.5]).init(params)
    leaves = jax.tree.leaves(state)
    assert [leaf.shape for leaf in leaves] == [(4, 2)] * 3
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
    sos = scipy.signal.butter(5, 0.3, output="sos")
    assert len(jax.tree.leaves(linear_filter(sos=sos).init(jnp.zeros(2)))) == 6


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.complex64])
def test_other_dtypes_and_leaves(dtype):
    g = {"a": jnp.full((5, 2), 1.5, dtype), "n": jnp.ones((5, 2), jnp.int32), "o": None}
    tx = amplify(linear_filter([0.5, 0.5]), 2.0)
    out = run_scan(tx, g)
    assert out["a"].dtype == dtype
    np.testing.assert_allclose(np.asarray(out["a"], complex)[:, 0], [3, *[4.5] * 4])
    np.testing.assert_array_equal(out["n"], g["n"])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: linear_filter(), ValueError, "either b"),
        (lambda: linear_filter([1], sos=np.ones((1, 6))), ValueError, "either b"),
        (lambda: linear_filter([]), ValueError, "b must have 1 dimension"),
        (lambda: linear_filter([[1]]), ValueError, "b must have 1 dimension"),
        (lambda: linear_filter([1], [0, 1]), ValueError, "must not be 0"),
        (lambda: linear_filter([np.nan]), ValueError, "b must be finite"),
        (lambda: linear_filter([1j]), TypeError, "b must be real numbers"),
        (lambda: linear_filter(["x"]), TypeError, "b must be real numbers"),
        (lambda: linear_filter(sos=np.ones((2, 5))), ValueError, r"\[sections, 6\]"),
        (lambda: linear_filter([1], [1, -1.25]), ValueError, "radius is 1.25"),
        (lambda: linear_filter([1], [1, -1]), ValueError, "radius is 1,"),
        (lambda: linear_filter([1], allow_unstable=1), TypeError, "allow_unstable"),
        (lambda: jax.jit(lambda b: linear_filter(b))(jnp.ones(2)), TypeError, "traced"),
        (lambda: linear_filter(a=[1, 0.5], sos=np.ones((1, 6))), ValueError, "no a "),
        (lambda: linear_filter(np.ones((1, 6))), ValueError, "the argument sos"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_unstable_on_request():
    tx = linear_filter([1], [1, -1], allow_unstable=True)  # a running sum
    g = np.ones((10, 1), np.float32)
    np.testing.assert_array_equal(run_scan(tx, g)[:, 0], np.arange(1, 11))
