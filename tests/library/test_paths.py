"""Filters chosen by the paths of the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from grokfast_jax import (
    dc_gain,
    grokfast_ema,
    grokfast_ma,
    is_linear,
    partition_by_path,
)

PARAMS = {
    "embedding": jnp.ones((3, 2)),
    "blocks": [{"kernel": jnp.ones(4), "bias": jnp.ones(2)} for _ in range(2)],
}


def test_first_rule_that_is_found_counts():
    scales = {"bias": optax.scale(2.0), "blocks/1": optax.scale(3.0)}
    tx = partition_by_path(scales, default=optax.scale(5.0))
    out, _ = tx.update(PARAMS, tx.init(PARAMS))
    assert [float(leaf.ravel()[0]) for leaf in jax.tree.leaves(out)] == [2, 5, 2, 3, 5]


def test_rest_passes_and_state_is_its_own():
    tx = partition_by_path({"embedding": grokfast_ma(10), "kernel$": grokfast_ema()})
    state = tx.init(PARAMS)
    sizes = sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)
    assert sizes == 6 * (11 + 2) + 2 * 4
    out, _ = jax.jit(tx.update)(PARAMS, state)
    np.testing.assert_array_equal(out["blocks"][0]["bias"], [1, 1])
    np.testing.assert_array_equal(out["blocks"][1]["kernel"], 3 * np.ones(4))


def test_any_pattern_is_a_rule():
    params = {"default": jnp.ones(1), "rest": jnp.ones(1)}
    tx = partition_by_path({"default": optax.scale(2.0)}, default=optax.scale(3.0))
    out, _ = tx.update(params, tx.init(params))
    assert out == {"default": 2, "rest": 3}


@pytest.mark.parametrize("measure", [dc_gain, is_linear])
def test_measuring_tells_what_to_measure(measure):
    tx = partition_by_path({"w": grokfast_ema()})
    with pytest.raises(ValueError, match=r"without a path to find 'w' in.*dc_gain"):
        measure(tx)


def test_model_of_flax():
    model = nnx.Sequential(*[nnx.Linear(2, 2, rngs=nnx.Rngs(0)) for _ in range(2)])
    tx = partition_by_path({"layers/0/kernel$": optax.sgd(1.0)}, optax.set_to_zero())
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    before = nnx.to_pure_dict(nnx.state(model))
    gradient = nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2))) ** 2))(model)
    optimizer.update(model, gradient)
    after = nnx.to_pure_dict(nnx.state(model))
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before, after)
    assert changed["layers"][0] == {"kernel": True, "bias": False}
    assert changed["layers"][1] == {"kernel": False, "bias": False}


def test_a_rule_without_a_parameter():
    tx = partition_by_path({"kernel": grokfast_ema(), "blocks/0/kernl": grokfast_ma()})
    with pytest.raises(ValueError, match=r"'blocks/0/kernl' chooses no.*blocks/0/bias"):
        tx.init(PARAMS)
    hidden = partition_by_path({"blocks": grokfast_ema(), "bias": grokfast_ma()})
    with pytest.raises(ValueError, match="'bias' chooses no parameter"):
        hidden.init(PARAMS)
    many = {f"{i:02}": jnp.ones(1) for i in range(21)}
    with pytest.raises(ValueError, match=r"18, 19, …\.$"):
        tx.init(many)
    del many["20"]
    with pytest.raises(ValueError, match=r"18, 19\.$"):
        tx.init(many)


@pytest.mark.parametrize(
    ("rules", "default", "error", "message"),
    [
        ({}, None, ValueError, "at least one"),
        ([("a", optax.identity())], None, TypeError, "rules must map patterns"),
        ({1: optax.identity()}, None, TypeError, "a pattern must be a string, got 1"),
        ({"*": optax.identity()}, None, ValueError, r"'\*' is not a regular expr"),
        ({"(": optax.identity()}, None, ValueError, r"'\(' is not a regular expr"),
        ({"a": 1.0}, None, TypeError, r"rules\['a'\] must be an optax"),
        ({"a": optax.identity()}, 1.0, TypeError, "default must be an optax"),
    ],
)
def test_bad_arguments(rules, default, error, message):
    with pytest.raises(error, match=message):
        partition_by_path(rules, default)
