"""Lanes of one program against runs alone."""

import dataclasses

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
from experiments.engine.train import TrainState, evaluate, initialize, run_chunk
from experiments.settings.config import Config, FilterOptions
from experiments.tasks.modular import ModularTask

TASK = ModularTask(prime=11, width=16, heads=2)
LENGTH = 25


def configs(filter):
    """Lanes that differ in seed, decay and, where there is one, the filter's gain."""
    lambs = [0.5, 2.0, 5.0]
    return [
        Config.of(
            TASK,
            filter=filter,
            window_size=5,
            seed=seed,
            lamb=lamb,
            weight_decay=0.01 * seed,
            batch_size=16,
        )
        for seed, lamb in enumerate(lambs)
    ]


def alone(config, chunks=2):
    static, hyper, data = config.static(), config.traced(), config.task.load()
    state, losses = initialize(static, hyper), []
    for _ in range(chunks):
        state, log = run_chunk(static, LENGTH, hyper, data, state)
        losses.append(log.loss)
    return np.concatenate(losses), evaluate(static, hyper, data, state), state


def together(lanes, way, chunks=2, mesh=None):
    static, hyper = stack(lanes)
    data, state, losses = lanes[0].task.load(), initialize_lanes(static, hyper), []
    for _ in range(chunks):
        state, log = run_chunk_of_lanes(
            static, LENGTH, hyper, data, state, way=way, mesh=mesh
        )
        losses.append(log.loss)
    metrics = evaluate_lanes(static, hyper, data, state, way=way, mesh=mesh)
    return np.concatenate(losses, axis=1), metrics, state


def lane_of(tree, lane):
    return jax.tree.map(lambda a: a[lane], tree)


@pytest.mark.parametrize("filter", ["none", "ma"])
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


@pytest.mark.parametrize("filter", ["ema", "ma"])
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


@pytest.mark.parametrize("way", WAYS)
def test_some_lanes_go_on_without_the_others(way):
    lanes = configs("ma")
    static, hyper = stack(lanes)
    data = TASK.load()
    state = initialize_lanes(static, hyper)
    state, _ = run_chunk_of_lanes(static, LENGTH, hyper, data, state, way=way)
    kept = np.array([2, 0])
    fewer = jax.tree.map(lambda a: a[kept], hyper)
    _, log = run_chunk_of_lanes(static, LENGTH, fewer, data, take(state, kept), way=way)
    whole, _, _ = together(lanes, way)
    np.testing.assert_allclose(log.loss, whole[kept, LENGTH:], rtol=1e-5)


def test_the_step_is_shared_so_that_branches_stay_branches():
    """Under ``vmap`` a branch on a lane's own step would run on both sides."""
    static, hyper = stack(configs("none"))
    state = jax.eval_shape(lambda h: initialize_lanes(static, h), hyper)
    assert isinstance(state, TrainState)
    assert state.step.shape == ()
    data = TASK.load()
    lanes = run_chunk_of_lanes.lower(static, 4, hyper, data, state, way="vmap")
    one = jax.eval_shape(lambda h: initialize(static, h), configs("none")[0].traced())
    alone = run_chunk.lower(static, 4, configs("none")[0].traced(), data, one)
    branches = alone.as_text().count("stablehlo.case")
    assert branches
    assert lanes.as_text().count("stablehlo.case") == branches


def test_lanes_differ_in_what_is_traced_alone():
    lanes = configs("ma")
    wider = dataclasses.replace(
        lanes[0], filter=FilterOptions(filter="ma", window_size=6)
    )
    with pytest.raises(ValueError, match="must agree in what is static"):
        stack([lanes[0], wider])
    _, hyper = stack(lanes)
    assert hyper["seed"].dtype == jnp.uint32
    np.testing.assert_array_equal(hyper["seed"], [0, 1, 2])
