"""The GPT task: numbers against NumPy's, data, dropout, lanes and resumption."""

import dataclasses
import functools
import math
import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.data.source import DataError
from experiments.engine.lanes import WAYS
from experiments.engine.objective import mean_loss
from experiments.engine.programs import BatchOfLanes
from experiments.engine.train import initialize, run_chunk
from experiments.host.loop import SaveEvery
from experiments.methods.named import every_setting, settings_of
from experiments.settings.files import Files
from experiments.settings.flat import values_of
from experiments.settings.options import options
from experiments.settings.presets import PRESETS
from experiments.tasks.gpt import GptTask
from tests.support.tiny import config_of, read, row_of, train


@options
class MadeUpPlay(GptTask):
    """Words in turn, so that there is something to learn."""

    name: ClassVar[str] = "made-up-play"

    def read(self, files=Files()):
        words = np.random.default_rng(0).choice(["to be ", "or not ", "zu, "], 200)
        return "".join(words)


SMALL = MadeUpPlay(vocabulary=20, block=8, layers=2, heads=2, width=8)
DROPPING = MadeUpPlay(vocabulary=20, block=8, layers=1, heads=2, width=8, dropout=0.3)
KEY = jax.random.key(0)


def normalised(x, layer):
    x = x - x.mean(-1, keepdims=True)
    x /= np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    return x * layer["scale"] + layer.get("bias", 0)


def linear(x, layer):
    return x @ layer["kernel"] + layer.get("bias", 0)


def attention(x, layer, heads):
    """Row by row, head by head."""
    length, width = x.shape
    q, k, v = np.split(linear(x, layer["qkv"]), 3, axis=1)
    mixed = np.zeros_like(q)
    for head in range(heads):
        part = slice(head * width // heads, (head + 1) * width // heads)
        for i in range(length):
            scores = k[: i + 1, part] @ q[i, part] / math.sqrt(width // heads)
            weights = np.exp(scores - scores.max())
            mixed[i, part] = weights / weights.sum() @ v[: i + 1, part]
    return linear(mixed, layer["out"])


def numpy_logits(params, tokens, heads):
    """Float64 twin of the forward pass of one example, ``[L, V]``."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    table = p["token_embedding"]["embedding"]
    h = table[tokens] + p["position_embedding"]["embedding"][: len(tokens)]
    for i in range(len(p["blocks"])):
        block = p["blocks"][i]
        h = h + attention(
            normalised(h, block["norm_attention"]), block["attention"], heads
        )
        inner = linear(normalised(h, block["norm_mlp"]), block["mlp_in"])
        erf = np.vectorize(math.erf)(inner / math.sqrt(2))
        h = h + linear(inner * (1 + erf) / 2, block["mlp_out"])
    return normalised(h, p["norm"]) @ table.T


def moved(params):
    """So far from the start that every parameter plays a part."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    return tree.unflatten([a + 0.3 * jax.random.normal(k, a.shape) for a, k in pairs])


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize(
    "bias", [False, pytest.param(True, marks=pytest.mark.thorough)]
)
def test_forward_pass_equals_numpy_twin(bias):
    task = dataclasses.replace(SMALL, bias=bias)
    data = task.load()
    params, state = task.init(KEY, data)
    params = moved(params)
    examples = task.take(data, jnp.array([3, 50, 11]))

    @jax.jit
    def outputs_and_values():
        outputs, _ = task.forward(params, state, examples, None, train=False)
        return outputs, task.values(outputs, examples)

    outputs, found = outputs_and_values()
    for i in range(3):
        tokens, following = (np.asarray(examples[n][i]) for n in ("tokens", "next"))
        logits = numpy_logits(params, tokens, 2)
        np.testing.assert_allclose(outputs.prediction[i], logits, rtol=1e-4, atol=1e-4)
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(8), following]
        np.testing.assert_allclose(found["loss"][i], losses.mean(), rtol=1e-5)
        accuracy = (logits.argmax(1) == following).mean()
        np.testing.assert_allclose(found["accuracy"][i], accuracy, rtol=1e-6)


def test_every_parameter_is_trained():
    data = SMALL.load()
    params, state = SMALL.init(KEY, data)
    examples = SMALL.take(data, jnp.arange(5))
    value_and_grad = jax.jit(mean_loss(SMALL).value_and_grad)
    (_, _), gradient = value_and_grad(params, state, examples, KEY)
    assert all(jnp.isfinite(g).all() and g.any() for g in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("shakespeare-cpu", 804_096), ("shakespeare", 10_745_088), ("gpt2", 124_439_808)],
)
def test_parameters_and_how_they_start(preset, parameters):
    settings = settings_with(PRESETS["gpt"][preset]())
    task = settings.config.task
    shapes = jax.eval_shape(lambda: task.init(KEY, ())[0])
    assert sum(a.size for a in jax.tree.leaves(shapes)) == parameters
    if preset != "shakespeare-cpu":
        return
    params, state = task.init(KEY, ())
    assert state == ()
    block = params["blocks"][2]
    for kernel, deviation in (
        (params["token_embedding"]["embedding"], 0.02),
        (params["position_embedding"]["embedding"], 0.02),
        (block["attention"]["qkv"]["kernel"], 0.02),
        (block["mlp_in"]["kernel"], 0.02),
        (block["attention"]["out"]["kernel"], 0.02 / math.sqrt(8)),
        (block["mlp_out"]["kernel"], 0.02 / math.sqrt(8)),
    ):
        np.testing.assert_allclose(jnp.std(kernel), deviation, rtol=0.03)
        np.testing.assert_allclose(jnp.mean(kernel), 0, atol=0.03 * deviation)
    assert (block["norm_mlp"]["scale"] == 1).all()


def settings_with(values):
    """Settings of the task from values by their names."""
    (settings,) = every_setting(GptTask, [values])
    return settings


def test_presets_are_nanogpts():
    assert settings_with(PRESETS["gpt"]["shakespeare-cpu"]()) == settings_of(GptTask())
    common = {
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "decayed": "matrices",
        "beta2": 0.99,
        "clip_norm": 1.0,
        "warmup_steps": 100,
        "schedule": "cosine",
        "schedule_end": 0.1,
    }
    cpu = {"layers": 4, "width": 128, "block": 64, "batch_size": 12, "steps": 2000}
    gpu = {"layers": 6, "width": 384, "block": 256, "batch_size": 64, "steps": 5000}
    for preset, own in {
        "shakespeare-cpu": cpu | {"dropout": 0.0, "schedule_steps": 1900},
        "shakespeare": gpu | {"dropout": 0.2, "schedule_steps": 4900, "heads": 6},
    }.items():
        values = values_of(settings_with(PRESETS["gpt"][preset]()))
        assert (common | own).items() <= values.items()


def test_windows_of_the_real_text(real_data):
    task, files = GptTask(), Files(data_dir=real_data("text").parent)
    text, data = task.read(files), task.load(files)
    encoding = task.encoding(text)
    assert data["tokens"].dtype == np.uint8
    splits = task.splits(data, KEY)
    assert len(splits["train"]) == 1_003_854 - 64
    assert len(splits["validation"]) == 111_540 // 64
    last = task.take(data, splits["train"][-1:])
    assert encoding.decode(last["next"][0]) == text[1_003_854 - 64 : 1_003_854]
    first = task.take(data, splits["train"][:1])
    assert encoding.decode(first["tokens"][0]) == text[:64]
    assert encoding.decode(first["next"][0]) == text[1:65]
    validation = np.asarray(task.take(data, splits["validation"])["next"]).ravel()
    assert encoding.decode(validation) == text[1_003_855:][: len(validation)]
    assert len(text) - 1_003_855 - len(validation) < 64
    scored = task.scored(splits)
    assert len(scored["train"]) == len(scored["validation"]) == 1742
    assert (np.diff(scored["train"]) >= 64).all()
    assert scored["train"][-1] > 0.99 * 1_003_854


def test_windows_start_where_they_are_drawn():
    orders = [np.asarray(SMALL.order((), KEY, jnp.int32(e), 1000)) for e in range(2)]
    for order in orders:
        assert 0 <= order.min() < 10
        assert 990 <= order.max() < 1000
        assert 580 < len(np.unique(order)) < 690  # (1 - 1/e) · 1000
    assert (orders[0] != orders[1]).any()
    with jax.enable_x64(True):  # in double precision from the same windows
        again = SMALL.order((), KEY, jnp.int32(0), 1000)
    np.testing.assert_array_equal(again, orders[0])


def test_scores_have_bits():
    data = SMALL.load()
    config = config_of(SMALL)
    row = row_of(config, data, initialize(config.traced(), data))
    for split in ("train", "validation"):
        bits = row[f"{split}_loss"] / np.log(2)
        np.testing.assert_allclose(row[f"{split}_bits_per_character"], bits, rtol=1e-6)
    assert row["validation_loss"] == pytest.approx(math.log(20), rel=0.02)


def test_dropout_is_a_function_of_the_key():
    data = DROPPING.load()
    params, state = DROPPING.init(KEY, data)
    params, examples = moved(params), DROPPING.take(data, jnp.arange(4))

    @functools.partial(jax.jit, static_argnames="train")
    def logits(key, train=True):
        outputs, after = DROPPING.forward(params, state, examples, key, train=train)
        assert after == state == ()
        return outputs.prediction

    other = jax.random.key(1)
    np.testing.assert_array_equal(logits(KEY), logits(KEY))
    assert jnp.abs(logits(KEY) - logits(other)).max() > 0.1
    none = dataclasses.replace(DROPPING, dropout=0.0)
    without, _ = none.forward(params, state, examples, KEY, train=True)
    np.testing.assert_allclose(
        logits(None, train=False), without.prediction, rtol=1e-4, atol=1e-5
    )
    # Of the embeddings; in a block of the weights, and of both that it adds.
    assert str(jax.make_jaxpr(logits)(KEY)).count("name=_bernoulli") == 4


@pytest.mark.thorough
def test_a_run_goes_on_with_the_same_numbers(tmp_path):
    """With dropout and a filter: both are exact on resumption."""

    def settings(steps):
        return settings_of(
            DROPPING, filter="ema", steps=steps, eval_every=5, batch_size=4
        )

    often = SaveEvery(steps=5)
    train(tmp_path / "whole", settings(20), save_every=often)
    for steps in (10, 20):
        train(tmp_path / "parts", settings(steps), save_every=often)
    (whole, rows), (parts, same) = (read(tmp_path / n) for n in ("whole", "parts"))
    assert rows == same
    assert whole["parameters_sha256"] == parts["parameters_sha256"]
    assert whole["final"]["train_loss"] < math.log(20)


@pytest.mark.thorough
@pytest.mark.parametrize("way", WAYS)
def test_lanes_are_the_runs_alone(way):
    """As one program, which devices share, if there are several."""
    configs = [config_of(DROPPING, filter="ema", seed=seed) for seed in range(3)]
    data = DROPPING.load()
    program = BatchOfLanes(configs, data, way)
    slots = program.slots()
    state, log = program.advance(slots, 4, program.initialize(slots))
    devices = jax.tree.leaves(state.params)[0].sharding.device_set
    assert len(devices) == min(jax.device_count(), 3)
    for lane in (0, 2):
        own = configs[lane].traced()
        _, expected = run_chunk(own, 4, data, initialize(own, data))
        if way == "map" and len(devices) == 1:
            np.testing.assert_array_equal(log.loss[lane], expected.loss)
        else:
            np.testing.assert_allclose(log.loss[lane], expected.loss, rtol=1e-5)


@pytest.mark.thorough
def test_first_steps_on_real_data(real_data):
    task = GptTask(layers=1, width=32, block=32)
    data = task.load(Files(data_dir=real_data("text").parent))
    config = settings_of(task, warmup_steps=10, learning_rate=1e-2).config
    state = initialize(config.traced(), data)
    state, log = run_chunk(config.traced(), 100, data, state)
    assert log.loss[0] == pytest.approx(math.log(65), rel=0.02)
    assert 2 < log.loss[-10:].mean() < 3.1  # 3.3 by the characters' frequencies


def test_what_cannot_serve_is_told(tmp_path):
    with pytest.raises(ValueError, match="heads must divide width = 8, got 3"):
        GptTask(width=8, heads=3)
    with pytest.raises(ValueError, match=r"vocabulary must be ≥ 10, .*, got 5"):
        dataclasses.replace(SMALL, vocabulary=5).load()
    with pytest.warns(UserWarning, match="vocabulary is 200, the text has 10 char"):
        dataclasses.replace(SMALL, vocabulary=200).load()
    with pytest.raises(DataError, match="a block of 200 needs 2,010"):
        dataclasses.replace(SMALL, block=200).load()
    with pytest.raises(DataError, match=r"text: .*nothing cannot be read"):
        GptTask(text=str(tmp_path / "nothing")).load()
    with pytest.raises(DataError, match="no tokenizer in"):
        GptTask(text=str(tmp_path / "text"), tokenizer=str(tmp_path)).encoding("")


def test_a_text_and_a_tokenizer_of_ones_own(tmp_path, capsys):
    tokenizer = pytest.importorskip("tokenizers").ByteLevelBPETokenizer()
    text = SMALL.read()
    tokenizer.train_from_iterator([text], vocab_size=270, show_progress=False)
    tokenizer.save_model(str(tmp_path))
    (tmp_path / "text").write_text(text, encoding="utf-8")
    own = {"text": str(tmp_path / "text"), "tokenizer": str(tmp_path)}
    task = GptTask(**own, vocabulary=300, block=8)
    tokens = task.load()["tokens"]
    assert tokens.dtype == np.uint16
    assert len(tokens) < 0.9 * len(text)
    assert task.encoding(text).decode(tokens) == text
    scores = task.score({"loss": np.array([2.0, 4.0])}, np.float32)
    assert scores["bits_per_token"] == pytest.approx(3 / math.log(2))
    options = [f"--{name}={value}" for name, value in own.items()]
    assert main(["train", "gpt", *options]) == 2
    assert re.search(r"vocabulary must be ≥ 26\d", capsys.readouterr().err)


@pytest.mark.thorough
def test_a_text_that_has_changed_is_told(tmp_path, capsys):
    text, run = tmp_path / "text", str(tmp_path / "run")
    text.write_text(SMALL.read(), encoding="utf-8")
    options = ["--layers", "1", "--heads", "2", "--width", "8", "--block", "8"]
    options += ["--text", str(text), "--run-dir", run, "--eval-every", "2", "--steps"]
    assert main(["train", "gpt", *options, "2"]) == 0
    sample = ["sample", run, "--prompt", "to", "--tokens", "3"]
    assert main(sample) == 0
    text.write_text(SMALL.read()[::-1], encoding="utf-8")
    for arguments in (["train", "gpt", *options, "4"], sample):
        capsys.readouterr()
        assert main(arguments) == 2
        assert "was begun on other data" in capsys.readouterr().err
