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


@pytest.mark.thorough
def test_on_eight_devices():
    given = os.environ.get("XLA_FLAGS", "")
    flags = f"{given} --xla_force_host_platform_device_count=8"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/library/eight_devices.py"],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        encoding="utf-8",
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
        assert shardings[0].ring["a"]["w"].spec == jax.P(None, "x", None)
        assert shardings[0].ring["i"] == optax.MaskedNode()
        assert shardings[0].slot.spec == jax.P()
        assert shardings[1].mu["a"]["w"].spec == jax.P("x", None)
    assert some[1].mu["i"].is_fully_replicated


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
        (
            jax.sharding.NamedSharding(MESH, jax.P(None, "x")),
            ValueError,
            r"more axes than a parameter of shape \(2,\)",
        ),
    ],
)
def test_bad_shardings(shardings, error, message):
    with pytest.raises(error, match=message):
        state_sharding(grokfast_ema(), {"w": np.ones(2)}, shardings)


def test_no_parameters():
    with pytest.raises(ValueError, match="params must hold at least one array"):
        state_sharding(grokfast_ema(), {}, ROWS_OF_X)


@pytest.mark.parametrize("make", [optax.lbfgs, lambda: optax.sm3(0.1)])
def test_optimizers_that_optax_cannot_map(make):
    with pytest.raises(ValueError, match="cannot tell which state of this optimizer"):
        state_sharding(make(), {"w": np.ones(2), "b": np.ones(2)}, ROWS_OF_X)


def test_numbers_are_parameters():
    assert (
        state_sharding(
            optax.trace(0.9), {"w": 1.0}, jax.sharding.NamedSharding(MESH, jax.P())
        )
        .trace["w"]
        .spec
        == jax.P()
    )


@pytest.mark.parametrize(
    ("kind", "spec"), [("Auto", jax.P(None, "x")), ("Explicit", jax.P(None, "x", None))]
)
def test_specs_are_spelled_as_the_update_spells_them(kind, spec):
    """Else the second update would compile again; on eight devices it is counted."""
    axis_type = getattr(jax.sharding.AxisType, kind)
    mesh = jax.make_mesh((1,), ("x",), axis_types=(axis_type,))
    for given in (jax.P("x"), jax.P("x", None)):
        sharding = jax.sharding.NamedSharding(mesh, given)
        ring = state_sharding(moving_average(4), jnp.ones((2, 3)), sharding).ring
        assert tuple(ring.spec) == tuple(spec)
