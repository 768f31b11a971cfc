"""Our transformations inside Optax's: injected, masked, accumulated, guarded."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokfast_jax import (
    amplify,
    grokfast_ema,
    moving_average,
    skip_non_finite,
)
from tests.support.table_runs import (
    advance,
    assert_equal,
    every,
    gradients,
    params_of,
)


@pytest.mark.thorough
@every
def test_injected_hyperparameters(row):
    static = (*row.static, "accumulator_dtype", "mu_dtype", "nesterov", "mask")
    parameters = inspect.signature(row.factory).parameters
    injected = optax.inject_hyperparams(
        row.factory,
        static_args=tuple(name for name in static if name in parameters),
        hyperparam_dtype=jnp.float32,
    )(**row.options, **row.static)
    injected = row.with_loss(injected)
    plain, params, gs = row.make(), params_of(), gradients(8)
    assert row.options.keys() <= injected.init(params).hyperparams.keys()
    outputs, state = advance(injected, jax.jit(injected.init)(params), gs)
    expected, plain_state = advance(plain, plain.init(params), gs)
    rtol = 1e-4 if row.searches else 1e-5  # 1 − b2 of a float32 b2 is off by 1e-5
    assert_equal(outputs, expected, rtol=rtol, atol=1e-6)
    assert_equal(state.inner_state, plain_state, rtol=rtol, atol=1e-6)


_NO_SCHEDULE = ("weight_decay", "l2")  # not in every Optax that is allowed


@pytest.mark.thorough
@every
def test_schedules(row):
    names = row.options.keys() - set(_NO_SCHEDULE)
    if not names:
        pytest.skip("nothing to schedule")
    constant = {n: optax.constant_schedule(row.options[n]) for n in names}
    tx, plain, gs, params = row.make(**constant), row.make(), gradients(6), params_of()
    outputs, _ = advance(tx, tx.init(params), gs)
    expected, _ = advance(plain, plain.init(params), gs)
    assert_equal(outputs, expected, rtol=1e-5, atol=1e-6)
    for name in names:  # a step at the fourth update counts from there on
        value = row.options[name]
        late = optax.piecewise_constant_schedule(value, {4: 0.5})
        tx = row.make(**{name: late})
        outputs, _ = advance(tx, tx.init(params), gs)
        assert_equal(outputs[:4], expected[:4], rtol=1e-5, atol=1e-6)
        assert not np.allclose(outputs[4]["w"], expected[4]["w"], rtol=1e-4)


@pytest.mark.thorough
@every
def test_accumulated_gradients_are_filtered_once(row):
    """The state is selected at every micro-step: for a window of w, O(w)."""
    tx, params, gs = row.make(), params_of(), gradients(12)
    every_third = optax.MultiSteps(tx, every_k_schedule=3).gradient_transformation()
    outputs, state = advance(every_third, every_third.init(params), gs)
    means = [
        jax.tree.map(lambda *a: sum(a) / 3, *gs[i : i + 3]) for i in range(0, 12, 3)
    ]
    expected, last = advance(tx, tx.init(params), means)
    assert_equal(outputs[2::3], expected, rtol=1e-4, atol=1e-6)
    for t in (0, 1, 3, 10):
        assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(outputs[t]))
    assert_equal(state.inner_opt_state, last, rtol=1e-4, atol=1e-6)


@pytest.mark.thorough
@every
def test_masked_and_partitioned(row):
    tx, params, gs = row.make(), params_of(), gradients(6)
    only_w = {"w": params["w"]}
    expected, _ = advance(tx, tx.init(only_w), [{"w": g["w"]} for g in gs], only_w)
    masked = optax.masked(tx, {"w": True, "b": False})
    outputs, state = advance(masked, masked.init(params), gs)
    for out, g, e in zip(outputs, gs, expected, strict=True):
        np.testing.assert_array_equal(out["w"], e["w"])
        np.testing.assert_array_equal(out["b"], g["b"])
    sizes = [leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim]
    plain = [leaf.size for leaf in jax.tree.leaves(tx.init(only_w)) if leaf.ndim]
    assert sizes == plain  # what is masked holds no state
    parts = optax.partition({"x": tx, "y": optax.sgd(1.0)}, {"w": "x", "b": "y"})
    outputs, _ = advance(parts, parts.init(params), gs)
    for out, g, e in zip(outputs, gs, expected, strict=True):
        np.testing.assert_array_equal(out["w"], e["w"])
        np.testing.assert_array_equal(out["b"], -g["b"])


@pytest.mark.thorough
@every
def test_conditionally_transformed(row):
    tx, params, gs = row.make(), params_of(), gradients(6)
    odd = optax.conditionally_transform(tx, lambda step, **_: step % 2 == 1)
    outputs, _ = advance(odd, odd.init(params), gs)
    expected, _ = advance(tx, tx.init(params), gs[1::2])
    assert_equal(outputs[0::2], gs[0::2])
    assert_equal(outputs[1::2], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.thorough
@every
@pytest.mark.parametrize(("value", "at"), [(np.nan, 0), (np.inf, 1), (np.nan, 4)])
@pytest.mark.parametrize("guard", [optax.apply_if_finite, skip_non_finite])
def test_a_gradient_that_is_not_finite_has_not_been(row, value, at, guard):
    tx, params, gs = row.make(), params_of(), gradients(6)
    if guard is optax.apply_if_finite:
        guarded = guard(tx, max_consecutive_errors=10)
    else:
        guarded = guard(tx)
    bad = dict(gs[0], w=gs[0]["w"].at[1, 2].set(value))
    outputs, state = advance(guarded, guarded.init(params), [*gs[:at], bad, *gs[at:]])
    expected, last = advance(tx, tx.init(params), gs)
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(outputs.pop(at)))
    assert_equal(outputs, expected, rtol=1e-6, atol=1e-7)
    following, _ = advance(guarded, state, gs)
    expected, _ = advance(tx, last, gs)
    assert_equal(following, expected, rtol=1e-6, atol=1e-7)


def test_injected_alpha_near_one_survives_bfloat16():
    tx = optax.inject_hyperparams(
        grokfast_ema, static_args="accumulator_dtype", hyperparam_dtype=jnp.float32
    )(alpha=0.999)
    assert tx.init(jnp.ones(2, jnp.bfloat16)).hyperparams["alpha"] < 1


def test_freezing_and_filling_differ():
    """start_step keeps filling; conditionally_transform freezes: both documented."""

    def on(step, **kwargs):
        return step >= 5

    frozen = optax.conditionally_transform(moving_average(4), on)
    filling = amplify(moving_average(4), 1.0, start_step=5)
    g, outs = jnp.ones(()), []
    states = [frozen.init(g), filling.init(g)]
    for _ in range(6):
        low, states[0] = frozen.update(g, states[0])
        out, states[1] = filling.update(g, states[1])
        outs.append((float(low), float(out)))
    assert outs[4] == (1.0, 1.0)  # both off: gradients as they are
    assert outs[5] == (0.25, 2.0)  # an empty window, and a full one
