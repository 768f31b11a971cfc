"""States and gradients of something else raise, with the path, at trace time."""

import inspect
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import checkify

from grokfast_jax import (
    amplify,
    exponential_moving_average,
    grokfast_ema,
    grokfast_ma,
    linear_filter,
    moving_average,
    partition_by_path,
    skip_non_finite,
    sum_of,
)

FILTERS = {
    "ema": grokfast_ema(0.9),
    "ma": grokfast_ma(3),
    "linear": linear_filter((0.1,), (1, -0.9)),
    "sum": sum_of((moving_average(3), 1.0), (optax.identity(), 2.0)),
    "amplify": amplify(optax.ema(0.9), 1.0),
    "guard": skip_non_finite(grokfast_ma(3)),
    "partition": partition_by_path({"a": grokfast_ema(), "b": grokfast_ma(2)}),
}
PARAMS = {"a": {"w": jnp.ones(3)}, "b": jnp.ones((2, 2))}
every_filter = pytest.mark.parametrize("tx", FILTERS.values(), ids=FILTERS)


def refuse(tx, gradients, error, message, params=PARAMS):
    state = tx.init(params)
    with pytest.raises(error, match=message):
        jax.eval_shape(tx.update, gradients, state)


@every_filter
@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (2, 3)])
def test_other_shape(tx, shape):
    gradients = PARAMS | {"a": {"w": jnp.ones(shape)}}
    refuse(tx, gradients, ValueError, r"at 'a/w' has .*\(3,\)|rank_promotion")


@pytest.mark.parametrize("name", ["ema", "ma", "linear", "sum", "guard"])
def test_other_structure_names_the_first_path(name):
    tx = FILTERS[name]
    extra = PARAMS | {"c": jnp.ones(1)}
    refuse(tx, extra, ValueError, "the gradient has a leaf at 'c'")
    lacking = {"a": PARAMS["a"]}
    refuse(
        tx, lacking, ValueError, "the state has a leaf at 'b', the gradient has none"
    )
    two = [jnp.ones(1), jnp.ones(1)]
    refuse(tx, tuple(two), ValueError, "other containers", params=two)


@pytest.mark.parametrize("name", ["ema", "ma", "linear", "sum", "guard"])
def test_other_kind_of_number(name):
    tx = FILTERS[name]
    for dtype in (jnp.int32, jnp.complex64):
        gradients = PARAMS | {"b": jnp.ones((2, 2), dtype)}
        refuse(tx, gradients, TypeError, f"at 'b' is {jnp.dtype(dtype)}, the state")
    gradients = {"n": jnp.ones(2)}
    integers = {"n": jnp.arange(2)}
    refuse(tx, gradients, TypeError, "at 'n' is float32, but the state", integers)
    moved, _ = tx.update(integers, tx.init(integers))
    np.testing.assert_array_equal(moved["n"], integers["n"])


@every_filter
def test_none_gradient_passes_on(tx):
    gradients = PARAMS | {"b": None}
    out, state = tx.update(gradients, tx.init(PARAMS), PARAMS)
    assert out["b"] is None
    if tx is not FILTERS["amplify"]:  # optax.ema forgets its state there
        tx.update(PARAMS, state)


def test_state_of_another_window():
    state = moving_average(3).init(PARAMS)
    for tx in (moving_average(5), moving_average(2)):
        with pytest.raises(
            ValueError, match=r"holds 3 gradients at 'a/w'.* is [25]: a"
        ):
            jax.eval_shape(tx.update, PARAMS, state)


@pytest.mark.parametrize(
    ("tx", "other"),
    [
        (exponential_moving_average(0.9), moving_average(3)),
        (moving_average(3), exponential_moving_average(0.9)),
        (linear_filter((0.1,), (1, -0.9)), moving_average(3)),
        (grokfast_ema(), moving_average(3)),
        (grokfast_ema(), grokfast_ma()),
        (sum_of((moving_average(3), 1.0)), moving_average(3)),
        (skip_non_finite(grokfast_ma()), grokfast_ma()),
    ],
)
def test_state_of_another_filter(tx, other):
    with pytest.raises(
        TypeError, match=r"needs a state of type \w+State, got \w+State"
    ):
        tx.update(PARAMS, other.init(PARAMS))
    with pytest.raises(TypeError, match=r"got dict: call tx\.update\(gradients, state"):
        tx.update(tx.init(PARAMS), PARAMS)  # swapped


def test_state_with_other_parts():
    one = linear_filter((0.1,), (1, -0.9))
    for other in (
        linear_filter((0.1,), (1, -0.9, 0.1)),
        linear_filter(sos=[(1, 0, 0, 1, 0, 0)] * 2),
    ):
        with pytest.raises(ValueError, match="its state"):
            one.update(PARAMS, other.init(PARAMS))
    two = sum_of((moving_average(3), 1.0), (moving_average(4), 1.0))
    with pytest.raises(ValueError, match="sum_of has 2 filters, its state 1"):
        two.update(PARAMS, sum_of((moving_average(3), 1.0)).init(PARAMS))


def documented(function, start, end):
    """The names that an example of a docstring defines."""
    text = inspect.getdoc(function)
    code = text[text.index(f"    {start}") :].split(end)[0].rstrip()
    names = dict(
        jax=jax, jnp=jnp, optax=optax, checkify=checkify, grokfast_ema=grokfast_ema
    )
    exec(textwrap.dedent(code), names)
    return names


@pytest.mark.parametrize(("old", "new", "seen"), [(3, 5, 2), (3, 5, 9), (7, 3, 20)])
def test_documented_change_of_the_window(old, new, seen):
    names = documented(moving_average, "def with_other_window", "\n\n")
    gradients = np.random.default_rng(0).normal(size=(seen + 1, 3)).astype(np.float32)
    tx, params = moving_average(old), jnp.zeros(3)
    state = tx.init(params)
    for g in gradients[:-1]:
        _, state = tx.update(g, state)
    tx = moving_average(new, start="partial")
    state = names["with_other_window"](tx, state, params)
    out, _ = tx.update(gradients[-1], state)
    kept = gradients[-min(old, seen) - 1 :][-new:]
    np.testing.assert_allclose(out, kept.mean(0), rtol=1e-5, atol=1e-6)


def test_documented_clamp_of_injected_values():
    factory = documented(grokfast_ema, "def clamped_ema", "\n\n")["clamped_ema"]
    tx = optax.inject_hyperparams(factory)(alpha=0.98, lamb=2.0)
    state, update = jax.jit(tx.init)(jnp.ones(2)), jax.jit(tx.update)
    state.hyperparams["alpha"] = jnp.float32(5.0)
    for g in (0.0, 1.0):
        out, state = update(jnp.full(2, g), state)
    np.testing.assert_allclose(out, 1 + 2 * 1e-4, rtol=1e-5)


def test_documented_check_of_injected_values():
    tx = documented(grokfast_ema, "def checked_ema", "update = ")["tx"]
    state, update = tx.init(jnp.ones(2)), jax.jit(checkify.checkify(tx.update))
    error, (_, state) = update(jnp.ones(2), state)
    assert error.get() is None
    state.hyperparams["alpha"] = jnp.float32(5.0)
    error, _ = update(jnp.ones(2), state)
    assert "alpha 5.0, lamb 2.0" in error.get()


STATELESS = {
    "linear_filter": linear_filter([2.0]),
    "amplify": amplify(optax.identity(), 1.0),
    "sum_of": sum_of((optax.identity(), 1.0)),
    "partition_by_path": partition_by_path({"w": optax.identity()}),
}


@pytest.mark.parametrize("tx", STATELESS.values(), ids=STATELESS)
@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        ({"w": jnp.ones(1), "b": {"c": jnp.ones(2)}}, r"at 'w' has the shape \(1,\)"),
        ({"w": jnp.arange(3), "b": {"c": jnp.ones(2)}}, "at 'w' is int32"),
        ({"w": jnp.ones(3)}, "the parameter tree has a leaf at 'b/c'"),
        ({"w": jnp.ones(3), "b": {"c": jnp.ones(2)}, "z": 1.0}, "has a leaf at 'z'"),
        ({"w": [jnp.ones(3)], "b": {"c": jnp.ones(2)}}, "has a leaf at 'w/0'"),
    ],
)
def test_without_state_the_parameters_tell(tx, gradient, message):
    params = {"w": jnp.ones(3), "b": {"c": jnp.ones(2)}}
    with pytest.raises((TypeError, ValueError), match=message):
        tx.update(gradient, tx.init(params), params)


def test_masked_gradients_of_a_partition():
    tx = partition_by_path({"w": grokfast_ema()})
    params = {"w": jnp.ones(3), "b": jnp.ones(2)}
    gradient = {"w": optax.MaskedNode(), "b": jnp.ones(2)}
    out, _ = tx.update(gradient, tx.init(params), params)
    assert out["w"] == optax.MaskedNode()
    with pytest.raises(TypeError, match="partition_by_path needs a state of type Part"):
        tx.update(gradient, optax.adam(0.1).init(params), params)


@pytest.mark.parametrize("make", [grokfast_ema, lambda: grokfast_ma(1)])
def test_a_batch_of_states_is_refused_and_updated_as_one(make):
    tx, lanes = make(), jnp.ones((3, 3))
    states = jax.vmap(tx.init)(lanes)
    with pytest.raises(ValueError, match=r"batch of the shape \(3,\)"):
        tx.update(lanes, states)
    jax.vmap(tx.update)(lanes, states)


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ({"count": 0}, "Restore a checkpoint into"),
        ((), "In an optax.chain, number and order"),
        (optax.EmptyState(), "saved by another filter"),
    ],
)
def test_states_of_another_kind_say_what_to_do(state, hint):
    with pytest.raises(TypeError, match=f"grokfast_ema.*{hint}"):
        grokfast_ema().update(jnp.ones(2), state)
