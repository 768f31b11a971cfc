"""``skip_non_finite``: as if a step with a non-finite gradient had not been."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grokfast_jax import grokfast_ema, grokfast_ma, moving_average, skip_non_finite
from tests.support.running import run_eager, run_jit, run_scan

FILTERS = {
    "ema": grokfast_ema(0.9, 2.0),
    "ma": grokfast_ma(4, 3.0),
    "ma, not warmed up": grokfast_ma(4, 3.0, warmup=False),
    "ma, one gradient": grokfast_ma(1, 3.0),
    "none": optax.identity(),
}
every_filter = pytest.mark.parametrize("name", FILTERS)


def gradients(steps=30, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "w": rng.normal(size=(steps, 3, 2)).astype(np.float32),
        "b": rng.normal(size=(steps, 2)).astype(np.float32),
    }


def spoil(g, steps, value=np.nan):
    g = {name: a.copy() for name, a in g.items()}
    for step in steps:
        g["b"][step, 1] = value
    return g


@pytest.mark.thorough
@every_filter
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("run", [run_eager, run_jit, run_scan])
def test_skipped_steps_leave_no_trace(name, value, run):
    bad = [0, 1, 5, 9, 10, 11, 12, 13, 14, 29]
    tx = optax.chain(FILTERS[name], optax.adam(0.1))
    good = np.setdiff1d(np.arange(30), bad)
    outputs = run(skip_non_finite(tx), spoil(gradients(), bad, value))
    expected = run(tx, {k: a[good] for k, a in gradients().items()})
    for leaf in ("w", "b"):
        out = np.asarray(outputs[leaf])
        np.testing.assert_array_equal(out[good], expected[leaf])
        assert not out[bad].any()


WRAPPERS = {
    "masked": lambda tx: optax.masked(tx, {"w": True, "b": False}),
    "partition": lambda tx: optax.partition(
        {"x": tx, "y": optax.sgd(1.0)}, {"w": "x", "b": "y"}
    ),
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 2).gradient_transformation(),
    "injected": lambda tx: optax.chain(
        optax.inject_hyperparams(optax.scale)(step_size=0.5), tx
    ),
    "guarded twice": skip_non_finite,
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", WRAPPERS)
def test_windows_at_any_depth(name):
    tx = WRAPPERS[name](optax.chain(grokfast_ma(3, 2.0, warmup=False), optax.adam(0.1)))
    bad = [2, 3, 9, 17]
    good = np.setdiff1d(np.arange(30), bad)
    outputs = run_scan(skip_non_finite(tx), spoil(gradients(), bad))
    expected = run_scan(tx, {k: a[good] for k, a in gradients().items()})
    for leaf in ("w", "b"):
        out = np.asarray(outputs[leaf])[good]
        np.testing.assert_allclose(out, expected[leaf], rtol=1e-6, atol=1e-8)


def test_half_precision_and_empty_leaves():
    tx = skip_non_finite(optax.chain(grokfast_ma(2, 1.0, warmup=False), optax.sgd(1.0)))
    g = {"h": jnp.array([1.0, np.nan, 3.0], jnp.bfloat16), "o": None}
    out = run_scan(tx, g)
    assert out["h"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(out["h"], np.float32), [-2.0, 0.0, -5.0])


@pytest.mark.thorough
@every_filter
def test_same_as_apply_if_finite(name):
    tx = optax.chain(FILTERS[name], optax.adam(0.1))
    g = spoil(gradients(), [2, 3, 17])
    ours, theirs = skip_non_finite(tx), optax.apply_if_finite(tx, 1000)
    a, b = run_scan(ours, g), run_scan(theirs, g)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y), a, b)


def test_counters_and_integers():
    tx = skip_non_finite(optax.identity())
    state = tx.init({"a": jnp.zeros(2), "n": jnp.zeros(2, jnp.int32)})
    seen = []
    for value in (1.0, np.nan, np.inf, 2.0, np.nan):
        g = {"a": jnp.array([0.0, value]), "n": jnp.ones(2, jnp.int32)}
        out, state = tx.update(g, state)
        seen.append((int(state.notfinite_count), int(state.total_notfinite)))
        assert bool(state.last_finite) == np.isfinite(value)
        assert int(out["n"].sum()) == (2 if np.isfinite(value) else 0)
    assert seen == [(0, 0), (1, 1), (2, 2), (0, 2), (1, 3)]


def test_lanes_skip_apart():
    tx = skip_non_finite(grokfast_ma(3, 1.0))
    clean = gradients()["w"]
    spoilt = clean.copy()
    spoilt[7, 0, 0] = np.nan
    both = np.stack([clean, spoilt], axis=1)
    lanes = optax.GradientTransformation(jax.vmap(tx.init), jax.vmap(tx.update))
    outputs = run_scan(lanes, both)
    alone = [run_scan(tx, g) for g in (clean, spoilt)]
    np.testing.assert_array_equal(outputs[:, 0], alone[0])
    np.testing.assert_array_equal(outputs[:, 1], alone[1])


@pytest.mark.parametrize("lanes", [0, 3])
def test_window_is_neither_copied_nor_selected(lanes):
    """Temporary memory of a donated update: five copies of the parameters at most."""
    tx = skip_non_finite(optax.chain(moving_average(50), optax.adam(0.1)))
    g = jnp.zeros((lanes, 4000) if lanes else 4000)
    init, update = (jax.vmap(tx.init), jax.vmap(tx.update)) if lanes else tx

    def step(state, g):
        return update(g, state)

    compiled = jax.jit(step, donate_argnums=0).lower(init(g), g).compile()
    analysis = compiled.memory_analysis()
    assert analysis.temp_size_in_bytes < 5.1 * g.nbytes
    assert analysis.alias_size_in_bytes > 51 * g.nbytes


def test_what_is_no_transformation():
    with pytest.raises(TypeError, match=r"inner must be an optax\.Grad.* got 'x'"):
        skip_non_finite("x")
    steps = optax.MultiSteps(optax.sgd(0.1), 2)
    with pytest.raises(TypeError, match=r"Pass its \.gradient_transformation\(\)\.$"):
        skip_non_finite(steps)
    skip_non_finite(steps.gradient_transformation())


def test_counters_saturate():
    tx, end = skip_non_finite(optax.identity()), jnp.iinfo(jnp.int32).max
    state = tx.init(jnp.zeros(2))._replace(
        notfinite_count=jnp.int32(end), total_notfinite=jnp.int32(end)
    )
    _, state = tx.update(jnp.full(2, jnp.nan), state)
    assert state.notfinite_count == state.total_notfinite == end
    _, state = tx.update(jnp.ones(2), state)
    assert (state.notfinite_count, state.total_notfinite) == (0, end)
