"""Compiled updates are exported, stored and called again with their states."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

import grokfast_jax
from grokfast_jax import (
    grokfast_ema,
    grokfast_ma,
    linear_filter,
    skip_non_finite,
    sum_of,
)


def test_the_package_can_be_reloaded():
    assert importlib.reload(grokfast_jax).grokfast_ema is grokfast_ema


@pytest.mark.parametrize(
    "tx",
    [
        optax.chain(grokfast_ema(), grokfast_ma(2)),
        skip_non_finite(grokfast_ma(3)),
        sum_of((linear_filter((0.1,), (1, -0.9)), 2.0)),
    ],
    ids=["ema and ma", "guarded ma", "sum of linear"],
)
def test_update_survives_serialization(tx):
    params = {"w": jnp.arange(3.0)}
    state = tx.init(params)
    stored = export.export(jax.jit(tx.update))(params, state, params).serialize()
    again = export.deserialize(bytearray(stored))
    for _ in range(3):
        expected, kept = jax.jit(tx.update)(params, state, params)
        out, state = again.call(params, state, params)
        jax.tree.map(np.testing.assert_array_equal, (out, state), (expected, kept))
        assert jax.tree.structure(state) == jax.tree.structure(kept)
