"""Scores of single random batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.engine.train import initialize
from experiments.methods.batches import BatchQuotient, RandomBatch
from experiments.settings.measure import Point
from tests.support.tiny import ONE_BLOCK, config_of, row_of


def quotients(losses, step=0, **options):
    """What is measured of a validation split with these losses."""
    values = {"validation": {"loss": jnp.asarray(losses)}}
    key = jax.random.key(0)
    point = Point(ONE_BLOCK, {}, {}, {}, (), (), key, jnp.int32(step), values)
    found = BatchQuotient(**options)(point)
    return float(found["batch_quotient"]), float(found["lowest_batch_quotient"])


def test_of_equal_losses():
    assert quotients(np.full(50, 64.0)) == (2.0, 2.0)


def test_of_a_split_that_is_smaller_than_a_batch():
    assert quotients(np.arange(4.0), size=32) == (1.5 / 4, 1.5 / 4)


def test_batches_are_drawn_without_replacement_anew_at_every_step():
    """Of losses that are powers of two, the mean tells which were drawn."""
    losses = 2.0 ** np.arange(20)
    pairs = set()
    for step in range(20):
        one, lowest = quotients(losses, step, size=2, count=30)
        assert lowest <= one
        total = round(4 * one)
        assert total.bit_count() == 2, "two different ones"
        pairs.add(total)
    assert len(pairs) > 10


def test_the_lowest_falls_with_the_number_of_batches():
    losses = np.random.default_rng(0).exponential(size=50)
    lowest = [quotients(losses, count=count)[1] for count in (1, 10, 1000)]
    assert lowest[0] > lowest[1] > lowest[2]
    assert lowest[0] == quotients(losses, count=1)[0]


def test_values_of_an_evaluation_are_those_of_the_splits():
    """All 55 as one batch: the validation loss ÷ 55."""
    config = config_of(ONE_BLOCK, measures="batch_quotient:size=1000:count=2")
    data = ONE_BLOCK.load()
    row = row_of(config, data, initialize(config.traced(), data))
    wanted = pytest.approx(float(row["validation_loss"]) / 55, rel=1e-5)
    assert float(row["batch_quotient"]) == wanted
    assert float(row["lowest_batch_quotient"]) == wanted


def test_scores_of_random_batches():
    values = {"loss": jnp.arange(20.0), "accuracy": jnp.arange(20) < 5}
    key = jax.random.key(0)
    point = Point(
        ONE_BLOCK, {}, {}, {}, (), (), key, jnp.int32(3), {"validation": values}
    )
    found = RandomBatch(size=4, count=50)(point)
    assert set(found) == {
        "batch_loss",
        "batch_accuracy",
        "lowest_batch_loss",
        "highest_batch_accuracy",
    }
    assert found["lowest_batch_loss"] < found["batch_loss"]
    assert found["highest_batch_accuracy"] >= 0.5
    assert found["batch_accuracy"] in (0, 0.25, 0.5, 0.75, 1)
    whole = RandomBatch(size=99)(point)
    assert whole["batch_loss"] == whole["lowest_batch_loss"] == 9.5
    assert whole["batch_accuracy"] == whole["highest_batch_accuracy"] == 0.25


def test_a_random_batch_of_a_task_without_accuracy():
    values = {"validation": {"loss": jnp.ones(8)}}
    key = jax.random.key(0)
    point = Point(ONE_BLOCK, {}, {}, {}, (), (), key, jnp.int32(0), values)
    found = RandomBatch()(point)
    assert found == {"batch_loss": 1, "lowest_batch_loss": 1}
