"""The filters against their definitions: golden records, NumPy twin, exact checks."""

from pathlib import Path

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
from tests.support import twin
from tests.support.running import run_eager, run_jit, run_scan

GOLDEN = Path(__file__).parents[1] / "support" / "filters_golden.npz"
GOLDEN_CASES = {
    "ema_a098_l2": grokfast_ema(0.98, 2.0),
    "ema_a08_l01": grokfast_ema(0.8, 0.1),
    "ema_a0_l5": grokfast_ema(0.0, 5.0),
    "ma_w5_l5": grokfast_ma(5, 5.0),
    "ma_w100_l5": grokfast_ma(100, 5.0),
    "ma_w1": grokfast_ma(1, 5.0),
    "ma_w7_l2_nowarmup": grokfast_ma(7, 2.0, warmup=False),
    "ma_w4_sum": grokfast_ma(4, 0.5, filter_type="sum"),
    "ma_w6_trigger": grokfast_ma(6, 5.0, start_step=1000),
}


def gradients(steps=300, shape=(5, 3), seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(steps, *shape)).astype(dtype)


def scalars(values):
    return np.asarray(values, np.float64)[:, None]


@pytest.mark.thorough
@pytest.mark.parametrize("run", [run_eager, run_scan])
@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_published_implementation(case, run):
    with np.load(GOLDEN) as golden:
        inputs, expected = (
            {leaf: golden[f"{case}/{side}/{leaf}"] for leaf in "wbk"}
            for side in ("in", "out")
        )
    outputs = run(GOLDEN_CASES[case], inputs)
    for leaf in "wbk":
        np.testing.assert_allclose(outputs[leaf], expected[leaf], rtol=2e-6, atol=2e-6)


def test_golden_file_has_no_further_case():
    with np.load(GOLDEN) as golden:
        assert {name.split("/")[0] for name in golden} == set(GOLDEN_CASES)


SCHEDULE = optax.linear_schedule(0.5, 0.99, 200)
ALPHAS = np.array([float(SCHEDULE(t)) for t in range(300)])
TWINS = {
    "ema": (grokfast_ema(0.98, 2.0), lambda g: twin.grokfast_ema(g, 0.98, 2.0)),
    "ema zero": (
        grokfast_ema(0.9, 0.7, init="zero"),
        lambda g: twin.grokfast_ema(g, 0.9, 0.7, init="zero"),
    ),
    "ema normalized": (
        grokfast_ema(0.9, 3.0, start_step=7, normalize=True),
        lambda g: twin.grokfast_ema(g, 0.9, 3.0, start_step=7, normalize=True),
    ),
    "ema scheduled": (
        grokfast_ema(SCHEDULE, lambda count: 0.01 * count),
        lambda g: twin.grokfast_ema(g, ALPHAS, 0.01 * np.arange(300)),
    ),
    "ema debiased": (
        exponential_moving_average(0.97, init="zero", debias=True),
        lambda g: twin.ema(g, 0.97, init="zero", debias=True),
    ),
    "ema scheduled and debiased": (
        exponential_moving_average(SCHEDULE, init="zero", debias=True),
        lambda g: twin.ema(g, ALPHAS, init="zero", debias=True),
    ),
    "optax.ema amplified": (
        amplify(optax.ema(0.9, debias=False), 2.0),
        lambda g: twin.grokfast_ema(g, 0.9, 2.0, init="zero"),
    ),
    "ma": (grokfast_ma(30, 5.0), lambda g: twin.grokfast_ma(g, 30, 5.0)),
    "ma zero start": (moving_average(9), lambda g: twin.ma(g, 9)),
    "ma partial start": (
        moving_average(9, start="partial"),
        lambda g: twin.ma(g, 9, start="partial"),
    ),
    "ma late": (
        grokfast_ma(10, 5.0, start_step=60),
        lambda g: twin.grokfast_ma(g, 10, 5.0, start_step=60),
    ),
    "ma late without warm-up": (
        grokfast_ma(10, 5.0, warmup=False, start_step=4),
        lambda g: twin.grokfast_ma(g, 10, 5.0, warmup=False, start_step=4),
    ),
    "ma sum normalized": (
        grokfast_ma(12, 0.3, filter_type="sum", normalize=True),
        lambda g: twin.grokfast_ma(g, 12, 0.3, filter_type="sum", normalize=True),
    ),
    "ma sum without warm-up": (
        grokfast_ma(12, 0.3, filter_type="sum", warmup=False),
        lambda g: twin.grokfast_ma(g, 12, 0.3, filter_type="sum", warmup=False),
    ),
    "ma sum scheduled": (
        grokfast_ma(4, lambda count: 0.01 * count, filter_type="sum"),
        lambda g: twin.grokfast_ma(g, 4, 0.01 * np.arange(300), "sum"),
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize("run", [run_eager, run_jit, run_scan])
@pytest.mark.parametrize("name", TWINS)
def test_equals_numpy_twin(name, run):
    tx, reference = TWINS[name]
    g = gradients()
    np.testing.assert_allclose(run(tx, g), reference(g), rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("w", range(1, 13))
def test_every_small_window_equals_numpy_twin(w):
    g, reference = gradients(), twin.grokfast_ma(gradients(), w, 2.0)
    out = run_scan(grokfast_ma(w, 2.0), g)
    np.testing.assert_allclose(out, reference, rtol=1e-5, atol=3e-6)


def test_lanes_equal_single_runs():
    g = gradients()
    alphas, lambs = jnp.array([0.0, 0.5, 0.98]), jnp.array([2.0, 0.0, 5.0])
    ema = jax.vmap(lambda a, lamb: run_scan(grokfast_ema(a, lamb), g))(alphas, lambs)
    ma = jax.vmap(lambda lamb: run_scan(grokfast_ma(7, lamb), g))(lambs)
    for lane, (a, lamb) in enumerate(zip(alphas, lambs, strict=True)):
        close = {"rtol": 1e-5, "atol": 3e-6}
        reference = twin.grokfast_ema(g, float(a), float(lamb))
        np.testing.assert_allclose(ema[lane], reference, **close)
        reference = twin.grokfast_ma(g, 7, float(lamb))
        np.testing.assert_allclose(ma[lane], reference, **close)


def test_lanes_with_counters_of_their_own():
    g, w = gradients(steps=40), 5
    tx = moving_average(w)
    states = []
    for lane in range(3):  # lane k has already seen k gradients
        state = tx.init(g[0])
        for t in range(lane):
            _, state = tx.update(jnp.asarray(g[t]), state)
        states.append(state)
    state = jax.tree.map(lambda *a: jnp.stack(a), *states)
    update = jax.jit(jax.vmap(tx.update))
    reference = twin.ma(g, w)
    for t in range(30):
        out, state = update(jnp.stack([g[t + lane] for lane in range(3)]), state)
        expected = np.stack([reference[t + lane] for lane in range(3)])
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_impulse_response(x64):
    impulse = scalars([1.0] + [0.0] * 49)
    t = np.arange(50)
    ema = run_scan(grokfast_ema(0.9, 2.0, init="zero"), impulse)
    expected = scalars(2.0 * 0.1 * 0.9**t + (t == 0))
    np.testing.assert_allclose(ema, expected, rtol=1e-14)
    ma = run_scan(amplify(moving_average(20), 3.0), impulse)
    expected = scalars(3.0 / 20 * (t < 20) + (t == 0))
    np.testing.assert_allclose(ma, expected, rtol=1e-14)


def test_gain_at_dc(x64):
    ones = scalars(np.ones(200))
    t = np.arange(200)
    published = run_scan(grokfast_ema(0.98, 2.0), ones)
    np.testing.assert_allclose(published, 3.0, rtol=1e-14)
    ramp = run_scan(grokfast_ema(0.98, 2.0, init="zero"), ones)
    expected = scalars(1 + 2.0 * (1 - 0.98 ** (t + 1)))
    np.testing.assert_allclose(ramp, expected, rtol=1e-13)
    ma = run_scan(grokfast_ma(30, 5.0), ones)
    np.testing.assert_allclose(ma, scalars(np.where(t < 29, 1.0, 6.0)), rtol=1e-14)


@pytest.mark.parametrize("init", ["first_gradient", "zero"])
def test_normalized_gain_at_dc_is_one(init):
    ones = np.ones((300, 1), np.float32)
    out = run_scan(grokfast_ema(0.9, 2.0, init=init, normalize=True), ones)
    np.testing.assert_allclose(out[-1], 1.0, rtol=1e-6)
    for options in ({}, {"warmup": False}, {"filter_type": "sum"}):
        out = run_scan(grokfast_ma(8, 2.0, normalize=True, **options), ones)
        np.testing.assert_allclose(out[-1], 1.0, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_nulls_of_the_moving_average(k, x64):
    w, t = 10, np.arange(60)
    wave = scalars(np.cos(2 * np.pi * k * t / w))
    out = run_scan(grokfast_ma(w, 5.0), wave)
    np.testing.assert_allclose(out[w - 1 :], wave[w - 1 :], atol=1e-14)


def test_gain_at_nyquist(x64):
    wave = scalars((-1.0) ** np.arange(3000))
    ema = run_scan(grokfast_ema(0.98, 2.0), wave)
    np.testing.assert_allclose(ema[-1] / wave[-1], 1 + 2 * 0.02 / 1.98, rtol=1e-12)
    ma = run_scan(grokfast_ma(8, 5.0), wave)
    np.testing.assert_allclose(ma[-10:], wave[-10:], atol=1e-14)


@pytest.mark.parametrize("init", ["first_gradient", "zero"])
def test_quasi_hyperbolic_identity(init, x64):
    g, lamb = gradients(dtype=np.float64), 2.0
    nu = lamb / (1 + lamb)
    slow = run_scan(exponential_moving_average(0.98, init=init), g)
    expected = (1 + lamb) * ((1 - nu) * g + nu * slow)
    out = run_scan(grokfast_ema(0.98, lamb, init=init), g)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", [grokfast_ema, grokfast_ma])
def test_no_gain_is_the_bare_optimizer_bit_for_bit(make):
    g = gradients(steps=150)
    filtered = run_scan(optax.chain(make(lamb=0.0), optax.adam(1e-3)), g)
    np.testing.assert_array_equal(filtered, run_scan(optax.adam(1e-3), g))


@pytest.mark.parametrize("make", [grokfast_ema, grokfast_ma])
def test_a_traced_gain_of_zero_keeps_the_gradients(make):
    g = gradients(steps=150)
    out = jax.jit(lambda lamb: run_scan(make(lamb=lamb), g))(0.0)
    np.testing.assert_array_equal(out, g)


def test_no_memory_is_a_larger_gradient():
    # Gradients of very different sizes: nothing of the old ones may remain.
    g = gradients(steps=50) * np.logspace(6, -6, 50, dtype=np.float32)[:, None, None]
    out = run_scan(grokfast_ema(0.0, 2.0), g)
    np.testing.assert_allclose(out, 3 * g, rtol=1e-6)


def test_warm_up_of_the_moving_average():
    g, w = gradients(steps=20), 6
    out = run_scan(grokfast_ma(w, 5.0), g)
    np.testing.assert_array_equal(out[: w - 1], g[: w - 1])
    np.testing.assert_allclose(
        out[w - 1], g[w - 1] + 5.0 * g[:w].mean(0), rtol=1e-5, atol=1e-6
    )


def test_two_stages():
    g = gradients(steps=520, shape=(4,))
    out = run_scan(grokfast_ma(100, 5.0, start_step=500), g)
    np.testing.assert_array_equal(out[:500], g[:500])
    expected = g[500] + 5.0 * g[401:501].mean(0)
    np.testing.assert_allclose(out[500], expected, rtol=1e-5, atol=1e-6)


def test_sizes_of_the_state():
    params = {"w": jnp.zeros((30, 20)), "b": jnp.zeros(20)}

    def copies(tx):
        leaves = jax.tree.leaves(tx.init(params))
        return sum(leaf.nbytes for leaf in leaves if leaf.ndim) / (620 * 4)

    assert copies(grokfast_ema()) == 1
    assert copies(grokfast_ma(window_size=10)) == 10 + 3


@pytest.mark.parametrize("tx", [grokfast_ema(), grokfast_ma(7)], ids=["ema", "ma"])
@pytest.mark.parametrize("stop", [1, 3, 10])
def test_a_copied_state_continues_bit_for_bit(tx, stop):
    g = gradients(steps=25)
    whole = run_jit(tx, g)
    state, update = tx.init(g[0]), jax.jit(tx.update)
    for t in range(stop):
        _, state = update(jnp.asarray(g[t]), state)
    leaves, tree = jax.tree.flatten(state)
    state = jax.tree.unflatten(tree, [jnp.asarray(np.array(leaf)) for leaf in leaves])
    for t in range(stop, 25):
        out, state = update(jnp.asarray(g[t]), state)
        np.testing.assert_array_equal(out, whole[t])


@pytest.mark.parametrize(
    "tx",
    [
        grokfast_ema(0.9, 2.0, init="zero"),
        exponential_moving_average(0.9, init="zero"),
        moving_average(6),
        amplify(moving_average(6), 5.0),
    ],
    ids=["grokfast_ema", "ema", "ma", "amplified ma"],
)
def test_linear_and_time_invariant(tx, x64):
    g1, g2 = gradients(60, dtype=np.float64), gradients(60, seed=1, dtype=np.float64)
    close = {"rtol": 1e-12, "atol": 1e-13}
    out = run_scan(tx, g1)
    combined = run_scan(tx, 2.0 * g1 - 3.0 * g2)
    np.testing.assert_allclose(combined, 2.0 * out - 3.0 * run_scan(tx, g2), **close)
    shifted = run_scan(tx, np.concatenate([np.zeros_like(g1[:11]), g1]))
    np.testing.assert_allclose(shifted[11:], out, **close)


@pytest.mark.parametrize("w", [10, 100])
def test_moving_average_does_not_drift(w):
    """100,000 steps in which the gradients shrink by 10⁶, against float64 sums."""
    steps, shape = 100_000, (8,)
    decay = np.logspace(0, -6, steps)[:, None]
    g = (gradients(steps, shape) * decay).astype(np.float32)
    out = np.asarray(run_scan(moving_average(w), g), np.float64)
    sums = np.cumsum(np.concatenate([np.zeros((1, *shape)), g.astype(np.float64)]), 0)
    reference = (sums[w:] - sums[:-w]) / w
    size = np.abs(g).mean(axis=1)
    recent = np.array([size[max(0, t - 2 * w + 1) : t + 1].max() for t in range(steps)])
    error = np.abs(out[w - 1 :] - reference).max(axis=1) / recent[w - 1 :]
    assert error.max() <= 2e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("at", range(8))
def test_moving_average_forgets_what_is_not_finite(bad, at):
    w, g = 4, gradients(steps=40)
    g[at] = bad
    out = run_scan(moving_average(w), g)
    assert not np.isfinite(out[at]).any()
    end = at + 2 * w
    clean = twin.ma(g[at + 1 :], w)[end - at - 1 :]
    np.testing.assert_allclose(out[end:], clean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("w", [1, 100, 400])
@pytest.mark.parametrize("lanes", [None, 4])
def test_temporary_memory_of_the_update(w, lanes):
    params = {"w": jnp.zeros((200, 500)), "b": jnp.zeros(500)}
    batch = jax.vmap if lanes else jax.jit
    if lanes:
        params = jax.tree.map(lambda p: jnp.zeros((lanes, *p.shape)), params)
    for tx in (grokfast_ma(w), grokfast_ema()):
        state = jax.eval_shape(batch(tx.init), params)
        update = jax.jit(batch(tx.update), donate_argnums=1)
        analysis = update.lower(params, state).compile().memory_analysis()
        copies = analysis.temp_size_in_bytes / sum(
            p.nbytes for p in jax.tree.leaves(params)
        )
        assert copies <= 2
        donated = sum(
            leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)
        )
        assert analysis.alias_size_in_bytes >= donated  # the window stays in place


@pytest.mark.parametrize("tx", [grokfast_ema(), grokfast_ma(7)], ids=["ema", "ma"])
def test_complex_gradients_are_filtered_in_both_parts(tx):
    real, imaginary = gradients(steps=30), gradients(steps=30, seed=1)
    out = run_scan(tx, (real + 1j * imaginary).astype(np.complex64))
    expected = run_scan(tx, real) + 1j * run_scan(tx, imaginary)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
