"""Models with a state of their own: statistics of BatchNorm, dropout's random keys."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.engine.lanes import initialize_lanes, run_chunk_of_lanes, stack
from experiments.engine.state import Keys
from experiments.engine.train import initialize, run_chunk
from experiments.host.loop import SaveEvery
from experiments.methods.named import settings_of
from experiments.settings.files import Files
from experiments.settings.options import options
from experiments.settings.task import Outputs
from experiments.tasks.model_task import ModelTask
from tests.support.tiny import config_of, read, row_of, train


class Normalised(nnx.Module):
    def __init__(self, *, rngs):
        self.hidden = nnx.Linear(3, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.head(self.dropout(nnx.relu(self.norm(self.hidden(x)))))[:, 0]


@options
class StatefulTask(ModelTask):
    """Sums of three numbers."""

    name: ClassVar[str] = "stateful"
    has_accuracy: ClassVar[bool] = False

    def load(self, files=Files()):
        x = np.random.default_rng(0).normal(2.0, 3.0, (48, 3)).astype(np.float32)
        return {"x": x, "y": x.sum(1)}

    def splits(self, data, key):
        order = jax.random.permutation(key, 48)
        return {"train": order[:32], "validation": order[32:]}

    def forward(self, params, model_state, examples, key, *, train):
        y, state = self.apply_with_state(
            params, model_state, examples["x"], train=train
        )
        return Outputs(y), state

    def losses(self, outputs, examples):
        return (outputs.prediction - examples["y"]) ** 2

    def model(self, rngs):
        return Normalised(rngs=rngs)


TASK = StatefulTask()
DATA = TASK.load()


def whole_batch(**options):
    """Every step sees all 32 training examples."""
    return config_of(TASK, batch_size=32, **options)


def numbers(tree):
    """Random keys as numbers, which NumPy can compare."""

    def number(a):
        is_key = jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(a) if is_key else a)

    return jax.tree.map(number, tree)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, numbers(a), numbers(b))


def split_key(config):
    return Keys.from_seed(config.training.seed).split


def start(config):
    return initialize(config.traced(), DATA)


def advanced(config, *lengths):
    state = start(config)
    for length in lengths:
        state, _ = run_chunk(config.traced(), length, DATA, state)
    return state


def test_parameters_are_apart_from_all_else():
    params, state = TASK.init(jax.random.key(0), DATA)
    assert {name: set(part) for name, part in params.items()} == {
        "hidden": {"kernel", "bias"},
        "norm": {"scale", "bias"},
        "head": {"kernel", "bias"},
    }
    assert set(state) == {"norm", "dropout"}
    assert set(state["norm"]) == {"mean", "var"}
    assert set(state["dropout"]["rngs"]) == {"key", "count"}


def test_statistics_follow_the_batches():
    config = whole_batch()
    before, after = start(config), advanced(config, 1)
    rows = np.sort(TASK.splits(DATA, split_key(config))["train"])
    hidden = before.params["hidden"]
    h = DATA["x"][rows] @ np.asarray(hidden["kernel"]) + np.asarray(hidden["bias"])
    statistics = after.model_state["norm"]
    np.testing.assert_allclose(statistics["mean"], 0.1 * h.mean(0), rtol=1e-4)
    np.testing.assert_allclose(statistics["var"], 0.9 + 0.1 * h.var(0), rtol=1e-4)
    assert before.model_state["dropout"]["rngs"]["count"] == 0
    assert after.model_state["dropout"]["rngs"]["count"] == 1


def test_evaluation_takes_the_statistics_and_leaves_them():
    config = whole_batch()
    state = advanced(config, 20)
    p, norm = numbers(state.params), numbers(state.model_state["norm"])
    h = DATA["x"] @ p["hidden"]["kernel"] + p["hidden"]["bias"]
    h = (h - norm["mean"]) / np.sqrt(norm["var"] + 1e-5)
    h = np.maximum(h * p["norm"]["scale"] + p["norm"]["bias"], 0)
    expected = (h @ p["head"]["kernel"] + p["head"]["bias"])[:, 0]
    outputs, after = TASK.forward(
        state.params, state.model_state, DATA, None, train=False
    )
    np.testing.assert_allclose(outputs.prediction, expected, rtol=1e-4, atol=1e-5)
    assert_same(after, state.model_state)
    rows = TASK.splits(DATA, split_key(config))["validation"]
    loss = np.mean((expected - DATA["y"])[rows] ** 2)
    found = row_of(config, DATA, state)
    np.testing.assert_allclose(found["validation_loss"], loss, rtol=1e-4)
    assert_same(row_of(config, DATA, state), found)


def test_dropout_differs_from_step_to_step():
    state = start(whole_batch())
    (first, after), (again, _) = (
        TASK.forward(state.params, state.model_state, DATA, None, train=True)
        for _ in range(2)
    )
    second, _ = TASK.forward(state.params, after, DATA, None, train=True)
    np.testing.assert_array_equal(first.prediction, again.prediction)
    assert np.abs(first.prediction - second.prediction).max() > 0.1


@pytest.mark.thorough
def test_chunks_may_be_cut_anywhere():
    config = config_of(TASK, filter="ema")
    assert_same(advanced(config, 6), advanced(config, 2, 4))


@pytest.mark.thorough
def test_lanes_have_states_of_their_own():
    configs = [config_of(TASK, seed=seed) for seed in range(2)]
    config = stack(configs)
    state = initialize_lanes(config, DATA)
    state, _ = run_chunk_of_lanes(config, 6, DATA, state, way="map")
    for lane, own in enumerate(configs):
        found = jax.tree.map(lambda a, i=lane: a[i], state[1:])
        assert_same(found, advanced(own, 6)[1:])


@pytest.mark.thorough
def test_a_run_goes_on_with_the_same_numbers(tmp_path):
    def settings(steps):
        return settings_of(TASK, steps=steps, eval_every=5, batch_size=16)

    often = SaveEvery(steps=5)
    train(tmp_path / "whole", settings(20), save_every=often)
    for steps in (10, 20):
        train(tmp_path / "parts", settings(steps), save_every=often)
    (whole, rows), (parts, same) = (read(tmp_path / n) for n in ("whole", "parts"))
    assert rows == same
    assert whole["parameters_sha256"] == parts["parameters_sha256"]
