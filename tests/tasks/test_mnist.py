"""The MNIST task: its numbers, its data, double precision."""

import dataclasses
import json
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.engine.train import evaluate, initialize, run_chunk
from experiments.host import loop as runner
from experiments.records.run import RunDirectory, run_name
from experiments.settings.config import Config
from experiments.settings.presets import PRESETS
from experiments.tasks.mnist import MnistTask
from tests.conftest import SHARED


@pytest.fixture
def real_data():
    if not (SHARED / "data" / "mnist").exists():
        pytest.skip("real data not there: mnist")
    return MnistTask(data_dir=SHARED / "data")


@dataclasses.dataclass(frozen=True)
class RandomImages(MnistTask):
    """Images of noise, as many as one says, and 30 to validate."""

    name: ClassVar[str] = "random-images"

    def load(self):
        rng = np.random.default_rng(0)

        def part(size):
            return {
                "images": rng.integers(0, 256, (size, 784), np.uint8),
                "labels": rng.integers(0, 10, size).astype(np.uint8),
            }

        return {"train": part(self.train_points), "validation": part(30)}


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


def test_forward_pass_equals_numpy_twin():
    params, state = SMALL.init(jax.random.key(0))
    params = jax.tree.map(lambda p: 3 * p, params)
    examples = SMALL.load()["validation"]
    found = SMALL.metrics(params, state, examples)
    loss, accuracy = numpy_metrics(params, **examples)
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)
    np.testing.assert_array_equal(found["accuracy"], accuracy)
    key = jax.random.key(0)
    mean, _ = SMALL.loss(params, state, examples, key)
    np.testing.assert_allclose(mean, loss.mean(), rtol=1e-5)
    (_, _), gradient = SMALL.value_and_grad(params, state, examples, key)
    assert all(jnp.isfinite(g).all() and g.any() for g in jax.tree.leaves(gradient))


def test_parameters_and_norm():
    """Check C4: 199,210 parameters, w_0 = 11.71 within 1 %, times 8 at the start."""
    norms = {}
    for scale in (1.0, 8.0):
        config = Config.of(MnistTask(), init_scale=scale)
        params = initialize(config.static(), config.traced()).params
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


def test_published_settings_are_the_defaults(real_data, capsys):
    directory = str(real_data.data_dir)
    plans = []
    for preset in ([], ["--preset", "mnist-baseline"]):
        arguments = ["train", "mnist", "--dry-run", "--json", "--data-dir", directory]
        assert main([*arguments, *preset]) == 0
        plans.append(json.loads(capsys.readouterr().out)["config"])
    assert plans[0] == plans[1]
    assert plans[0] == Config.of(MnistTask()).asdict()
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
    with pytest.raises(TypeError, match="no option of that name: decay"):
        Config.of(MnistTask(), decay=0.1)


def test_data_are_the_first_images(real_data):
    data = real_data.load()
    training, validation = real_data.split(data, jax.random.key(5))
    assert training["images"].shape == (1000, 784)
    assert list(training["labels"][:5]) == [5, 0, 4, 1, 9]
    assert validation["images"].shape == (10_000, 784)
    assert validation["labels"][0] == 7
    assert training["images"].dtype == np.uint8


def test_first_steps_on_real_data(real_data):
    config = Config.of(real_data)
    static, hyper = config.static(), config.traced()
    data = jax.device_put(config.task.load())
    state = initialize(static, hyper)
    before = evaluate(static, hyper, data, state)
    assert 0.05 < before["validation_accuracy"] < 0.2
    assert 100 < before["train_loss"] < 1000  # the scale: 8³ in the output
    state, (losses, _) = run_chunk(static, 40, hyper, data, state)
    assert losses[0] == pytest.approx(float(before["train_loss"]), rel=0.2)
    assert losses[-5:].mean() < 0.2 * losses[:5].mean()


def test_large_decay_generalises_in_2001_steps(real_data):
    """As the published implementation does without filter: 85 % and more."""
    config = Config.of(real_data, **PRESETS["mnist"]["mnist-decay"]())
    static, hyper = config.static(), config.traced()
    data = jax.device_put(config.task.load())
    state = initialize(static, hyper)
    accuracies = []
    for _ in range(3):
        state, _ = run_chunk(static, 667, hyper, data, state)
        accuracies.append(evaluate(static, hyper, data, state)["validation_accuracy"])
    assert accuracies[0] < 0.8
    assert 0.85 < accuracies[2] < 0.9


def test_where_the_data_are_is_no_part_of_a_run(tmp_path):
    here, there = (
        Config.of(MnistTask(data_dir=directory)) for directory in (None, tmp_path)
    )
    assert here.static() == there.static()
    assert here.asdict() == there.asdict()
    assert run_name(here) == run_name(there)


def first_losses(dtype):
    config = Config.of(SMALL, dtype=dtype, batch_size=8)
    with jax.enable_x64(dtype == "float64"):
        static, hyper = config.static(), config.traced()
        state = initialize(static, hyper)
        state, (losses, _) = run_chunk(static, 3, hyper, SMALL.load(), state)
        return np.asarray(losses), state


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

    @dataclasses.dataclass(frozen=True)
    class Averaging(RandomImages):
        def init(self, key):
            state = {"mean": jnp.zeros((), jnp.float32), "count": jnp.zeros((), int)}
            return super().init(key)[0], state

        def loss(self, params, model_state, examples, key):
            loss, state = super().loss(params, model_state, examples, key)
            mean = 0.9 * state["mean"] + 0.1 * loss
            return loss, {"mean": mean, "count": state["count"] + 1}

    config = Config.of(Averaging(train_points=20, width=16), dtype="float64")
    with jax.enable_x64(True):
        static, hyper = config.static(), config.traced()
        state = initialize(static, hyper)
        state, (losses, _) = run_chunk(static, 1, hyper, config.task.load(), state)
        np.testing.assert_allclose(state.model_state["mean"], 0.1 * losses[0], 1e-14)
        assert state.model_state["count"] == 1


def test_double_precision_goes_on_bit_for_bit(tmp_path):
    """Through checkpoints and back, in a run that is float32 outside."""
    finals = []
    for name, parts in (("whole", [12]), ("parts", [6, 12])):
        run = RunDirectory(tmp_path / name)
        for steps in parts:
            config = Config.of(
                SMALL, dtype="float64", batch_size=8, steps=steps, eval_every=3
            )
            with run.lock():
                assert run.prepare(config)
                finals.append(runner.train(config, run))
    assert finals[0]["parameters_sha256"] == finals[-1]["parameters_sha256"]
    rows = [(tmp_path / n / "metrics.csv").read_text() for n in ("whole", "parts")]
    assert rows[0] == rows[1]
    loss = rows[0].splitlines()[1].split(",")[1]
    assert float(np.float32(loss)) != float(loss)
    assert jnp.ones(1).dtype == jnp.float32
    sizes = runner.state_bytes(config)
    assert sizes["parameters"] == 8 * finals[0]["parameters"]
