"""What a user of Optax expects of any transformation, on each of ours."""

import os
import pickle
import subprocess
import sys

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

TRANSFORMATIONS = {
    "exponential_moving_average": exponential_moving_average(0.9),
    "debiased": exponential_moving_average(0.9, init="zero", debias=True),
    "moving_average": moving_average(3),
    "partial": moving_average(3, start="partial"),
    "amplify": amplify(optax.ema(0.9), 2.0),
    "grokfast_ema": grokfast_ema(0.9),
    "grokfast_ma": grokfast_ma(3),
    "sum": grokfast_ma(3, filter_type="sum", normalize=True),
}
every = pytest.mark.parametrize(
    "tx", TRANSFORMATIONS.values(), ids=TRANSFORMATIONS.keys()
)


@every
def test_takes_and_ignores_extra_arguments(tx):
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    g = jnp.ones(3)
    out, _ = tx.update(g, tx.init(g), g, value=1.0, anything="else")
    plain, _ = tx.update(g, tx.init(g))
    np.testing.assert_array_equal(out, plain)


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_dtypes_and_structure_are_stable(tx, dtype):
    params = {"w": jnp.ones((2, 3), dtype), "b": jnp.ones((), dtype)}
    state = tx.init(params)
    out, new_state = jax.jit(tx.update)(params, state, params)
    assert jax.tree.map(jnp.result_type, out) == jax.tree.map(jnp.result_type, params)
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, new_state)
    jax.lax.cond(True, lambda: tx.update(params, state)[1], lambda: state)


@every
def test_integers_none_masked_and_empty_pass_through(tx):
    params = {
        "w": jnp.ones(3),
        "scalar": 1.0,
        "step": jnp.arange(3),
        "none": None,
        "masked": optax.MaskedNode(),
    }
    state = tx.init(params)
    for _ in range(4):
        out, state = tx.update(params, state)
    assert jax.tree.structure(out) == jax.tree.structure(params)
    np.testing.assert_array_equal(out["step"], params["step"])
    assert out["step"].dtype == params["step"].dtype
    out, _ = tx.update({}, tx.init({}))
    assert out == {}


@pytest.mark.parametrize("make", [lambda: grokfast_ema(0.9), lambda: grokfast_ma(1)])
def test_none_gradient_of_a_parameter(make):
    tx, params = make(), {"a": jnp.ones(2), "b": jnp.ones(2)}
    state = tx.init(params)
    out, state = tx.update({"a": jnp.ones(2), "b": None}, state)
    assert out["b"] is None
    out, _ = tx.update(params, state)
    np.testing.assert_allclose(out["a"], out["a"][0])


@pytest.mark.parametrize("name", sorted(TRANSFORMATIONS.keys() - {"amplify"}))
def test_integer_leaves_have_no_state(name):
    tx = TRANSFORMATIONS[name]

    def bytes_of(params):
        return sum(a.nbytes for a in jax.tree.leaves(tx.init(params)) if a.ndim)

    floats = {"w": jnp.ones(300)}
    assert bytes_of(floats | {"i": jnp.arange(1000)}) == bytes_of(floats)


@every
def test_abstract_init_and_map_params(tx):
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}
    abstract = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    state = tx.init(abstract)
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, tx.init(params))
    doubled = optax.tree.map_params(tx, lambda leaf: leaf * 2, tx.init(params))
    assert jax.tree.structure(doubled) == jax.tree.structure(state)


@every
def test_state_is_picklable(tx):
    params = {"w": jnp.ones((2, 3))}
    _, state = tx.update(params, tx.init(params))
    restored = pickle.loads(pickle.dumps(state))
    jax.tree.map(np.testing.assert_array_equal, restored, state)


@pytest.mark.parametrize(
    "name", ["exponential_moving_average", "debiased", "grokfast_ema", "grokfast_ma"]
)
def test_counters_saturate(name):
    """The moving average itself counts modulo its window and cannot overflow."""
    tx, g = TRANSFORMATIONS[name], jnp.ones(3)
    state = tx.init(g)
    for _ in range(5):
        _, state = tx.update(g, state)
    saturated = optax.tree.set(state, count=jnp.int32(jnp.iinfo(jnp.int32).max))
    for t in range(5):
        out, state = tx.update(g * t, state)
        expected, saturated = tx.update(g * t, saturated)
        np.testing.assert_array_equal(out, expected)


def test_masked_leaves_hold_no_state():
    params = {"w": jnp.ones(300), "frozen": jnp.ones(1000)}
    tx = optax.masked(grokfast_ma(5), {"w": True, "frozen": False})
    state = tx.init(params)
    assert sum(a.size for a in jax.tree.leaves(state) if a.ndim) == 300 * (5 + 3)
    out, _ = tx.update(params, state, params)
    np.testing.assert_array_equal(out["frozen"], params["frozen"])


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        (grokfast_ema, {"alpha": 0.9, "lamb": 2.0}),
        (grokfast_ema, {"alpha": optax.linear_schedule(0.5, 0.9, 5), "start_step": 2}),
        (grokfast_ma, {"window_size": 3, "lamb": 2.0}),
        (grokfast_ma, {"window_size": 3, "lamb": optax.linear_schedule(0, 5, 5)}),
        (grokfast_ma, {"window_size": 3, "filter_type": "sum", "start_step": 4}),
        (grokfast_ma, {"window_size": 3, "accumulator_dtype": jnp.float32}),
    ],
)
def test_inject_hyperparams(factory, options):
    static = ("accumulator_dtype",) + ("window_size",) * ("window_size" in options)
    injected = optax.inject_hyperparams(
        factory, static_args=static, hyperparam_dtype=jnp.float32
    )(**options)
    plain = factory(**options)
    params = {"w": jnp.ones((2, 3), jnp.bfloat16)}
    state, plain_state = jax.jit(injected.init)(params), plain.init(params)
    for t in range(8):
        g = {"w": jnp.full((2, 3), 1.0 + t, jnp.bfloat16)}
        out, state = jax.jit(injected.update)(g, state, params)
        expected, plain_state = plain.update(g, plain_state, params)
        np.testing.assert_allclose(
            out["w"].astype(jnp.float32), expected["w"].astype(jnp.float32), rtol=1e-2
        )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a.astype(jnp.float32), b.astype(jnp.float32), rtol=1e-5, atol=1e-5
        ),
        state.inner_state,
        plain_state,
    )


def test_injected_alpha_near_one_survives_bfloat16():
    tx = optax.inject_hyperparams(
        grokfast_ema, static_args="accumulator_dtype", hyperparam_dtype=jnp.float32
    )(alpha=0.999)
    assert tx.init(jnp.ones(2, jnp.bfloat16)).hyperparams["alpha"] < 1


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_sums_of_16_bit_gradients_are_float32(dtype):
    g = jnp.full((4,), 1e-3, dtype)
    ema = grokfast_ema().init(g).low_pass
    ma = grokfast_ma(5).init(g).low_pass
    assert ema.ema.dtype == ma.total.dtype == ma.partial.dtype == jnp.float32
    assert ma.ring.dtype == dtype
    narrow = grokfast_ma(5, accumulator_dtype=dtype).init(g).low_pass
    assert narrow.total.dtype == dtype
    # A mean over 2000 equal gradients is exact only if the sums are wide.
    tx = moving_average(2000)
    _, outs = jax.lax.scan(lambda s, _: tx.update(g, s)[::-1], tx.init(g), length=2000)
    np.testing.assert_allclose(
        outs[-1].astype(jnp.float32), g.astype(jnp.float32), rtol=1e-2
    )


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


_SHARDED = """
import jax, jax.numpy as jnp
from grokfast_jax import grokfast_ema, grokfast_ma
mesh = jax.make_mesh((2,), ("x",))
sharding = jax.sharding.NamedSharding(mesh, jax.P("x"))
g = jax.device_put(jnp.arange(8.0).reshape(4, 2), sharding)
for tx in (grokfast_ema(), grokfast_ma(3)):
    state = tx.init(g)
    out, new_state = jax.jit(tx.update)(g, state)
    assert out.sharding.is_equivalent_to(sharding, 2)
    for a in jax.tree.leaves(state) + jax.tree.leaves(new_state):
        if a.ndim:
            spec = jax.P("x") if a.ndim == 2 else jax.P(None, "x")
            expected = jax.sharding.NamedSharding(mesh, spec)
            assert a.sharding.is_equivalent_to(expected, a.ndim), (a.shape, a.sharding)
    text = jax.jit(tx.update).lower(g, state).compile().as_text()
    assert "all-gather" not in text and "all-reduce" not in text
print("sharded")
"""


def test_state_and_updates_keep_the_sharding_of_the_parameters():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    result = subprocess.run(
        [sys.executable, "-c", _SHARDED],
        env=os.environ | flags,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "sharded\n", result.stderr


def test_library_needs_jax_and_optax_only():
    code = (
        "import sys, grokfast_jax; "
        "print([m for m in ('flax', 'click', 'rich', 'matplotlib', 'experiments') "
        "if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert result.stdout == "[]\n", result.stderr
