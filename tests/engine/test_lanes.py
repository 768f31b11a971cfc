"""Lanes of one program against runs alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.engine.lanes import (
    WAYS,
    evaluate_lanes,
    initialize_lanes,
    run_chunk_of_lanes,
    stack,
    take,
)
from experiments.engine.state import TrainState
from experiments.engine.train import initialize, run_chunk
from tests.support.tiny import TASK, config_of, due, row_of

LENGTH = 25


def configs(filter):
    """Lanes that differ in seed, decay and, where there is one, the filter's gain."""
    lambs = [0.5, 2.0, 5.0]
    return [
        config_of(
            filter=filter,
            window_size=5,
            seed=seed,
            lamb=lamb,
            weight_decay=0.01 * seed,
        )
        for seed, lamb in enumerate(lambs)
    ]


def alone(config, chunks=2):
    data = config.task.load()
    state, losses = initialize(config.traced(), data), []
    for _ in range(chunks):
        state, log = run_chunk(config.traced(), LENGTH, data, state)
        losses.append(log.loss)
    return np.concatenate(losses), row_of(config, data, state), state


def together(lanes, way, chunks=2, mesh=None):
    config, data = stack(lanes), lanes[0].task.load()
    state, losses = initialize_lanes(config, data), []
    for _ in range(chunks):
        state, log = run_chunk_of_lanes(config, LENGTH, data, state, way=way, mesh=mesh)
        losses.append(log.loss)
    every = due(lanes[0])
    evaluation = evaluate_lanes(config, data, state, every, way=way, mesh=mesh)
    return np.concatenate(losses, axis=1), evaluation.row(every), state


def lane_of(tree, lane):
    return jax.tree.map(lambda a: a[lane], tree)


@pytest.mark.parametrize(
    "filter", ["none", pytest.param("ma", marks=pytest.mark.thorough)]
)
def test_looped_lanes_are_the_runs_alone_bit_for_bit(filter):
    lanes = configs(filter)
    losses, metrics, state = together(lanes, "map")
    assert int(state.step) == 2 * LENGTH
    for lane, config in enumerate(lanes):
        expected, expected_metrics, final = alone(config)
        np.testing.assert_array_equal(losses[lane], expected)
        jax.tree.map(np.testing.assert_array_equal, lane_of(state[1:], lane), final[1:])
        jax.tree.map(
            np.testing.assert_array_equal, lane_of(metrics, lane), expected_metrics
        )


@pytest.mark.thorough
@pytest.mark.parametrize("filter", [pytest.param("ema", marks=pytest.mark.slow), "ma"])
def test_batched_lanes_are_the_runs_alone_to_rounding(filter):
    lanes = configs(filter)
    losses, metrics, _ = together(lanes, "vmap")
    for lane, config in enumerate(lanes):
        expected, expected_metrics, _ = alone(config)
        np.testing.assert_allclose(losses[lane], expected, rtol=1e-5)
        for name in ("train_loss", "validation_loss", "weight_norm"):
            np.testing.assert_allclose(
                metrics[name][lane], expected_metrics[name], rtol=1e-5
            )


@pytest.mark.thorough
@pytest.mark.parametrize("way", WAYS)
def test_some_lanes_go_on_without_the_others(way):
    lanes = configs("ma")
    config, data = stack(lanes), TASK.load()
    state = initialize_lanes(config, data)
    state, _ = run_chunk_of_lanes(config, LENGTH, data, state, way=way)
    kept = np.array([2, 0])
    fewer = jax.tree.map(lambda a: a[kept], config)
    _, log = run_chunk_of_lanes(fewer, LENGTH, data, take(state, kept), way=way)
    whole, _, _ = together(lanes, way)
    np.testing.assert_allclose(log.loss, whole[kept, LENGTH:], rtol=1e-5)


def test_the_step_is_shared_so_that_branches_stay_branches():
    """Under ``vmap`` a branch on a lane's own step would run on both sides."""
    config, data = stack(configs("none")), TASK.load()
    state = jax.eval_shape(initialize_lanes, config, data)
    assert isinstance(state, TrainState)
    assert state.step.shape == ()
    lanes = run_chunk_of_lanes.lower(config, 4, data, state, way="vmap")
    # A new epoch's order, its shorter last batch, the update that is observed.
    assert lanes.as_text().count("stablehlo.case") == 3


def test_lanes_differ_in_what_is_traced_alone():
    lanes = configs("ma")
    wider = config_of(filter="ma", window_size=6)
    with pytest.raises(ValueError, match="must agree in what is static"):
        stack([lanes[0], wider])
    config = stack(lanes)
    assert config.training.seed.dtype == jnp.uint32
    np.testing.assert_array_equal(config.training.seed, [0, 1, 2])
    np.testing.assert_array_equal(config.filters[0].lamb, [0.5, 2.0, 5.0])
