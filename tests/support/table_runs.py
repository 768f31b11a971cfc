"""What the contract tests share: rows of the table, parameters, gradients, updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.table import ROWS

every = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
every_filter = pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=name) for name, row in ROWS.items() if row.filters],
)
DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64")


def params_of(dtype="float32"):
    return {"w": jnp.full((2, 3), 1.0, dtype), "b": jnp.full((), -1.0, dtype)}


def gradients(steps, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {"w": jnp.asarray(rng.normal(size=(2, 3)), dtype), "b": jnp.asarray(t, dtype)}
        for t in rng.normal(size=steps)
    ]


def advance(tx, state, gs, params=None, update=None):
    """Outputs of several updates at fixed parameters, and the last state."""
    params = params_of() if params is None else params
    update = update or jax.jit(tx.update)
    outputs = []
    for g in gs:
        out, state = update(g, state, params)
        outputs.append(out)
    return outputs, state


def assert_equal(a, b, **close):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    check = np.testing.assert_allclose if close else np.testing.assert_array_equal
    jax.tree.map(
        lambda x, y: check(np.asarray(x, float), np.asarray(y, float), **close), a, b
    )
