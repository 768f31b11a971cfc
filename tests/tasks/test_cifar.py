"""The CIFAR task: crops, copies, statistics of BatchNorm, lanes, resumed runs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.engine.lanes import initialize_lanes, run_chunk_of_lanes, stack
from experiments.engine.train import initialize, run_chunk
from experiments.host.loop import SaveEvery
from experiments.methods.named import every_setting, settings_of
from experiments.settings.files import Files
from experiments.settings.presets import PRESETS
from experiments.tasks.augmentation import crop_and_flip
from experiments.tasks.cifar import CifarTask
from tests.support.random_images import SMALL, RandomImages
from tests.support.tiny import read, row_of, train


def config_of(task, **options):
    return settings_of(task, batch_size=8, warmup_steps=0, **options).config


def advanced(config, data, *lengths):
    state, losses = initialize(config.traced(), data), []
    for length in lengths:
        state, log = run_chunk(config.traced(), length, data, state)
        losses.append(log.loss)
    return state, np.concatenate(losses)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_crops_are_windows_of_the_padded_image():
    images = jnp.arange(1, 1 + 40 * 8 * 8, dtype=jnp.int32).reshape(40, 8, 8, 1)
    key = jax.random.key(0)
    found = np.asarray(crop_and_flip(key, images))
    assert_same(found, crop_and_flip(key, images))
    assert (found != crop_and_flip(jax.random.key(1), images)).any()
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    seen = set()
    for n, image in enumerate(found):
        places = [
            (i, j, flip)
            for i in range(3)
            for j in range(3)
            for flip in (1, -1)
            if (image == padded[n, i : i + 8, j : j + 8][:, ::flip]).all()
        ]
        assert len(places) == 1
        seen |= set(places)
    assert len(seen) > 12  # of 18


def test_pixels_are_normalised_and_labels_are_their_own():
    task = dataclasses.replace(SMALL, augment="none")
    data = task.load()
    examples = task.take(data, jnp.arange(5, 9))
    np.testing.assert_array_equal(examples["labels"], data["labels"][5:9])
    found = task._normalised(examples["images"], {"w": jnp.ones(1)})
    mean, std = task.pixels
    expected = (data["images"][5:9] / 255 - mean) / std
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_copies_are_trained_on_and_validated_without():
    task = dataclasses.replace(SMALL, augment="copies", copies=3)
    data, plain = task.load(), SMALL.load()
    assert_same(data, task.load())
    splits = task.splits(data, jax.random.key(0))
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 60,
        "validation": 10,
    }
    np.testing.assert_array_equal(data["images"][60:], plain["images"][20:])
    assert {name: len(rows) for name, rows in task.scored(splits).items()} == {
        "train": 10,
        "validation": 10,
    }
    counts = np.bincount(data["labels"][:60], minlength=10)
    np.testing.assert_array_equal(
        counts, 3 * np.bincount(plain["labels"][:20], minlength=10)
    )


def test_options_without_effect_make_no_second_run():
    assert RandomImages(augment="step", copies=7) == RandomImages()
    other = RandomImages(network="preact18", batch_norm_block=8)
    assert other == RandomImages(network="preact18")


@pytest.mark.thorough
def test_exact_statistics():
    """The first layer's: means over blocks of the training set, in NumPy."""
    task = dataclasses.replace(
        SMALL, augment="none", batch_norm_block=8, batch_norm_statistics="exact"
    )
    data = task.load()
    params, state = jax.jit(task.init)(jax.random.key(0), data)
    made = jax.jit(task.evaluation_state)(
        params, state, data, task.splits(data, jax.random.key(0))
    )
    images = task._normalised(jnp.asarray(data["images"]), params)
    h = jax.lax.conv_general_dilated(
        images,
        params["stem"]["conv"]["kernel"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    blocks = np.asarray(h, np.float64)[:16].reshape(2, 8 * 64, 2)
    norm = made["stem"]["norm"]
    np.testing.assert_allclose(norm["mean"], blocks.mean((0, 1)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        norm["var"], blocks.var(1, ddof=1).mean(0), rtol=1e-4, atol=1e-5
    )
    running = dataclasses.replace(task, batch_norm_statistics="running")
    assert running.evaluation_state(params, state, data, {}) is state
    scores = [
        row_of(config_of(t), data, initialize(config_of(t).traced(), data))
        for t in (task, running)
    ]
    assert scores[0]["validation_loss"] != scores[1]["validation_loss"]


@pytest.mark.thorough
def test_a_run_learns_and_is_cut_anywhere():
    """With BatchNorm, crops, Grokfast, Nesterov's momentum, a last smaller batch."""
    task = dataclasses.replace(SMALL, width=8)
    config, data = config_of(task, filter="ema", learning_rate=0.02), task.load()
    state, losses = advanced(config, data, 60)
    assert_same(state, advanced(config, data, 41, 19)[0])
    assert losses[-6:].mean() < 0.7 * losses[:6].mean()


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["vmap", "map"])
def test_lanes(way):
    configs = [config_of(SMALL, seed=seed, filter="ema") for seed in range(2)]
    data = SMALL.load()
    state = initialize_lanes(stack(configs), data)
    _, log = run_chunk_of_lanes(stack(configs), 4, data, state, way=way)
    for lane, config in enumerate(configs):
        _, losses = advanced(config, data, 4)
        exact = {"vmap": 1e-4, "map": 0}[way]
        np.testing.assert_allclose(log.loss[lane], losses, rtol=exact)


@pytest.mark.thorough
def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path):
    def settings(steps):
        return settings_of(
            SMALL, steps=steps, eval_every=3, batch_size=8, warmup_steps=0, filter="ma"
        )

    often = SaveEvery(steps=3)
    train(tmp_path / "whole", settings(8), save_every=often)
    for steps in (5, 8):
        train(tmp_path / "parts", settings(steps), save_every=often)
    (whole, rows), (parts, same) = (read(tmp_path / n) for n in ("whole", "parts"))
    assert rows == same
    assert whole["parameters_sha256"] == parts["parameters_sha256"]


@pytest.mark.thorough
def test_first_steps_on_real_images(real_data):
    files = Files(data_dir=real_data("cifar10").parent)
    task = CifarTask(
        network="preact18", width=4, train_points=500, validation_points=100
    )
    options = {"optimizer": "adamw", "learning_rate": 1e-3, "schedule": "constant"}
    config = settings_of(task, batch_size=100, warmup_steps=0, **options).config
    data = jax.device_put(task.load(files))
    _, losses = advanced(config, data, 25)
    assert losses[0] == pytest.approx(np.log(10), rel=0.2)
    assert losses[-5:].mean() < 0.97 * losses[:5].mean()


@pytest.mark.parametrize("preset", PRESETS["cifar"])
def test_presets_are_of_whole_epochs_and_end_with_their_schedules(preset):
    (settings,) = every_setting(CifarTask, [PRESETS["cifar"][preset]()])
    config, budget = settings.config, settings.budget
    epoch = -(-config.task.train_points // config.training.batch_size)
    assert budget.steps % epoch == budget.eval_every % epoch == 0
    ends = config.optimizer.warmup_steps + config.optimizer.schedule_steps
    # The published fall takes 300 epochs after the warm-up, and the run has 300.
    cut = config.optimizer.warmup_steps if preset == "cifar10-resnet18" else 0
    assert ends - budget.steps == cut
