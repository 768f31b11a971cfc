"""Filters in a chain: each does its part in turn, with a state of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.engine.lanes import initialize_lanes, run_chunk_of_lanes, stack, take
from experiments.engine.train import initialize, run_chunk
from experiments.methods.chain import build_filter, build_optimizer
from experiments.methods.ema import Ema
from experiments.methods.ma import Ma
from experiments.methods.observe import ObservedState, state_of
from grokfast_jax import grokfast_ema, grokfast_ma
from tests.support.running import run_scan
from tests.support.tiny import ONE_BLOCK, config_of

CHAINS = {
    "ema+ma": "ema:alpha=0.9:lamb=1.5+ma:window_size=4:lamb=3",
    "ma+ema": "ma:window_size=4:lamb=3+ema:alpha=0.9:lamb=1.5",
    "ema+ema": "ema:alpha=0.9:lamb=1.5+ema:alpha=0.5:lamb=0.5:filter_init=zero",
}
OURS = {
    "ema+ma": lambda: (grokfast_ema(0.9, 1.5), grokfast_ma(4, 3.0)),
    "ma+ema": lambda: (grokfast_ma(4, 3.0), grokfast_ema(0.9, 1.5)),
    "ema+ema": lambda: (
        grokfast_ema(0.9, 1.5),
        grokfast_ema(0.5, 0.5, init="zero"),
    ),
}
DATA = ONE_BLOCK.load()


def gradients(steps=12):
    rng = np.random.default_rng(0)
    return {
        "w": rng.normal(size=(steps, 3, 2)).astype(np.float32),
        "b": rng.normal(size=steps).astype(np.float32),
    }


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_is_the_librarys_filters_one_after_the_other(chain):
    filters = config_of(filter=CHAINS[chain]).filters
    found = run_scan(build_filter(filters), gradients())
    assert_same(found, run_scan(optax.chain(*OURS[chain]()), gradients()))
    single = run_scan(build_filter(filters[:1]), gradients())
    assert np.abs(found["w"] - single["w"]).max() > 0.1


def test_the_order_counts():
    """Linear filters commute, once both are on: the average waits for its window."""
    found = [
        run_scan(build_filter(config_of(filter=CHAINS[chain]).filters), gradients())
        for chain in ("ema+ma", "ma+ema")
    ]
    assert np.abs(found[0]["w"] - found[1]["w"]).max() > 1e-3


@pytest.mark.thorough
def test_the_whole_chain_is_that_of_optax():
    """Clip, filters, decay, Adam, learning rate; the decay is not filtered."""
    config = config_of(
        filter=CHAINS["ema+ma"], weight_decay=0.1, clip_norm=1.0, warmup_steps=2
    )
    tx = build_optimizer(config.traced())
    expected = optax.chain(
        optax.clip_by_global_norm(1.0),
        *OURS["ema+ma"](),
        optax.add_decayed_weights(0.1),
        optax.scale_by_adam(b2=0.98),
        optax.scale_by_learning_rate(lambda step: 1e-3 * jnp.minimum(step, 2) / 2),
    )
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(())}
    states = [tx.init(params), expected.init(params)]
    for t in range(12):
        g = jax.tree.map(lambda a, t=t: jnp.asarray(a[t]), gradients())
        outputs = []
        for number, each in enumerate((tx, expected)):
            updates, states[number] = each.update(g, states[number], params)
            outputs.append(updates)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-9),
            *outputs,
        )
    inner = state_of(states[0], ObservedState).inner
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        inner,
        tuple(states[1][1:3]),
    )


def chains():
    """Lanes that differ in numbers of both filters."""
    return [
        config_of(
            ONE_BLOCK,
            filter=f"ema:alpha={alpha}+ma:window_size=4:lamb={lamb}",
            seed=seed,
        )
        for seed, (alpha, lamb) in enumerate([(0.9, 3.0), (0.5, 1.0), (0.7, 2.0)])
    ]


@pytest.mark.thorough
def test_lanes_take_the_states_of_all_their_filters():
    """Of a chain, too, some lanes go on without the others, as each of them alone."""
    config = stack(chains())
    assert isinstance(config.filters[0], Ema)
    assert isinstance(config.filters[1], Ma)
    np.testing.assert_allclose(config.filters[0].alpha, [0.9, 0.5, 0.7], rtol=1e-6)
    np.testing.assert_allclose(config.filters[1].lamb, [3.0, 1.0, 2.0], rtol=1e-6)
    state = initialize_lanes(config, DATA)
    state, _ = run_chunk_of_lanes(config, 6, DATA, state, way="map")
    kept = np.array([2, 0])
    fewer = jax.tree.map(lambda a: a[kept], config)
    state, log = run_chunk_of_lanes(fewer, 6, DATA, take(state, kept), way="map")
    for slot, lane in enumerate(kept):
        own = chains()[lane].traced()
        alone, _ = run_chunk(own, 6, DATA, initialize(own, DATA))
        alone, losses = run_chunk(own, 6, DATA, alone)
        np.testing.assert_array_equal(log.loss[slot], losses.loss)
        found = jax.tree.map(lambda a, i=slot: a[i], state[1:])
        assert_same(found, alone[1:])
