"""What a user of Optax expects of any transformation, on each of ours."""

import inspect
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import grokfast_jax
from grokfast_jax import (
    amplify,
    grokfast_ema,
    grokfast_ma,
    moving_average,
    skip_non_finite,
)
from tests.table import ROWS

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


def test_table_is_complete():
    for name in grokfast_jax.__all__:
        returned = inspect.signature(getattr(grokfast_jax, name)).return_annotation
        if returned is optax.GradientTransformationExtraArgs:
            assert any(row.startswith(name) for row in ROWS), name


@every
def test_takes_and_ignores_extra_arguments(row):
    tx, params = row.make(), params_of()
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    out, _ = tx.update(params, tx.init(params), params, value=1.0, anything="else")
    assert_equal(out, tx.update(params, tx.init(params), params)[0])


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
    assert len(seen) >= len(jax.tree.leaves(params))


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


@every
def test_injected_hyperparameters(row):
    static = (*row.static, "accumulator_dtype", "mu_dtype", "nesterov", "mask")
    parameters = inspect.signature(row.factory).parameters
    injected = optax.inject_hyperparams(
        row.factory,
        static_args=tuple(name for name in static if name in parameters),
        hyperparam_dtype=jnp.float32,
    )(**row.options, **row.static)
    plain, params, gs = row.make(), params_of(), gradients(8)
    assert row.options.keys() <= injected.init(params).hyperparams.keys()
    outputs, state = advance(injected, jax.jit(injected.init)(params), gs)
    expected, plain_state = advance(plain, plain.init(params), gs)
    assert_equal(outputs, expected, rtol=1e-5, atol=1e-6)
    assert_equal(state.inner_state, plain_state, rtol=1e-5, atol=1e-6)


_NO_SCHEDULE = ("weight_decay", "l2")  # Optax takes numbers there


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


@every
def test_conditionally_transformed(row):
    tx, params, gs = row.make(), params_of(), gradients(6)
    odd = optax.conditionally_transform(tx, lambda step, **_: step % 2 == 1)
    outputs, _ = advance(odd, odd.init(params), gs)
    expected, _ = advance(tx, tx.init(params), gs[1::2])
    assert_equal(outputs[0::2], gs[0::2])
    assert_equal(outputs[1::2], expected, rtol=1e-6, atol=1e-7)


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


@every
def test_counters_at_their_end(row):
    """At 2³¹ − 1 updates every counter stays, and the outputs go on."""
    tx, params, gs = row.make(), params_of(), gradients(8)
    _, state = advance(tx, tx.init(params), gs)
    end = jnp.int32(jnp.iinfo(jnp.int32).max)
    late = jax.tree_util.tree_map_with_path(
        lambda path, leaf: end if _is_counter(path) else leaf, state
    )
    outputs, last = advance(tx, late, gs)
    expected, _ = advance(tx, state, gs)
    if row.linear:  # Adam's own bias correction goes on changing
        assert_equal(outputs, expected)
    counters = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(last)
        if _is_counter(path)
    ]
    assert all(int(leaf) == end for leaf in counters)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(outputs))


def _is_counter(path):
    return getattr(path[-1], "name", None) == "count"


@every
@pytest.mark.parametrize("stop", [1, 4])
def test_a_checkpoint_goes_on_bit_for_bit(row, stop, tmp_path):
    """Through Orbax and through pickle; the window of 3 is part full, then wrapped."""
    tx, params, gs = row.make(), params_of("bfloat16"), gradients(9, jnp.bfloat16)
    update = jax.jit(tx.update)
    whole, last = advance(tx, tx.init(params), gs, params, update)
    _, state = advance(tx, tx.init(params), gs[:stop], params, update)

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        abstract = jax.eval_shape(tx.init, params)
        restored = checkpointer.restore(tmp_path / "state", abstract)
    for again in (restored, pickle.loads(pickle.dumps(state))):
        assert jax.tree.structure(again) == jax.tree.structure(state)
        outputs, final = advance(tx, again, gs[stop:], params, update)
        assert_equal((outputs, final), (whole[stop:], last))


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
