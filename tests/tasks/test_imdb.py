"""The IMDb task: its vocabulary, its split, its numbers, its runs."""

import collections
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.data.imdb import load_imdb
from experiments.engine.lanes import WAYS, initialize_lanes, run_chunk_of_lanes, stack
from experiments.engine.state import Keys
from experiments.engine.train import initialize, run_chunk
from experiments.methods.named import settings_of
from experiments.settings.files import Files
from experiments.settings.options import options
from experiments.settings.presets import PRESETS
from experiments.settings.task import Outputs
from experiments.tasks.imdb import ImdbTask, binary_cross_entropy, encoded
from experiments.tasks.vocabulary import numbers_of_words, padded_in_front
from tests.support.tiny import config_of, read, row_of, train


def some_texts(count, seed=0):
    """Texts of up to 9 of 20 words, the first letters being frequent ones."""
    rng = np.random.default_rng(seed)
    letters = np.array([f"word{n}" for n in range(20)])
    lengths = rng.integers(0, 10, count)
    return [list(letters[np.minimum(rng.geometric(0.2, n), 19)]) for n in lengths]


@options
class RandomReviews(ImdbTask):
    """Random words, as many positive as negative."""

    name: ClassVar[str] = "random-reviews"

    def load(self, files=Files()):
        labels = (np.arange(self.reviews) % 2).astype(np.uint8)
        return encoded(some_texts(self.reviews), labels)


SIZES = {"reviews": 12, "vocabulary": 6, "length": 8, "embedding": 3, "width": 4}
TASK = RandomReviews(**SIZES)
ONE_LAYER = RandomReviews(**SIZES, layers=1)  # compiled sooner


def numbered(texts, rows, size, length):
    """The published way: words counted in order, sorted by count."""
    counts = collections.Counter(word for row in rows for word in texts[row])
    numbers = {w: n for n, (w, _) in enumerate(counts.most_common(size), 1)}
    found = np.zeros((len(texts), length), np.int32)
    for row, text in zip(found, texts, strict=True):
        kept = [numbers[word] for word in text if word in numbers][:length]
        row[length - len(kept) :] = kept
    return found


def on_device(texts, rows, size, length):
    data = encoded(texts, np.zeros(len(texts)))
    distinct = len(data["occurrences"])
    assert data["words"].max() == distinct
    numbers = numbers_of_words(data["words"], rows, distinct=distinct, size=size)
    return padded_in_front(numbers[data["words"]], length)


@pytest.mark.parametrize(
    ("size", "length"), [(6, 8), (3, 4), (100, 12), (1, 1), (19, 9)]
)
def test_vocabulary_and_padding(size, length):
    """Ties are by first occurrence in the order of the rows to train on."""
    texts, rng = some_texts(15, seed=size), np.random.default_rng(0)
    for _ in range(3):
        rows = rng.permutation(15)[:9]
        expected = numbered(texts, rows, size, length)
        np.testing.assert_array_equal(on_device(texts, rows, size, length), expected)


def test_recorded_tokens(parity_record, real_data):
    """All 1000 reviews as the published program has them, bit for bit."""
    record = np.load(parity_record("imdb"))
    reviews = load_imdb(1000, real_data("imdb").parent)
    np.testing.assert_array_equal(reviews.positive, record["labels"])
    found = on_device(reviews.words, record["split_train"], 1000, 500)
    np.testing.assert_array_equal(found, record["ids"])


def test_splits_are_stratified_and_drawn_by_the_key():
    task = RandomReviews(reviews=1000)
    labels = np.zeros(1000, np.uint8)
    labels[:501] = 1
    seen = set()
    for seed in range(3):
        rows = task.splits({"labels": jnp.asarray(labels)}, jax.random.key(seed))
        assert sorted(np.concatenate(list(rows.values()))) == list(range(1000))
        positive = {name: int(labels[each].sum()) for name, each in rows.items()}
        assert positive == {"train": 376, "validation": 125}, "as in the record"
        assert {a.dtype for a in rows.values()} == {np.dtype("int32")}
        seen.add(tuple(np.asarray(rows["train"])))
    assert len(seen) == 3
    assert all(list(rows) != sorted(rows) for rows in seen)


@pytest.mark.parametrize("positive", [0, 1, 2, 9, 10])
def test_splits_of_few_reviews(positive):
    labels = jnp.arange(10) < positive
    task = RandomReviews(reviews=10)
    rows = task.splits({"labels": labels.astype(np.uint8)}, jax.random.key(0))
    assert len(rows["train"]) == 7
    assert sorted(np.concatenate(list(rows.values()))) == list(range(10))
    share = int(labels[rows["train"]].sum())
    assert abs(share - 0.7 * positive) <= 0.5


def test_the_vocabulary_is_of_the_rows_to_train_on():
    data = TASK.load()
    rows = TASK.splits(data, Keys.from_seed(0).split)
    found = TASK.with_split(data, rows)
    expected = numbered(some_texts(12), np.asarray(rows["train"]), 6, 8)
    np.testing.assert_array_equal(found["tokens"], expected)
    other = TASK.with_split(data, TASK.splits(data, Keys.from_seed(1).split))
    assert (found["tokens"] != other["tokens"]).any()


def test_cross_entropy_is_pytorchs():
    """To odds of 17 the loss rises; then p is 1, and the logarithm −100."""
    odds = jnp.array([-200.0, -3, 0, 2, 10, 20, 200])
    losses = binary_cross_entropy(odds, jnp.zeros(7))
    plain = np.log1p(np.exp(np.asarray(odds, np.float64)))
    np.testing.assert_allclose(losses[:4], plain[:4], rtol=1e-6, atol=1e-30)
    assert losses[4] == pytest.approx(10, rel=1e-3)
    assert losses[5:].tolist() == [100, 100]
    of_ones = binary_cross_entropy(-odds, jnp.ones(7))
    np.testing.assert_allclose(of_ones[:4], plain[:4], rtol=1e-6, atol=1e-30)
    assert of_ones.tolist()[-1] == 100
    for label in (0.0, 1.0):
        slope = jax.vmap(jax.grad(binary_cross_entropy), (0, None))(odds, label)
        p = 1 / (1 + np.exp(-np.asarray(odds[1:5], np.float64)))
        np.testing.assert_allclose(slope[1:5], p - label, rtol=1e-4, atol=1e-6)
        assert slope[0] == slope[6] == 0, "PyTorch's too"
    assert jax.grad(binary_cross_entropy)(-40.0, 1.0) == pytest.approx(-4.25e-6, 1e-2)


def test_start():
    """Parameters, and U(±1/16) everywhere but in the embedding."""
    task = ImdbTask()
    shapes = jax.eval_shape(lambda: task.init(jax.random.key(0), ())[0])
    sizes = [a.size for a in jax.tree.leaves(shapes)]
    assert sum(sizes) == 1001 * 64 + 4 * 256 * (64 + 3 * 256 + 4) + 257
    params, _ = RandomReviews(embedding=8, width=16).init(jax.random.key(0), ())
    assert set(params["layers"]) == {0, 1}
    assert params["layers"][0]["input"].shape == (8, 64)
    for leaf in jax.tree.leaves((params["layers"], params["head"]["kernel"])):
        assert 0.15 < jnp.abs(leaf).max() <= 0.25
    assert jnp.std(params["embedding"]) == pytest.approx(1, abs=0.03)


def numpy_odds(params, tokens):
    """Float64 twin for one review, with both biases."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    states = [(np.zeros(4), np.zeros(4)) for _ in p["layers"]]
    for token in tokens:
        x = p["embedding"][token]
        for n, (h, c) in enumerate(states):
            layer = p["layers"][n]
            a = x @ layer["input"] + h @ layer["recurrent"]
            a = a + layer["input_bias"] + layer["recurrent_bias"]
            i, f, g, o = np.split(a, 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            x = np.tanh(c) / (1 + np.exp(-o))
            states[n] = x, c
    return x @ p["head"]["kernel"][:, 0] + p["head"]["bias"][0]


def test_values_equal_a_numpy_twin():
    data = TASK.load()
    rows = TASK.splits(data, Keys.from_seed(0).split)
    examples = TASK.take(TASK.with_split(data, rows), jnp.arange(12))
    params, _ = TASK.init(jax.random.key(0), data)
    params = jax.tree.map(lambda p: 6 * p, params)
    outputs = jax.jit(
        lambda p: TASK.forward(p, (), examples, None, train=False)[0].prediction
    )(params)
    outputs = Outputs(outputs)
    odds = np.array([numpy_odds(params, row) for row in examples["tokens"]])
    np.testing.assert_allclose(outputs.prediction, odds, rtol=1e-4, atol=1e-4)
    found = TASK.values(outputs, examples)
    labels = np.asarray(examples["labels"])
    np.testing.assert_array_equal(found["accuracy"], (odds > 0) == (labels == 1))
    p = 1 / (1 + np.exp(-odds))
    loss = -np.log(np.where(labels == 1, p, 1 - p))
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-3, atol=1e-4)


@pytest.mark.thorough
def test_lanes_have_splits_and_vocabularies_of_their_own():
    """And are the runs alone: looped bit for bit, batched to rounding."""
    data = ONE_LAYER.load()
    lanes = [
        config_of(ONE_LAYER, batch_size=3, measures="none", filter="ema", seed=seed)
        for seed in range(3)
    ]
    alone = []
    for lane in lanes:
        state = initialize(lane.traced(), data)
        alone.append(run_chunk(lane.traced(), 5, data, state)[1].loss)
    assert len({tuple(np.asarray(losses)) for losses in alone}) == 3
    config = stack(lanes)
    for way in WAYS:
        state = initialize_lanes(config, data)
        _, log = run_chunk_of_lanes(config, 5, data, state, way=way)
        if way == "map":
            np.testing.assert_array_equal(log.loss, alone)
        np.testing.assert_allclose(log.loss, alone, rtol=1e-4)


@pytest.mark.thorough
def test_a_run_goes_on_bit_for_bit(tmp_path):
    for name, parts in (("whole", [8]), ("parts", [4, 8])):
        for steps in parts:
            settings = settings_of(
                ONE_LAYER, filter="ema", batch_size=3, steps=steps, eval_every=2
            )
            train(tmp_path / name, settings)
    (whole, rows), (parts, other_rows) = (
        read(tmp_path / name) for name in ("whole", "parts")
    )
    assert rows == other_rows
    assert whole["parameters_sha256"] == parts["parameters_sha256"]
    assert whole["milestones"]["min_validation_loss"] > 0


@pytest.mark.thorough
def test_it_learns():
    """Whether the first of two words is there."""

    @options
    class Told(RandomReviews):
        def load(self, files=Files()):
            texts = some_texts(self.reviews)
            labels = np.arange(self.reviews) % 2
            told = [[("yes", "no")[n], *t] for n, t in zip(labels, texts, strict=True)]
            return encoded(told, labels.astype(np.uint8))

    task = Told(reviews=24, vocabulary=6, length=8, embedding=3, width=8, layers=1)
    config = config_of(task, batch_size=9, learning_rate=0.03, init_scale=2.0)
    data = task.load()
    state = initialize(config.traced(), data)
    before = row_of(config, data, state)
    state, _ = run_chunk(config.traced(), 60, data, state)
    after = row_of(config, data, state)
    assert before["validation_loss"] > 0.5
    assert after["train_accuracy"] == 1
    assert after["validation_accuracy"] > 0.8


def test_published_settings_are_the_defaults():
    given = {
        name: settings_of(ImdbTask(), **PRESETS["imdb"][f"imdb-{name}"]())
        for name in ("baseline", "ema", "decay", "ema-alone")
    }
    baseline = given["baseline"].config
    assert baseline.training.init_scale == 6
    assert baseline.training.batch_size == 50
    optimizer = baseline.optimizer
    assert (optimizer.name, optimizer.learning_rate) == ("adamw", 3e-4)
    assert (optimizer.clip_norm, optimizer.clip_position) == (5, "before")
    assert given["baseline"].budget.steps == 10_000
    found = {
        name: (bool(each.config.filters), each.config.optimizer.weight_decay)
        for name, each in given.items()
    }
    assert found == {
        "baseline": (False, 1),
        "ema": (True, 10),
        "decay": (False, 10),
        "ema-alone": (True, 1),
    }
    filters = given["ema"].config.filters
    assert [(f.name, f.alpha, f.lamb) for f in filters] == [("ema", 0.98, 2.0)]
    assert filters == given["ema-alone"].config.filters
    assert [m.name for m in baseline.measures] == [
        "weight_norm",
        "filter_effect",
        "batch",
    ]


def test_options_out_of_range(capsys):
    assert main(["train", "imdb", "--reviews", "50001"]) == 2
    assert "4<=x<=50000" in capsys.readouterr().err
    assert main(["train", "imdb", "--products", "float16"]) == 2
    assert "'float32', 'bfloat16'" in capsys.readouterr().err
