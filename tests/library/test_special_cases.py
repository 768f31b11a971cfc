"""What the paper leaves open, in one line each, and known methods as special cases."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
import scipy.signal

from grokfast_jax import (
    amplify,
    dc_gain,
    exponential_moving_average,
    frequency_response,
    grokfast_ema,
    linear_filter,
    ma_frequency_response,
    moving_average,
    sum_of,
)
from tests.support.running import run_jit, run_scan

OMEGA = np.linspace(0, np.pi, 33)
KEEPS = optax.trace(0.5)
GRADIENTS = np.random.default_rng(0).normal(size=(300, 5))


@pytest.mark.parametrize("kind", ["highpass", "bandpass", "bandstop"])
def test_any_pass_as_argument_of_amplify(kind):
    band = 0.1 if kind == "highpass" else (0.05, 0.2)
    sos = scipy.signal.butter(2, band, kind, output="sos")
    _, expected = scipy.signal.freqz_sos(sos, OMEGA)
    gains = frequency_response(amplify(linear_filter(sos=sos), 3.0), OMEGA)
    np.testing.assert_allclose(gains, 1 + 3 * expected, atol=1e-6)


def test_notch():
    b, a = scipy.signal.iirnotch(0.3, Q=5)  # in units of the Nyquist frequency
    gain = frequency_response(amplify(linear_filter(b, a), 2.0), 0.3 * np.pi)
    assert abs(gain - 1) < 1e-6  # nothing is added there
    assert dc_gain(amplify(linear_filter(b, a), 2.0)) == pytest.approx(3, rel=1e-6)


def test_sum_of_is_the_sum_of_the_responses(x64):
    slow, slower = moving_average(10), linear_filter([0.1], [1, -0.9])
    tx = sum_of((slow, 2.0), (slower, -0.5))
    expected = 2 * ma_frequency_response(10, OMEGA) - 0.05 / (
        1 - 0.9 * np.exp(-1j * OMEGA)
    )
    np.testing.assert_allclose(frequency_response(tx, OMEGA), expected, atol=1e-9)
    whole = run_scan(amplify(tx, 3.0), GRADIENTS)
    parts = [run_scan(part, GRADIENTS) for part in (slow, slower)]
    expected = GRADIENTS + 3 * (2 * parts[0] - 0.5 * parts[1])
    np.testing.assert_allclose(whole, expected, atol=1e-12)


def test_high_and_band_pass_of_averages():
    identity, ma = optax.identity(), moving_average(100)
    fast, slow = map(exponential_moving_average, (0.9, 0.99))
    for tx in (sum_of((identity, 1.0), (ma, -1.0)), sum_of((fast, 1.0), (slow, -1.0))):
        assert abs(frequency_response(tx, 0.0)) < 1e-9
        assert abs(frequency_response(tx, 0.05)) > 0.5


def test_a_small_difference_of_filters_in_16_bits():
    g = jnp.asarray(1 + 0.1 * GRADIENTS, jnp.bfloat16)
    tx = sum_of((moving_average(10), 1.0), (moving_average(11), -1.0), (KEEPS, 0.0))
    state = tx.init(g[0])
    assert state.parts[2].trace.dtype == jnp.bfloat16  # as the filter alone keeps it
    ours = run_scan(tx, g)
    parts = [run_scan(moving_average(w), np.float32(g)) for w in (10, 11)]
    expected = parts[0] - parts[1]
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(ours), expected, rtol=2**-8, atol=1e-6)


def test_weights_may_be_schedules_and_traced():
    schedule = optax.linear_schedule(0.0, 1.0, 4)
    tx = sum_of((optax.identity(), schedule), (optax.identity(), jnp.float32(1.0)))
    out = run_jit(tx, np.ones((6, 2), np.float32))
    np.testing.assert_allclose(out[:, 0], [1, 1.25, 1.5, 1.75, 2, 2])
    lanes = jax.vmap(lambda w: run_scan(sum_of((optax.trace(0.5), w)), GRADIENTS))
    one = run_scan(sum_of((optax.trace(0.5), 2.0)), GRADIENTS)
    np.testing.assert_allclose(lanes(jnp.array([1.0, 2.0]))[1], one, rtol=1e-6)


def test_sum_of_hands_extra_arguments_to_every_filter():
    def update(g, state, params=None, *, factor, **extra_args):
        return jax.tree.map(lambda a: factor * a, g), state

    scale = optax.GradientTransformationExtraArgs(lambda p: (), update)
    tx = sum_of((scale, 1.0), (optax.identity(), 1.0))
    g = {"w": jnp.ones(2), "n": jnp.arange(2), "none": None}
    out, _ = tx.update(g, tx.init(g), factor=5.0)
    np.testing.assert_array_equal(out["w"], [6.0, 6.0])
    np.testing.assert_array_equal(out["n"], [0, 1])
    assert out["none"] is None


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ((), ValueError, "at least one"),
        ((optax.identity(),), TypeError, "part 0 must be a"),
        (((optax.identity(), 1.0, 2.0),), TypeError, "part 0 must be a"),
        (((1.0, optax.identity()),), TypeError, "filter 0 must be an optax"),
        (((optax.identity(), "1"),), TypeError, "weight 0 must be a number"),
        (((optax.identity(), np.nan),), ValueError, "weight 0 must be finite, got nan"),
    ],
)
def test_sum_of_bad_arguments(parts, error, message):
    with pytest.raises(error, match=message):
        sum_of(*parts)


def test_scheduled_alpha(x64):
    alphas = np.linspace(0.5, 0.99, 300)
    tx = exponential_moving_average(optax.linear_schedule(0.5, 0.99, 299), init="zero")
    m, expected = 0.0, []
    for alpha, g in zip(alphas, GRADIENTS, strict=True):
        m = alpha * m + (1 - alpha) * g
        expected.append(m)
    # Optax computes schedules in float32.
    np.testing.assert_allclose(run_scan(tx, GRADIENTS), expected, atol=1e-6)


@pytest.mark.parametrize("nu", [0.3, 0.7, 0.95])
def test_quasi_hyperbolic_momentum(nu, x64):
    """Ma and Yarats, arXiv 1810.06801: θ ← θ − η((1−ν) g + ν m), m from zero."""
    beta, learning_rate = 0.9, 0.1
    m, expected = 0.0, []
    for g in GRADIENTS:
        m = beta * m + (1 - beta) * g
        expected.append(-learning_rate * ((1 - nu) * g + nu * m))
    lamb = nu / (1 - nu)
    with_gain_one = optax.chain(
        grokfast_ema(beta, lamb, init="zero", normalize=True), optax.sgd(learning_rate)
    )
    other_rate = optax.chain(
        grokfast_ema(beta, lamb, init="zero"), optax.sgd(learning_rate * (1 - nu))
    )
    for tx in (with_gain_one, other_rate):
        np.testing.assert_allclose(run_scan(tx, GRADIENTS), expected, atol=1e-14)


@pytest.mark.parametrize("order", [1, 2])
def test_fixed_gain_kalman_filter(order, x64):
    """State x ← F x + noise, g = C x + noise, with the steady gain K.

    Order 1, a random walk, is the exponential moving average with α = 1 − K; order 2,
    a random walk with a random slope, a second-order difference equation.
    """
    if order == 1:
        f, q = np.eye(1), np.array([[0.01]])
    else:
        f, q = np.array([[1.0, 1.0], [0.0, 1.0]]), np.diag([0.01, 1e-4])
    c, r = np.eye(order)[:1], np.eye(1)
    covariance = scipy.linalg.solve_discrete_are(f.T, c.T, q, r)
    gain = covariance @ c.T / (c @ covariance @ c.T + r)
    state, expected = np.zeros((order, 5)), []
    for g in GRADIENTS:
        predicted = f @ state
        state = predicted + gain * (g - c @ predicted)
        expected.append(state[0])

    closed_loop = f - gain @ c @ f
    b, a = scipy.signal.ss2tf(closed_loop, closed_loop @ gain, c, c @ gain)
    tx = linear_filter(b[0], a)
    np.testing.assert_allclose(run_scan(tx, GRADIENTS), expected, atol=1e-10)
    if order == 1:
        ema = exponential_moving_average(1 - float(gain[0, 0]), init="zero")
        np.testing.assert_allclose(run_scan(ema, GRADIENTS), expected, atol=1e-12)
