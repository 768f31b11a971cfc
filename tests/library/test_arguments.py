"""Bad arguments raise at construction and name argument, value and range."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokfast_jax import (
    amplify,
    exponential_moving_average,
    grokfast_ema,
    grokfast_ma,
    moving_average,
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
