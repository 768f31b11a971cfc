"""Bad arguments raise at construction and name argument, value and range."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokfast_jax import (
    amplify,
    dc_gain,
    ema_frequency_response,
    exponential_moving_average,
    frequency_response,
    grokfast_adam,
    grokfast_adamw,
    grokfast_ema,
    grokfast_ma,
    linear_filter,
    ma_frequency_response,
    moving_average,
    sum_of,
)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grokfast_ema(alpha=1.0), ValueError, r"alpha .*\[0, 1\).* 1\.0"),
        (lambda: grokfast_ema(alpha=-0.1), ValueError, r"alpha .*\[0, 1\).* -0\.1"),
        (lambda: grokfast_ema(alpha=np.nan), ValueError, r"alpha .*\[0, 1\).* nan"),
        (lambda: grokfast_ema(alpha=np.float32(2)), ValueError, r"alpha .*2\.0"),
        (lambda: grokfast_ema(alpha=np.array(2.0)), ValueError, r"alpha .*2\."),
        (lambda: grokfast_ema(alpha="0.9"), TypeError, r"alpha .*'0\.9'"),
        (lambda: grokfast_ema(alpha=True), TypeError, r"alpha .*True"),
        (lambda: grokfast_ema(alpha=None), TypeError, r"alpha .*None"),
        (lambda: grokfast_ema(alpha=np.ones(2)), ValueError, r"alpha .*\(2,\)"),
        (lambda: grokfast_ema(alpha=jnp.ones(2)), ValueError, r"alpha .*\(2,\)"),
        (lambda: grokfast_ema(lamb=-1), ValueError, r"lamb .*\[0, inf\).* -1"),
        (lambda: grokfast_ema(lamb=np.inf), ValueError, r"lamb .*\[0, inf\).* inf"),
        (lambda: grokfast_ma(lamb=-1), ValueError, r"lamb .*\[0, inf\).* -1"),
        (lambda: grokfast_ma(lamb="a", filter_type="sum"), TypeError, r"lamb .*'a'"),
        (lambda: grokfast_ema(init="ones"), ValueError, "init .*'zero'.* 'ones'"),
        (lambda: grokfast_ema(start_step=-1), ValueError, r"start_step .*\[0, .* -1"),
        (lambda: grokfast_ma(start_step=-1), ValueError, r"start_step .*\[0, .* -1"),
        (lambda: grokfast_ema(start_step=1.5), TypeError, r"start_step .*1\.5"),
        (
            lambda: grokfast_ema(start_step=jnp.ones(())),
            TypeError,
            "start_step .*float",
        ),
        (lambda: grokfast_ema(normalize=1), TypeError, "normalize .*True or False"),
        (lambda: grokfast_ema(accumulator_dtype=int), TypeError, "accumulator_dtype"),
        (
            lambda: moving_average(4, accumulator_dtype="x"),
            TypeError,
            "accumulator_dty",
        ),
        (lambda: grokfast_ema(start_step=2**31), ValueError, r"start_step .*\[0, "),
        (lambda: grokfast_ma(0), ValueError, "window_size .*≥ 1.* 0"),
        (lambda: grokfast_ma(2.0), TypeError, r"window_size .*≥ 1.* 2\.0"),
        (lambda: grokfast_ma(True), TypeError, "window_size .*True"),
        (lambda: grokfast_ma(filter_type="max"), ValueError, "filter_type .*'max'"),
        (lambda: grokfast_ma(warmup="no"), TypeError, "warmup .*'no'"),
        (lambda: moving_average(3, start="now"), ValueError, "start .*'now'"),
        (lambda: amplify(lambda g: g, 2.0), TypeError, "low_pass .*Transformation"),
        (lambda: grokfast_ema(jnp.float32(2)), ValueError, r"alpha .*\[0, 1\).*2\."),
        (lambda: grokfast_ema(lamb=jnp.array(-1)), ValueError, r"lamb .*\[0, inf\)"),
        (
            lambda: grokfast_ema(start_step=jnp.array(-1)),
            ValueError,
            "start_step .* -?",
        ),
        (lambda: grokfast_ma(10**12), ValueError, r"window_size .*\[1, 2³¹ − 1\)"),
        (
            lambda: ema_frequency_response(lambda t: 0.9, 0),
            TypeError,
            "alpha .* number,",
        ),
        (
            lambda: ema_frequency_response("a", 0),
            TypeError,
            "alpha .* a number, got 'a'",
        ),
        (lambda: frequency_response(grokfast_ema(), None), TypeError, "omega .*None"),
        (lambda: ma_frequency_response(2, np.nan), ValueError, "omega .*nan"),
        (lambda: grokfast_adamw("1e-3"), TypeError, "learning_rate .*'1e-3'"),
        (lambda: grokfast_adam(None), TypeError, "learning_rate .*None"),
        (lambda: grokfast_adamw(np.nan), ValueError, "learning_rate .*nan"),
        (lambda: grokfast_adamw(1e-3, b1="a"), TypeError, "b1 .*'a'"),
        (lambda: grokfast_adam(1e-3, b2=1.0), ValueError, r"b2 .*\[0, 1\).* 1\.0"),
        (lambda: grokfast_adam(1e-3, eps=-1), ValueError, "eps .* -1"),
        (lambda: grokfast_adam(1e-3, mu_dtype=int), TypeError, "mu_dtype .*int"),
        (
            lambda: grokfast_adam(1e-3, nesterov=1),
            TypeError,
            "nesterov .*True or False",
        ),
        (lambda: grokfast_ema(lam=1), TypeError, "'lam': did you mean lamb"),
        (lambda: grokfast_ema(decay=0.9), TypeError, "did you mean alpha"),
        (lambda: grokfast_adam(lr=1e-3), TypeError, "did you mean learning_rate"),
        (lambda: grokfast_adam(1, weight_decay=1), TypeError, "did you mean l2"),
        (lambda: grokfast_adam(1, betas=(0.9, 0.99)), TypeError, "did you mean b1"),
        (lambda: moving_average(w=3), TypeError, "did you mean window_size"),
        (lambda: ma_frequency_response(window=3), TypeError, "mean window_size"),
        (lambda: ema_frequency_response(0.9, w=3), TypeError, "did you mean omega"),
        (lambda: dc_gain(q=3), TypeError, r"'q'\. Its arguments: tx"),
        (lambda: sum_of(weights=3), TypeError, r"'weights'\. It has none"),
        (lambda: grokfast_ema(10**400), ValueError, r"alpha must be in \[0, 1\)"),
        (
            lambda: grokfast_ema(accumulator_dtype=jnp.complex64),
            TypeError,
            "accumulator_dtype must be None or a floating-point dtype",
        ),
        (lambda: grokfast_adamw(1, mu_dtype="float64"), ValueError, "jax_enable_x64"),
        (lambda: grokfast_adamw(1, mask="yes"), TypeError, "mask must be .*'yes'"),
        (lambda: grokfast_adam(1, mask={"a": 1.0}), TypeError, "mask must be .*1.0"),
        (lambda: linear_filter([[1], [1, 2]]), ValueError, "b must be a regular"),
        (lambda: grokfast_ema(lambda_=1), TypeError, "did you mean lamb"),
        (lambda: grokfast_ma(window=1), TypeError, "did you mean window_size"),
        (
            lambda: moving_average(3, q=1),
            TypeError,
            r"'q'\. Its arguments: window_size",
        ),
        (
            lambda: exponential_moving_average(0.9, debias=True),
            ValueError,
            'debias=True needs init="zero"',
        ),
    ],
)
def test_bad_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


STATIC = re.escape('static_args=("window_size", "accumulator_dtype")')


def test_traced_window_says_how_to_inject():
    with pytest.raises(TypeError, match=STATIC):
        jax.jit(lambda w: grokfast_ma(w).init(jnp.ones(2)))(3)
    with pytest.raises(TypeError, match=STATIC):
        optax.inject_hyperparams(grokfast_ma)(window_size=3).init(jnp.ones(2))


def test_injected_dtype_says_how_to_inject():
    tx = optax.inject_hyperparams(grokfast_ema)(accumulator_dtype=jnp.float32)
    with pytest.raises(TypeError, match=STATIC):
        tx.init(jnp.ones(2))


def test_narrow_start_step_does_not_wrap():
    tx = grokfast_ma(300, lamb=1.0, start_step=jnp.uint8(3))
    state, update = tx.init(jnp.ones(())), jax.jit(tx.update)
    for _ in range(60):
        out, state = update(jnp.ones(()), state)
        assert out == 1.0


def test_numpy_numbers_are_numbers():
    tx = grokfast_ma(np.int64(3), np.float32(2.0), start_step=np.int32(1))
    tx.init(jnp.ones(2))
    grokfast_ema(np.array(0.5), np.array(1)).init(jnp.ones(2))
    grokfast_ema(np.array(0.5, jnp.bfloat16), jnp.bfloat16(1)).init(jnp.ones(2))


def test_response_is_double_whatever_alpha_is():
    for alpha in (np.float32(0.5), jnp.float32(0.5), jnp.bfloat16(0.5)):
        gain = ema_frequency_response(alpha, [0.3])
        assert gain.dtype == np.complex128
        np.testing.assert_array_equal(gain, ema_frequency_response(0.5, [0.3]))


def test_injected_values_are_checked_at_init():
    tx = optax.inject_hyperparams(grokfast_ema)(5.0, lamb=2.0)
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\), got .*5"):
        tx.init(jnp.ones(2))


def test_float64_accumulators_need_x64():
    tx = grokfast_ema(accumulator_dtype=jnp.float64)
    with pytest.raises(ValueError, match="accumulator_dtype=float64 needs jax_enable"):
        tx.init(jnp.ones(2))
    with jax.enable_x64(True):
        assert tx.init(jnp.ones(2)).low_pass.ema.dtype == jnp.float64


def test_tracers_pass():
    def update(alpha, lamb, start_step):
        tx = grokfast_ema(alpha, lamb, start_step=start_step)
        first = tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0]
        tx = grokfast_ma(1, lamb, start_step=start_step)
        return first, tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0]

    for out in jax.jit(update)(0.5, 3.0, 0):
        np.testing.assert_allclose(out, 4.0)
    for out in jax.jit(update)(0.5, 3.0, 1):
        np.testing.assert_allclose(out, 1.0)
