"""Measured responses against closed forms, SciPy and each other."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.signal

from grokfast_jax import (
    dc_gain,
    ema_frequency_response,
    exponential_moving_average,
    frequency_response,
    grokfast_ema,
    grokfast_ma,
    half_life,
    impulse_response,
    linear_filter,
    ma_frequency_response,
    moving_average,
)

OMEGA = np.linspace(0, np.pi, 34)


@pytest.mark.thorough
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9, 0.98, 0.999])
@pytest.mark.parametrize("init", ["zero", "first_gradient"])
def test_exponential_moving_average(alpha, init):
    tx = exponential_moving_average(alpha, init=init)
    expected = (1 - alpha) * alpha ** np.arange(200)
    np.testing.assert_allclose(impulse_response(tx, 200), expected, atol=1e-14)
    gains = frequency_response(grokfast_ema(alpha, 2.0, init=init), OMEGA)
    closed = 1 + 2 * ema_frequency_response(alpha, OMEGA)
    np.testing.assert_allclose(gains, closed, rtol=1e-6)
    if alpha:
        assert half_life(tx) == pytest.approx(np.log(0.5) / np.log(alpha), abs=0.2)


@pytest.mark.thorough
@pytest.mark.parametrize("w", [1, 2, 7, 100, 5000])
def test_moving_average(w):
    expected = np.where(np.arange(2 * w) < w, 1 / w, 0)
    response = impulse_response(moving_average(w), 2 * w)
    np.testing.assert_allclose(response, expected, atol=1e-14)
    # The warm-up is over when the impulse comes.
    gains = frequency_response(grokfast_ma(w, 5.0), OMEGA)
    closed = 1 + 5 * ma_frequency_response(w, OMEGA)
    np.testing.assert_allclose(gains, closed, rtol=1e-6)
    sums = np.exp(-1j * np.outer(OMEGA, np.arange(w))).sum(axis=1) / w
    np.testing.assert_allclose(closed, 1 + 5 * sums, rtol=1e-12)
    assert half_life(moving_average(w)) == pytest.approx(w / 2, abs=1e-3)


def test_closed_forms_have_the_period_of_all_sampled_signals():
    omega = np.array([[-3.0, 0.0, 1e-9], [0.2, np.pi, 3.1]])
    for closed in (
        lambda o: ema_frequency_response(0.9, o),
        lambda o: ma_frequency_response(100, o),
    ):
        assert closed(omega).shape == omega.shape
        for period in (2 * np.pi, -4 * np.pi):
            np.testing.assert_allclose(
                closed(omega + period), closed(omega), atol=1e-12
            )


@pytest.mark.parametrize("alpha", [1.5, jnp.float32(1.5), np.nan])
def test_closed_form_outside_its_range(alpha):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\)"):
        ema_frequency_response(alpha, 0.0)


@pytest.mark.parametrize("omega", [jnp.bfloat16(0.5), jnp.float32(0.5), 0.5, [0.5]])
def test_numbers_of_any_kind(omega):
    expected = frequency_response(moving_average(2), 0.5)
    np.testing.assert_allclose(ma_frequency_response(2, omega), expected)
    assert frequency_response(moving_average(2), omega).dtype == np.complex128
    kernel = jnp.array([0.5, 0.5], jnp.bfloat16)
    np.testing.assert_allclose(frequency_response(linear_filter(kernel), 0.5), expected)


def test_traced_numbers_are_named():
    for name, call in {
        "omega": lambda x: ma_frequency_response(2, x),
        "alpha": lambda x: ema_frequency_response(x, 0.0),
        "b": linear_filter,
    }.items():
        with pytest.raises(TypeError, match=f"^{name} must be concrete"):
            jax.jit(call)(jnp.float32(0.5))


def test_what_is_no_transformation():
    with pytest.raises(TypeError, match=r"tx must be an optax\.Grad.* got 3"):
        dc_gain(3)


def test_settling():
    first = impulse_response(grokfast_ema(0.9, 2.0), 3, settle=0)
    np.testing.assert_allclose(first, [3, 1.8, 1.62], rtol=1e-5)  # starts from it
    late = impulse_response(grokfast_ema(0.9, 2.0), 3, settle=1)
    np.testing.assert_allclose(late, [1.2, 0.18, 0.162], rtol=1e-5)


@pytest.mark.parametrize(
    ("tx", "gain"),
    [
        (optax.trace(0.9), 10),
        (optax.trace(0.9, nesterov=True), 10),
        (optax.ema(0.9, debias=False), 1),
        (optax.sgd(0.1), -0.1),
        (optax.chain(grokfast_ema(0.98, 2.0), optax.trace(0.5)), 6),
        (grokfast_ma(10, 3.0), 4),
    ],
)
def test_dc_gain(tx, gain):
    assert dc_gain(tx) == pytest.approx(gain, rel=1e-5)


def test_slow_filters_are_measured_to_their_end():
    slow = exponential_moving_average(1 - 3e-4)
    assert dc_gain(slow) == pytest.approx(1, rel=2e-6)
    # The slowest: 2,097,152 updates.
    assert dc_gain(exponential_moving_average(0.99998)) == pytest.approx(1, rel=2e-6)
    assert dc_gain(grokfast_ma(40_000, 5.0)) == pytest.approx(6)  # late to start


@pytest.mark.thorough
@pytest.mark.parametrize(
    "tx",
    [
        optax.adam(1e-3),  # answers with the sign alone
        optax.clip(1.5),
        optax.MultiSteps(optax.sgd(1.0), 3).gradient_transformation(),
        optax.MultiSteps(optax.sgd(1.0), 5).gradient_transformation(),
    ],
)
def test_what_has_no_one_response_is_refused(tx):
    for measure in (dc_gain, half_life, lambda tx: frequency_response(tx, 0.0)):
        with pytest.raises(
            ValueError, match=r"after 1,153,305 updates .* has no one response"
        ):
            measure(tx)


def test_slow_filters_scaled_down():
    slow = exponential_moving_average(1 - 3e-4)
    small = optax.chain(slow, optax.scale(1e-5))
    assert dc_gain(small) == pytest.approx(1e-5, rel=2e-6)


@pytest.mark.parametrize("gain", [1.0, 20.0, -0.1])
def test_half_life_does_not_depend_on_the_gain(gain):
    decay = np.log(0.5) / np.log(0.9)
    tx = optax.chain(exponential_moving_average(0.9), optax.scale(gain))
    assert half_life(tx) == pytest.approx(decay, abs=0.2)
    assert half_life(tx) == pytest.approx(half_life(exponential_moving_average(0.9)))


def test_growing_responses_are_refused():
    growing = linear_filter([1.0], [1.0, -1.1], allow_unstable=True)
    with pytest.raises(ValueError, match="not finite: the transformation is unstable"):
        dc_gain(growing)


def test_half_life_is_the_first_time():
    assert half_life(linear_filter([0.5, 0.0, 0.5])) == 1


def test_many_frequencies_are_as_good_as_few():
    """More than are transformed at once, and a part of them; and none."""
    tx, omega = exponential_moving_average(0.98), np.linspace(-np.pi, np.pi, 151)
    gains = frequency_response(tx, omega)
    np.testing.assert_allclose(gains, ema_frequency_response(0.98, omega), rtol=1e-6)
    assert frequency_response(tx, np.zeros((0, 2))).shape == (0, 2)


def test_memory_does_not_grow_with_the_frequencies(monkeypatch):
    response, peaks = np.ones(1 << 21) / (1 << 21), []
    monkeypatch.setattr("grokfast_jax._response._whole_response", lambda tx: response)
    for count in (64, 640):
        tracemalloc.start()
        frequency_response(optax.identity(), np.linspace(0, np.pi, count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_any_filter_of_scipy():
    b, a = scipy.signal.butter(2, 0.1)
    _, expected = scipy.signal.freqz(b, a, OMEGA)
    gains = frequency_response(linear_filter(b, a), OMEGA)
    np.testing.assert_allclose(gains, expected, atol=1e-7)
    assert frequency_response(linear_filter(b, a), 0.3).shape == ()


def test_what_does_not_die_out_or_has_no_gain():
    running_sum = linear_filter([1], [1, -1], allow_unstable=True)
    for measure in (dc_gain, half_life, lambda tx: frequency_response(tx, 0.0)):
        with pytest.raises(ValueError, match="not died out after 2,097,152 updates"):
            measure(running_sum)
    for nothing in (
        linear_filter([1, -1]),
        linear_filter([1e6, 0.1 - 1e6]),
        optax.set_to_zero(),
    ):
        with pytest.raises(ValueError, match="DC gain of 0"):
            half_life(nothing)
    assert dc_gain(optax.set_to_zero()) == 0


@pytest.mark.parametrize(
    ("n", "settle", "error", "message"),
    [
        (0, None, ValueError, "n must be an integer ≥ 1, got 0"),
        (1.5, None, TypeError, "n must be an integer ≥ 1, got 1.5"),
        (3, -1, ValueError, "settle must be an integer ≥ 0, got -1"),
    ],
)
def test_bad_arguments(n, settle, error, message):
    with pytest.raises(error, match=message):
        impulse_response(optax.identity(), n, settle=settle)
