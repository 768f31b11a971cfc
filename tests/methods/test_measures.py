"""Measures: taken at their own cadence, and without any part in the training."""

import dataclasses
from typing import ClassVar

import jax
import numpy as np
import pytest

from experiments.engine.evaluate import evaluate
from experiments.engine.lanes import evaluate_lanes, initialize_lanes, stack
from experiments.engine.train import initialize, run_chunk
from experiments.methods.named import settings_of
from experiments.settings.measure import Measure
from experiments.settings.options import options
from tests.support.tiny import ONE_BLOCK, TASK, config_of, read, row_of, train

DATA = ONE_BLOCK.load()
SPARSE = "weight_norm:every=3+filter_effect"
OF_FILTER = ("gradient_norm", "filter_share", "filter_cosine")


def settings(**given):
    values = {"filter": "ema", "steps": 40, "eval_every": 5, "batch_size": 16}
    return settings_of(ONE_BLOCK, **values | given)


@pytest.mark.thorough
def test_measured_at_every_third_evaluation(tmp_path):
    """Evaluations 0 to 8."""
    every = train(tmp_path / "every", settings(), DATA).metrics()
    sparse = train(tmp_path / "sparse", settings(measures=SPARSE), DATA).metrics()
    assert list(sparse) == list(every)
    norms = [name for name in sparse if name.startswith("weight_norm")]
    assert len(norms) > 2
    for name, values in sparse.items():
        expected = every[name].astype(float)
        if name in norms:
            expected[[1, 2, 4, 5, 7, 8]] = np.nan
        np.testing.assert_array_equal(values, expected)


@pytest.mark.thorough
def test_the_last_evaluation_may_be_off_the_grid(tmp_path):
    given = settings(measures=SPARSE, steps=23)
    metrics = train(tmp_path, given, DATA).metrics()
    np.testing.assert_array_equal(metrics["step"], [0, 5, 10, 15, 20, 23])
    measured = np.isfinite(metrics["weight_norm"])
    np.testing.assert_array_equal(measured, [1, 0, 0, 1, 0, 1])
    assert np.isfinite(metrics["gradient_norm"][1:]).all()
    assert np.isnan(metrics["gradient_norm"][0])  # no gradient before step 0


@pytest.mark.thorough
def test_the_training_is_the_same_whatever_is_measured(tmp_path):
    ran = {
        measures: train(tmp_path / str(number), settings(measures=measures), DATA)
        for number, measures in enumerate(
            ["weight_norm+filter_effect", SPARSE, "filter_effect", "weight_norm"]
        )
    }
    hashes = {run.summary()["parameters_sha256"] for run in ran.values()}
    assert len(hashes) == 1
    first, *others = (run.metrics() for run in ran.values())
    for metrics in others:
        for name in metrics:
            if name.startswith(("train_", "validation_")):
                np.testing.assert_array_equal(metrics[name], first[name])
    assert not set(OF_FILTER) & ran["weight_norm"].metrics().keys()
    assert not [n for n in ran["filter_effect"].metrics() if n.startswith("weight")]


def test_debuggers_of_nan_and_infinity_find_none_and_change_nothing(tmp_path):
    """Not even what is not measured yet is a NaN before it is in the record."""
    plain = train(tmp_path / "plain", settings(), DATA)
    with jax.debug_nans(True), jax.debug_infs(True):
        watched = train(tmp_path / "watched", settings(), DATA)
    (a, rows), (b, watched_rows) = read(plain.path), read(watched.path)
    assert rows == watched_rows
    assert a["parameters_sha256"] == b["parameters_sha256"]
    assert rows.lower().splitlines()[1].count("nan") == len(OF_FILTER)


def test_more_steps_give_the_rows_of_the_whole_run(tmp_path):
    for path, steps in (("whole", 40), ("parts", 20), ("parts", 40)):
        train(tmp_path / path, settings(measures=SPARSE, steps=steps), DATA)
    assert read(tmp_path / "whole")[1] == read(tmp_path / "parts")[1]


CALLS = []


@options
class Counted(Measure):
    """Counts how often it is taken; its number is random."""

    name: ClassVar[str] = "counted"

    def __call__(self, point):
        number = jax.random.normal(point.key)
        jax.debug.callback(CALLS.append, number)
        assert set(point.splits) == {"train", "validation"}
        examples = point.task.take(point.data, point.splits["train"])
        assert examples["tokens"].shape == (55, 4)
        return {"random": number}


def counted(**given):
    return dataclasses.replace(config_of(ONE_BLOCK, **given), measures=(Counted(3),))


def test_what_is_not_due_costs_nothing():
    CALLS.clear()
    config = counted().traced()
    state = initialize(config, DATA)
    dues = (True, False, True)
    found = [evaluate(config, DATA, state, (due,)) for due in dues]
    jax.effects_barrier()
    assert len(CALLS) == 2
    pairs = zip(found, dues, strict=True)
    values = [each.row((due,))["random"] for each, due in pairs]
    assert np.isnan(values[1])
    assert values[0] == values[2] != 0  # one key for all evaluations of a seed
    assert float(found[1].measures[0]["random"]) == 0


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["vmap", "map"])
def test_what_is_not_due_costs_nothing_in_lanes_either(way):
    """A branch on what all lanes share stays a branch."""
    CALLS.clear()
    config = stack([counted(seed=seed) for seed in range(2)])
    state = initialize_lanes(config, DATA)
    for due in (False, True, False):
        evaluation = evaluate_lanes(config, DATA, state, (due,), way=way)
        jax.block_until_ready(evaluation)
    jax.effects_barrier()
    assert len(CALLS) == 2
    assert evaluation.measures[0]["random"].shape == (2,)


@pytest.mark.thorough
@pytest.mark.parametrize("filter", ["none", "ema"])
def test_effect_of_the_filter_on_the_first_gradient(filter):
    """ĝ = (1 + λ)·g: the filter's share is λ/(1 + λ), the direction that of g."""
    config = config_of(filter=filter, lamb=3.0, optimizer="sgd", warmup_steps=0)
    data = TASK.load()
    start = initialize(config.traced(), data)
    before = row_of(config, data, start)
    assert all(np.isnan(before[name]) for name in OF_FILTER)
    params = jax.tree.map(np.array, start.params)
    state, _ = run_chunk(config.traced(), 1, data, start)
    row = row_of(config, data, state)
    gain = 4.0 if filter == "ema" else 1.0
    moved = jax.tree.map(lambda a, b: np.sum((a - b) ** 2), params, state.params)
    norm = np.sqrt(sum(jax.tree.leaves(moved))) / 1e-3
    np.testing.assert_allclose(row["gradient_norm"], norm / gain, rtol=1e-3)
    np.testing.assert_allclose(row["filter_share"], 1 - 1 / gain, atol=1e-6)
    np.testing.assert_allclose(row["filter_cosine"], 1.0, rtol=1e-6)
