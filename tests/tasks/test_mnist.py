"""The MNIST task: its numbers, its data, double precision."""

import json
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.engine.objective import mean_loss
from experiments.engine.train import initialize, run_chunk
from experiments.host.limits import state_bytes
from experiments.methods.named import settings_of
from experiments.settings.files import Files
from experiments.settings.flat import run_name, values_of
from experiments.settings.options import options
from experiments.settings.presets import PRESETS
from experiments.tasks.mnist import MnistTask
from tests.support.tiny import row_of, train


@pytest.fixture
def files(real_data):
    """Where the real images are."""
    return Files(data_dir=real_data("mnist").parent)


@options
class RandomImages(MnistTask):
    """Images of noise, as many as one says, and 30 to validate."""

    name: ClassVar[str] = "random-images"

    def load(self, files=Files()):
        rng, size = np.random.default_rng(0), self.train_points + 30
        return {
            "images": rng.integers(0, 256, (size, 784), np.uint8),
            "labels": rng.integers(0, 10, size).astype(np.uint8),
        }


SMALL = RandomImages(train_points=20, width=16)


def numpy_metrics(params, images, labels):
    """Float64 twin of the forward pass: loss and accuracy of every image."""
    h = images.astype(np.float64) / 255
    layers = [params["layers"][i] for i in range(3)]
    for i, layer in enumerate(layers):
        kernel, bias = (np.asarray(layer[k], np.float64) for k in ("kernel", "bias"))
        h = h @ kernel + bias
        h = h if i == 2 else np.maximum(h, 0)
    return ((h - np.eye(10)[labels]) ** 2).mean(1), h.argmax(1) == labels


@pytest.mark.thorough
def test_forward_pass_equals_numpy_twin():
    data, key = SMALL.load(), jax.random.key(0)
    params, state = SMALL.init(key, data)
    params = jax.tree.map(lambda p: 3 * p, params)
    examples = SMALL.take(data, SMALL.splits(data, key)["validation"])
    assert len(examples["labels"]) == 30
    outputs, _ = SMALL.forward(params, state, examples, None, train=False)
    found = SMALL.values(outputs, examples)
    loss, accuracy = numpy_metrics(params, **examples)
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)
    np.testing.assert_array_equal(found["accuracy"], accuracy)
    objective = mean_loss(SMALL)
    mean, _ = objective.value(params, state, examples, key)
    np.testing.assert_allclose(mean, loss.mean(), rtol=1e-5)
    (_, _), gradient = objective.value_and_grad(params, state, examples, key)
    assert all(jnp.isfinite(g).all() and g.any() for g in jax.tree.leaves(gradient))


def test_parameters_and_norm():
    """199,210 parameters of norm 11.71 within 1 %, times 8 at the start."""
    norms = {}
    for scale in (1.0, 8.0):
        config = settings_of(MnistTask(), init_scale=scale).config
        params = initialize(config.traced(), ()).params
        leaves = [np.asarray(p, np.float64) for p in jax.tree.leaves(params)]
        assert sum(p.size for p in leaves) == 199_210
        norms[scale] = np.sqrt(sum((p**2).sum() for p in leaves))
        for layer, fan_in in enumerate((784, 200, 200)):
            for name in ("kernel", "bias"):
                largest = jnp.abs(params["layers"][layer][name]).max()
                assert largest <= scale / np.sqrt(fan_in) * (1 + 1e-6)
                assert largest > 0.8 * scale / np.sqrt(fan_in)
    assert norms[1.0] == pytest.approx(11.71, rel=0.01)
    assert norms[8.0] == pytest.approx(8 * norms[1.0], rel=1e-6)


def test_published_settings_are_the_defaults(files, capsys):
    directory = str(files.data_dir)
    plans = []
    for preset in ([], ["--preset", "mnist-baseline"]):
        arguments = ["train", "mnist", "--dry-run", "--json", "--data-dir", directory]
        assert main([*arguments, *preset]) == 0
        plans.append(json.loads(capsys.readouterr().out)["config"])
    assert plans[0] == plans[1]
    assert plans[0] == values_of(settings_of(MnistTask()))
    expected = {
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "beta1": 0.9,
        "beta2": 0.999,
        "init_scale": 8.0,
        "batch_size": 200,
        "steps": 100_000,
        "warmup_steps": 0,
    }
    assert expected.items() <= plans[0].items()
    with pytest.raises(TypeError, match="no option of the name 'decay'"):
        settings_of(MnistTask(), decay=0.1)


def test_data_are_the_first_images(files):
    task = MnistTask()
    data = task.load(files)
    splits = task.splits(data, jax.random.key(5))
    training, validation = (
        task.take(data, np.asarray(splits[name])) for name in ("train", "validation")
    )
    assert training["images"].shape == (1000, 784)
    assert list(training["labels"][:5]) == [5, 0, 4, 1, 9]
    assert validation["images"].shape == (10_000, 784)
    assert validation["labels"][0] == 7
    assert training["images"].dtype == np.uint8


def start(config, files):
    data = jax.device_put(config.task.load(files))
    return config.traced(), data, initialize(config.traced(), data)


def test_first_steps_on_real_data(files):
    config, data, state = start(settings_of(MnistTask()).config, files)
    before = row_of(config, data, state)
    assert 0.05 < before["validation_accuracy"] < 0.2
    assert 100 < before["train_loss"] < 1000  # the scale: 8³ in the output
    state, (losses, _) = run_chunk(config, 40, data, state)
    assert losses[0] == pytest.approx(float(before["train_loss"]), rel=0.2)
    assert losses[-5:].mean() < 0.2 * losses[:5].mean()


@pytest.mark.thorough
def test_large_decay_generalises_in_2001_steps(files):
    """As the published implementation does without filter: 85 % and more."""
    given = settings_of(MnistTask(), **PRESETS["mnist"]["mnist-decay"]())
    config, data, state = start(given.config, files)
    accuracies = []
    for _ in range(3):
        state, _ = run_chunk(config, 667, data, state)
        accuracies.append(row_of(config, data, state)["validation_accuracy"])
    assert accuracies[0] < 0.8
    assert 0.85 < accuracies[2] < 0.9


def test_where_the_data_are_is_no_part_of_a_run(tmp_path, capsys, monkeypatch):
    """Runs from two places have the same settings and the same name."""
    seen, plans = [], []

    def load(task, files):
        seen.append(files)
        return SMALL.load()

    monkeypatch.setattr(MnistTask, "load", load)
    for name in ("here", "there"):
        arguments = ["train", "mnist", "--dry-run", "--json", "--train-points", "20"]
        assert main([*arguments, "--data-dir", str(tmp_path / name)]) == 0
        plans.append(json.loads(capsys.readouterr().out))
    assert seen == [Files(tmp_path / "here"), Files(tmp_path / "there")]
    assert plans[0] == plans[1]
    assert plans[0]["run"] == f"runs/{run_name(settings_of(MnistTask(20)))}"
    assert not {"data_dir", "download"} & plans[0]["config"].keys()


def first_losses(dtype):
    config = settings_of(SMALL, dtype=dtype, batch_size=8).config
    with jax.enable_x64(dtype == "float64"):
        data = SMALL.load()
        state = initialize(config.traced(), data)
        state, (losses, _) = run_chunk(config.traced(), 3, data, state)
        return np.asarray(losses), state


@pytest.mark.thorough
def test_double_precision():
    """The same weights, batches and losses, to the rounding of float32."""
    (single, state_32), (double, state_64) = map(first_losses, ("float32", "float64"))
    assert {a.dtype for a in jax.tree.leaves(state_32.params)} == {np.dtype("float32")}
    moments = jax.tree.leaves((state_64.params, state_64.opt_state[1]))
    assert {a.dtype for a in moments if a.ndim} == {np.dtype("float64")}
    assert double.dtype == np.float64
    difference = np.abs(single / double - 1)
    assert (difference < 1e-5).all()
    assert (difference > 0).all()


def test_double_precision_of_model_state():
    """What the model changes itself is converted too, counters are not."""

    @options
    class Averaging(RandomImages):
        def init(self, key, data):
            state = {"mean": jnp.zeros((), jnp.float32), "count": jnp.zeros((), int)}
            return super().init(key, data)[0], state

        def forward(self, params, model_state, examples, key, *, train):
            outputs, state = super().forward(
                params, model_state, examples, key, train=train
            )
            loss = jnp.mean(self.losses(outputs, examples))
            mean = 0.9 * state["mean"] + 0.1 * loss
            return outputs, {"mean": mean, "count": state["count"] + 1}

    config = settings_of(Averaging(train_points=20, width=16), dtype="float64").config
    with jax.enable_x64(True):
        data = config.task.load()
        state = initialize(config.traced(), data)
        state, (losses, _) = run_chunk(config.traced(), 1, data, state)
        np.testing.assert_allclose(state.model_state["mean"], 0.1 * losses[0], 1e-14)
        assert state.model_state["count"] == 1


@pytest.mark.thorough
def test_double_precision_goes_on_bit_for_bit(tmp_path):
    """Through checkpoints and back, in a run that is float32 outside."""
    finals = []
    for name, parts in (("whole", [12]), ("parts", [6, 12])):
        for steps in parts:
            settings = settings_of(
                SMALL, dtype="float64", batch_size=8, steps=steps, eval_every=3
            )
            finals.append(train(tmp_path / name, settings).summary())
    assert finals[0]["parameters_sha256"] == finals[-1]["parameters_sha256"]
    rows = [
        (tmp_path / n / "metrics.csv").read_text(encoding="utf-8")
        for n in ("whole", "parts")
    ]
    assert rows[0] == rows[1]
    loss = rows[0].splitlines()[1].split(",")[1]
    assert float(np.float32(loss)) != float(loss)
    assert jnp.ones(1).dtype == jnp.float32
    sizes = state_bytes(settings.config, SMALL.load())
    assert sizes.parameters == 8 * finals[0]["parameters"]
