"""Eight devices of one processor need a process that asks for them before JAX."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokfast_jax import grokfast_ema, moving_average, state_sharding


def test_on_eight_devices():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/eight_devices.py"],
        env=os.environ | flags,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-5000:]


MESH = jax.make_mesh((1,), ("x",))
ROWS_OF_X = jax.sharding.NamedSharding(MESH, jax.P("x"))


def test_one_sharding_for_all_and_a_tree_for_some():
    params = {"a": {"w": jnp.ones((2, 3))}, "i": jnp.arange(2), "none": None}
    tx = optax.chain(moving_average(4), optax.scale_by_adam())
    everywhere = jax.sharding.NamedSharding(MESH, jax.P())
    one = state_sharding(tx, params, ROWS_OF_X)
    some = state_sharding(tx, params, {"a": ROWS_OF_X, "i": everywhere, "none": None})
    for shardings in (one, some):
        assert jax.tree.structure(shardings) == jax.tree.structure(tx.init(params))
        assert shardings[0].ring["a"]["w"].spec == jax.P(None, "x")
        assert shardings[0].ring["i"] == optax.MaskedNode()
        assert shardings[0].slot.spec == jax.P()
        assert shardings[1].mu["a"]["w"].spec == jax.P("x")
    assert some[1].mu["i"].spec == jax.P()


def test_state_of_another_shape_is_replicated():
    tx = optax.scale_by_factored_rms(min_dim_size_to_factor=2)
    shardings = state_sharding(tx, jnp.ones((4, 6)), ROWS_OF_X)
    assert shardings.v_row.spec == shardings.v_col.spec == jax.P()
    shardings = state_sharding(tx, jnp.ones(4), ROWS_OF_X)
    assert shardings.v.spec == jax.P("x")
    assert shardings.v_row.spec == jax.P()  # one number, on as many axes


def test_injected_and_masked():
    tx = optax.masked(
        optax.inject_hyperparams(grokfast_ema, static_args="accumulator_dtype")(0.9),
        {"w": True, "b": False},
    )
    params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    shardings = state_sharding(tx, params, ROWS_OF_X)
    inner = shardings.inner_state
    assert inner.inner_state.low_pass.ema["w"].spec == jax.P("x")
    assert inner.hyperparams["alpha"].spec == jax.P()
    jax.jit(tx.init, out_shardings=shardings)(params)


@pytest.mark.parametrize(
    ("shardings", "error", "message"),
    [
        (jax.P("x"), TypeError, "must be of jax.sharding.NamedSharding, got P"),
        ({"w": ROWS_OF_X, "more": ROWS_OF_X}, ValueError, "key"),
    ],
)
def test_bad_shardings(shardings, error, message):
    with pytest.raises(error, match=message):
        state_sharding(grokfast_ema(), {"w": np.ones(2)}, shardings)


def test_no_parameters():
    with pytest.raises(ValueError, match="params must hold at least one array"):
        state_sharding(grokfast_ema(), {}, ROWS_OF_X)
