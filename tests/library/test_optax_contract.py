"""What a user of Optax expects of any transformation alone, on each of ours."""

import inspect
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import grokfast_jax
import grokfast_jax.linesearch
from grokfast_jax import (
    amplify,
    exponential_moving_average,
    grokfast_ema,
    grokfast_ma,
    moving_average,
    sum_of,
)
from tests.support.table import ROWS
from tests.support.table_runs import (
    DTYPES,
    advance,
    assert_equal,
    every,
    every_filter,
    gradients,
    params_of,
)


def test_table_is_complete():
    for module in (grokfast_jax, grokfast_jax.linesearch):
        for name in module.__all__:
            returned = inspect.signature(getattr(module, name)).return_annotation
            if returned is optax.GradientTransformationExtraArgs:
                assert any(row.startswith(name) for row in ROWS), name


@every
def test_takes_and_ignores_extra_arguments(row):
    tx, params = row.make(), params_of()
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    out, _ = tx.update(params, tx.init(params), params, value=1.0, anything="else")
    assert_equal(out, tx.update(params, tx.init(params), params)[0])


@pytest.mark.thorough
@every
@pytest.mark.parametrize("dtype", [*DTYPES, "mixed"])
def test_dtypes_and_structure_are_stable(row, dtype):
    with jax.enable_x64(dtype == "float64"):
        if dtype == "mixed":
            params = {"w": params_of("float16"), "v": params_of("float32")}
        else:
            params = params_of(dtype)
        tx = row.make()

        @jax.jit
        def either(flag, state):  # cond demands that both branches agree in all
            return jax.lax.cond(
                flag,
                lambda: tx.update(params, state, params),
                lambda: (params, state),
            )

        state = tx.init(params)
        for flag in (True, False, True):
            out, new_state = either(flag, state)
            assert jax.tree.map(jax.typeof, out) == jax.tree.map(jax.typeof, params)
            assert jax.tree.map(jax.typeof, new_state) == jax.tree.map(
                jax.typeof, state
            )
            state = new_state


@every_filter
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_strict_promotion(row, dtype):  # Adam's own bias correction fails there
    if row is ROWS["amplify"]:
        pytest.skip("optax.ema of 16-bit gradients promotes")
    tx, params = row.make(), params_of(dtype)
    with jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(tx.update, params, tx.init(params), params)


HYPERPARAMETERS = {
    "int32": jnp.int32(0),
    "bfloat16": jnp.bfloat16(0.5),
    "numpy": np.array(0),
    "float64 of NumPy": np.float64(0.5),
    "schedule": optax.linear_schedule(0.1, 0.5, 10),
}


@pytest.mark.parametrize("value", HYPERPARAMETERS.values(), ids=HYPERPARAMETERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
@pytest.mark.parametrize("normalize", [False, True])
def test_strict_promotion_of_hyperparameters(value, dtype, normalize):
    low_pass = exponential_moving_average(value, init="zero", debias=True)
    tx = amplify(
        sum_of((low_pass, value)), value, start_step=jnp.uint8(2), normalize=normalize
    )
    params = params_of(dtype)
    with jax.numpy_dtype_promotion("strict"):
        out, _ = jax.eval_shape(tx.update, params, tx.init(params), params)
    assert jax.tree.map(lambda a: a.dtype, out) == jax.tree.map(
        lambda a: a.dtype, params
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "complex64"])
def test_strict_promotion_of_injected_hyperparameters(dtype):
    params = params_of(dtype)
    inject = optax.inject_hyperparams(grokfast_ema, hyperparam_dtype=jnp.float32)
    tx = inject(alpha=0.9, lamb=2.0)
    with jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(tx.update, params, tx.init(params), params)
    if dtype == "complex64":
        with pytest.raises(TypeError, match="pass hyperparam_dtype"):
            optax.inject_hyperparams(grokfast_ema)(0.9).init(params)


@every_filter
def test_integers_none_masked_and_empty_pass_through(row):
    params = {
        "w": jnp.ones(3),
        "scalar": 1.0,
        "step": jnp.arange(3),
        "none": None,
        "masked": optax.MaskedNode(),
    }
    tx = row.make()
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


@every_filter
def test_integer_leaves_have_no_state(row):
    if row is ROWS["amplify"]:
        pytest.skip("optax.ema holds state for integers")

    def bytes_of(params):
        leaves = jax.tree.leaves(row.make().init(params))
        return sum(a.nbytes for a in leaves if a.ndim)

    floats = {"w": jnp.ones(300), "b": jnp.ones(300)}
    assert bytes_of(floats | {"i": jnp.arange(1000)}) == bytes_of(floats)


@every
def test_init_on_shapes_alone_and_map_params(row):
    tx, params = row.make(), params_of()
    abstract = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    state = tx.init(abstract)
    types = jax.tree.map(jax.typeof, state)
    assert types == jax.tree.map(jax.typeof, tx.init(params))
    assert types == jax.tree.map(jax.typeof, jax.jit(tx.init)(params))
    seen = []
    kept = optax.tree.map_params(
        tx,
        lambda leaf, p: seen.append(p) or leaf,
        state,
        params,
        is_leaf=lambda node: isinstance(node, optax.MaskedNode),
    )
    assert jax.tree.structure(kept) == jax.tree.structure(state)
    if any(leaf.ndim for leaf in jax.tree.leaves(state)):  # a search alone has scalars
        assert len(seen) >= len(jax.tree.leaves(params))


@pytest.mark.thorough
@every
def test_eager_compiled_and_scanned_are_equal(row):
    tx, gs = row.make(), gradients(8)
    eager, last = advance(tx, tx.init(params_of()), gs, update=tx.update)
    compiled, _ = advance(tx, tx.init(params_of()), gs)

    def step(state, g):
        out, state = tx.update(g, state, params_of())
        return state, out

    stacked = jax.tree.map(lambda *a: jnp.stack(a), *gs)
    final, scanned = jax.lax.scan(step, tx.init(params_of()), stacked)
    close = {"rtol": 2e-5, "atol": 1e-6}
    assert_equal(jax.tree.map(lambda *a: jnp.stack(a), *eager), scanned, **close)
    assert_equal(compiled, eager, **close)
    assert_equal(final, last, **close)


@every
def test_second_call_does_not_compile(row):
    tx = row.make()
    update = jax.jit(tx.update)
    advance(tx, tx.init(params_of()), gradients(4), update=update)
    assert update._cache_size() == 1


@pytest.mark.thorough
@every
def test_donated_state_stays_in_place(row):
    tx, params, gs = row.make(), params_of(), gradients(5)
    donating = jax.jit(tx.update, donate_argnums=1)
    state = jax.tree.map(jnp.array, jax.jit(tx.init)(params))  # a buffer each
    outputs, last = advance(tx, state, gs, update=donating)
    expected, kept = advance(tx, tx.init(params), gs)
    assert_equal((outputs, last), (expected, kept))
    analysis = donating.lower(params, tx.init(params), params).compile()
    leaves = jax.tree.leaves(tx.init(params))
    donated = sum(leaf.nbytes for leaf in leaves if leaf.ndim)
    assert analysis.memory_analysis().alias_size_in_bytes >= donated


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


def test_library_needs_jax_and_optax_only():
    code = (
        "import sys, grokfast_jax; "
        "print([m for m in ('flax', 'click', 'rich', 'matplotlib', 'experiments') "
        "if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8"
    )
    assert result.stdout == "[]\n", result.stderr
