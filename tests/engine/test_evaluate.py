"""Scores of named splits, scores that are no means, and starts from given weights."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.engine.evaluate import evaluate
from experiments.engine.train import initialize, run_chunk
from experiments.methods.measures import weight_norms
from experiments.methods.named import settings_of
from experiments.methods.observe import ObservedState, observe, state_of
from experiments.settings.measure import Measure
from experiments.settings.options import options
from experiments.settings.task import Outputs, Task

WEIGHTS = np.random.default_rng(1).normal(size=(50, 40)).astype(np.float32)
DUE = (True, True)


@options
class Given(Task):
    """A linear map from given weights; three splits; an F1 score of the sign."""

    name: ClassVar[str] = "given"

    def load(self, files=None):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(30, 50)).astype(np.float32)
        return {"x": x, "positive": rng.random(30) < 0.4, "weights": WEIGHTS}

    def splits(self, data, key):
        rows = jnp.arange(30)
        return {"train": rows[:12], "validation": rows[12:25], "test": rows[25:]}

    def take(self, data, rows):
        return {name: data[name][rows] for name in ("x", "positive")}

    def init(self, key, data):
        return {"w": data["weights"]}, ()

    def forward(self, params, model_state, examples, key, *, train):
        return Outputs(jnp.mean(examples["x"] @ params["w"], axis=1)), model_state

    def losses(self, outputs, examples):
        return (outputs.prediction - examples["positive"]) ** 2

    def values(self, outputs, examples):
        found, wanted = outputs.prediction > 0, examples["positive"]
        return {
            "loss": self.losses(outputs, examples),
            "true": found & wanted,
            "found": found,
            "wanted": wanted,
        }

    def score(self, values, dtype):
        sums = {name: jnp.sum(v, dtype=dtype) for name, v in values.items()}
        f1 = 2 * sums["true"] / (sums["found"] + sums["wanted"])
        return {"loss": jnp.mean(values["loss"], dtype=dtype), "f1": f1}


@pytest.fixture(scope="module")
def started():
    config = settings_of(Given(), batch_size=5).config.traced()
    data = jax.device_put(Given().load())
    return config, data, initialize(config, data)


def test_scores_that_are_no_means_of_examples_on_every_split(started):
    config, data, state = started
    scores = evaluate(config, data, state, DUE).scores
    assert set(scores) == {
        f"{split}_{name}"
        for split in ("train", "validation", "test")
        for name in ("loss", "f1")
    }
    truth = Given().load()
    found = truth["x"] @ WEIGHTS
    positive = found.mean(axis=1) > 0
    for split, rows in (("train", slice(12)), ("test", slice(25, 30))):
        both = (positive & truth["positive"])[rows].sum()
        f1 = 2 * both / (positive[rows].sum() + truth["positive"][rows].sum())
        np.testing.assert_allclose(scores[f"{split}_f1"], f1, rtol=1e-6)
        loss = (found.mean(axis=1) - truth["positive"])[rows] ** 2
        np.testing.assert_allclose(scores[f"{split}_loss"], loss.mean(), rtol=1e-5)


def test_given_weights_are_the_start_and_no_constants_of_a_program(started):
    config, data, state = started
    np.testing.assert_array_equal(state.params["w"], WEIGHTS)
    number = f"{WEIGHTS[0, 0]:.6e}"[:6]
    for program in (
        initialize.lower(config, data),
        run_chunk.lower(config, 3, data, state),
        evaluate.lower(config, data, state, DUE),
    ):
        text = program.as_text()
        assert 'dense<"0x' not in text  # constants of many numbers
        assert number not in text


def test_evaluation_copies_no_data(started):
    """Splits are rows: what the program needs beside its arguments is a batch's."""
    config, _, state = started
    big = {name: np.repeat(a, 2000, 0) for name, a in Given().load().items()}
    big["weights"] = WEIGHTS
    program = evaluate.lower(config, big, state, DUE).compile()
    size = sum(a.nbytes for a in big.values())
    assert program.memory_analysis().temp_size_in_bytes < size / 20


@options
class Shifted(Given):
    """Scores few rows, with a shift taken over those to train on."""

    name: ClassVar[str] = "shifted"
    evaluation_batch: ClassVar[int] = 4

    def init(self, key, data):
        return super().init(key, data)[0], {"shift": jnp.zeros(())}

    def scored(self, splits):
        return splits | {"train": splits["train"][::4]}

    def evaluation_state(self, params, model_state, data, splits):
        examples = self.take(data, splits["train"])
        found = super().forward(params, (), examples, None, train=False)[0]
        return {"shift": jnp.mean(found.prediction)}

    def forward(self, params, model_state, examples, key, *, train):
        outputs, _ = super().forward(params, (), examples, key, train=train)
        assert train or len(examples["x"]) <= self.evaluation_batch
        return Outputs(outputs.prediction - model_state["shift"]), model_state


@options
class Seen(Measure):
    """What a measure is shown."""

    name: ClassVar[str] = "seen"

    def __call__(self, point):
        shift = point.model_state["shift"]
        return {"rows": jnp.int32(len(point.splits["train"])), "shift": shift}


def test_a_task_chooses_what_is_scored_and_with_which_state():
    task = Shifted()
    config = dataclasses.replace(settings_of(task).config, measures=(Seen(),)).traced()
    data = jax.device_put(task.load())
    state = initialize(config, data)
    row = evaluate(config, data, state, (True,)).row((True,))
    truth = task.load()
    found = (truth["x"] @ WEIGHTS).mean(axis=1)
    shift = found[:12].mean()
    loss = (found - shift - truth["positive"]) ** 2
    for split, rows in (("train", slice(0, 12, 4)), ("validation", slice(12, 25))):
        np.testing.assert_allclose(row[f"{split}_loss"], loss[rows].mean(), rtol=1e-5)
    assert row["rows"] == 3
    np.testing.assert_allclose(row["shift"], shift, rtol=1e-5)
    assert state.model_state["shift"] == 0  # training goes on with its own


def test_weight_norms_of_sequences_and_fields():
    tree = {
        "a": [jnp.ones(4), (jnp.ones(9),)],
        "b": optax.EmptyState(),
        "c": jnp.ones(1),
    }
    found = {name: float(value) for name, value in weight_norms(tree).items()}
    assert found == {
        "weight_norm": np.float32(np.sqrt(14)),
        "weight_norm_a_0": 2,
        "weight_norm_a_1": 3,
        "weight_norm_c": 1,
    }
    inner = optax.ScaleByScheduleState(jnp.float32(3.0))
    assert float(weight_norms({"x": inner})["weight_norm_x"]) == 3


def test_a_state_is_found_by_its_type_whatever_others_call_their_fields():
    class Other(NamedTuple):
        inner: jax.Array
        gradient_norm: jax.Array
        filter_share: jax.Array
        filter_cosine: jax.Array
        projections: jax.Array

    other = Other(*(jnp.float32(i) for i in range(5)))
    observed = observe(optax.identity()).init(jnp.ones(2))
    found = state_of((other, (observed, other)), ObservedState)
    assert found is observed
    for states, count in (((other,), 0), ((observed, observed), 2)):
        with pytest.raises(ValueError, match=f"{count} states of ObservedState"):
            state_of(states, ObservedState)
