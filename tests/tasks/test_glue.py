"""Fine-tuning on GLUE: data, lengths, scores, and that runs and lanes agree."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("safetensors")
pytest.importorskip("tokenizers")

from experiments.commands.cli import main
from experiments.data.glue import CORPORA
from experiments.data.source import DataError
from experiments.engine.lanes import initialize_lanes, run_chunk_of_lanes, stack
from experiments.engine.train import initialize, run_chunk
from experiments.host.loop import SaveEvery
from experiments.methods.named import settings_of
from experiments.settings.files import Files
from experiments.settings.presets import PRESETS
from experiments.tasks.glue import GlueTask
from experiments.tasks.lengths import cut_lengths, grouped, on_length
from experiments.tasks.scores import Binary
from tests.support.tiny import read, row_of, train
from tests.support.tiny_glue import random_arrays, write_corpus, write_encoder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Small corpora that pass for the published ones, and an encoder."""
    folder, published = tmp_path_factory.mktemp("glue"), dict(CORPORA)
    CORPORA.update({name: write_corpus(folder, name) for name in CORPORA})
    write_encoder(folder / "encoder")
    yield folder
    CORPORA.update(published)


def tiny(root, corpus="sst2", **options):
    """A task of few words; two lengths, batches of eight."""
    given = {"max_length": 16, "lengths": 2, "length_group": 8} | options
    return GlueTask(corpus=corpus, encoder=str(root / "encoder"), **given)


def config_of(task, **options):
    """Larger steps than a pretrained encoder bears."""
    given = {"batch_size": 8, "warmup_steps": 0, "learning_rate": 1e-3} | options
    return settings_of(task, **given).config


def loaded(root, task):
    return task.load(Files(root))


def test_data(root):
    task = tiny(root, "mnli")
    data = loaded(root, task)
    assert {name: part.shape for name, part in data["rows"].items()} == {
        "train": (40,),
        "validation": (24,),
        "validation_mismatched": (24,),
    }
    assert data["tokens"].shape == (88, 16)
    assert data["tokens"].dtype == np.uint16
    for rows in task.splits(data, jax.random.key(0)).values():
        assert (np.diff(data["lengths"][rows]) >= 0).all()
    for tokens, length in zip(data["tokens"], data["lengths"], strict=True):
        assert tokens[0] == 2  # [CLS]
        assert tokens[length - 1] == 3  # [SEP]
        assert not tokens[length:].any()


def test_the_start_is_the_encoder_and_a_classifier_of_the_seed(root):
    task = tiny(root, "mnli")
    data = loaded(root, task)
    one, other = (
        initialize(config_of(task, seed=seed).traced(), data).params for seed in (0, 1)
    )
    arrays = random_arrays()
    for params in (one, other):
        np.testing.assert_array_equal(
            params["words"]["embedding"], arrays["embeddings.word_embeddings.weight"]
        )
        np.testing.assert_array_equal(
            params["pooler"]["kernel"], arrays["pooler.dense.weight"].T
        )
        assert not params["classifier"]["bias"].any()
    kernels = [params["classifier"]["kernel"] for params in (one, other)]
    assert kernels[0].shape == (16, 3)
    assert np.abs(kernels[0] - kernels[1]).min() > 0
    assert 0.01 < np.std(kernels[0]) < 0.03


def test_a_new_pooler_is_told(root, tmp_path):
    arrays = {n: a for n, a in random_arrays().items() if "pooler" not in n}
    task = GlueTask(encoder=str(write_encoder(tmp_path, arrays)), max_length=16)
    with pytest.warns(UserWarning, match="has no pooler: a new one is drawn"):
        data = loaded(root, task)
    drawn = task.init(jax.random.key(0), data)[0]["pooler"]["kernel"]
    assert 0.015 < jnp.std(drawn) < 0.025


def test_means_need_no_pooler(root, tmp_path):
    encoder = write_encoder(tmp_path)
    told = encoder / "1_Pooling" / "config.json"
    told.parent.mkdir()
    told.write_text('{"pooling_mode_mean_tokens": true}', encoding="utf-8")
    for pooling, has in (("encoder", False), ("mean", False), ("first", True)):
        task = GlueTask(encoder=str(encoder), pooling=pooling, max_length=16)
        params, _ = task.init(jax.random.key(0), loaded(root, task))
        assert ("pooler" in params) == has


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"max_length": 64}, "max_length must be ≤ 32, the encoder's positions"),
        (
            {"vocab_size": 9},
            {"max_length": 16},
            r"the tokenizer has the token 11, the encoder's vocabulary ends before 9",
        ),
        (
            {"intermediate_size": 9},
            {"max_length": 16},
            r"model\.safetensors: encoder\.layer\.0\.intermediate\.dense\.weight",
        ),
        ({"num_attention_heads": 5}, {}, "must divide hidden_size = 16, got 5"),
    ],
)
def test_encoders_that_do_not_fit_are_told(root, tmp_path, changes, options, message):
    task = GlueTask(encoder=str(write_encoder(tmp_path, **changes)), **options)
    with pytest.raises(DataError, match=message):
        loaded(root, task)


def test_lengths_to_cut_to():
    assert cut_lengths(128, 6) == [24, 32, 48, 64, 96, 128]
    assert cut_lengths(10, 4) == [8, 10]
    assert cut_lengths(50, 1) == [50]


def test_the_longest_example_decides_and_of_lanes_the_longest_of_all():
    choices = [8, 16, 20]

    def chosen(lengths):
        return on_length(lambda length: jnp.array(length), lengths, choices)

    for longest, expected in ((3, 8), (8, 8), (9, 16), (16, 16), (17, 20), (20, 20)):
        assert chosen(jnp.array([2, longest])) == expected
    lanes = jnp.array([[2, 3], [9, 4]])
    assert jax.vmap(chosen)(lanes).tolist() == [16, 16]
    program = str(jax.make_jaxpr(jax.vmap(chosen))(lanes))
    assert "cond[" in program
    assert "select_n" not in program.split("cond[")[1]


def test_groups_are_of_about_the_same_length():
    lengths = jnp.asarray(np.random.default_rng(0).integers(3, 60, 101))
    keys = jax.random.split(jax.random.key(0), 4)
    orders = [
        grouped(jax.random.permutation(keys[2 * i], 101), lengths, 10, keys[2 * i + 1])
        for i in range(2)
    ]
    for order in orders:
        assert sorted(order.tolist()) == list(range(101))
        spread = np.ptp(lengths[order[:100]].reshape(10, 10), axis=1)
        assert spread.mean() < 8
    assert (orders[0] != orders[1]).mean() > 0.8
    firsts = [lengths[order[:100:10]] for order in orders]
    assert (np.diff(firsts[0]) < 0).any()  # not from short to long
    members = [{frozenset(o[i : i + 10].tolist()) for i in (0, 10)} for o in orders]
    assert members[0] != members[1]


def test_scores_equal_counts():
    rng = np.random.default_rng(0)
    is_one, found = rng.random((2, 50)) < [[0.7], [0.5]]
    tp, fp = (found & is_one).sum(), (found & ~is_one).sum()
    fn, tn = (~found & is_one).sum(), (~found & ~is_one).sum()
    scores = Binary.of(*(jnp.asarray(a, jnp.float32) for a in (is_one, found)))
    assert float(scores.f1()) == pytest.approx(2 * tp / (2 * tp + fp + fn), rel=1e-5)
    root = np.sqrt(float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
    matthews = (tp * tn - fp * fn) / root
    assert float(scores.matthews()) == pytest.approx(matthews, rel=1e-4)
    none = Binary.of(jnp.zeros(3), jnp.zeros(3))
    assert (float(none.f1()), float(none.matthews())) == (0, 0)


@pytest.mark.thorough
def test_scores_of_all_splits(root):
    """Two classes have F1 and Matthews'; MNLI has two validation splits."""
    for corpus, names in (("qnli", {"f1", "matthews"}), ("mnli", set())):
        task = tiny(root, corpus, lengths=1)
        config, data = config_of(task), loaded(root, task)
        row = row_of(config, data, initialize(config.traced(), data))
        splits = set(data["rows"])
        wanted = {f"{s}_{n}" for s in splits for n in names | {"loss", "accuracy"}}
        assert {n for n in row if n.split("_")[0] in ("train", "validation")} == wanted
        assert row["validation_loss"] == pytest.approx(np.log(3 - len(names) / 2), 0.1)


def test_of_many_examples_to_train_on_a_part_is_scored(root):
    splits = {"train": np.arange(67_349), "validation": np.arange(5)}
    scored = tiny(root).scored(splits)
    assert 256 <= len(scored["train"]) <= 512
    assert scored["validation"] is splits["validation"]
    few = {"train": np.arange(40)}
    assert len(tiny(root).scored(few)["train"]) == 40


def losses_of(config, data, *lengths):
    state, found = initialize(config.traced(), data), []
    for length in lengths:
        state, log = run_chunk(config.traced(), length, data, state)
        found.append(log.loss)
    return np.concatenate(found), state


@pytest.mark.thorough
def test_cutting_changes_no_number(root):
    """With dropout, over an epoch whose last batch is smaller, and its evaluation."""
    found = []
    for lengths in (1, 3):
        task = tiny(root, "mrpc", lengths=lengths)
        config, data = config_of(task, batch_size=12), loaded(root, task)
        losses, state = losses_of(config, data, 8)
        row = row_of(config, data, state)
        found.append([*losses, row["train_loss"], row["validation_matthews"]])
    np.testing.assert_allclose(found[0], found[1], rtol=2e-5)


@pytest.mark.thorough
def test_it_learns_and_dropout_differs_from_step_to_step(root):
    task = tiny(root)
    config = config_of(task, filter="ema:alpha=0.5:lamb=1", learning_rate=3e-3)
    data = loaded(root, task)
    losses, state = losses_of(config, data, 120)
    assert losses[-5:].mean() < 0.5 * losses[:5].mean()
    assert row_of(config, data, state)["validation_accuracy"] > 0.8
    examples = task.take(data, np.arange(8))
    one, again, other, none = (
        task.forward(state.params, (), examples, key, train=True)[0].prediction
        for key in (*map(jax.random.key, (0, 0, 1)), None)
    )
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    assert np.abs(one - none).max() > 1e-3


@pytest.mark.slow
def test_lanes_are_the_runs_alone(root):
    """Looped bit for bit; batched to rounding, though they share their lengths."""
    task = tiny(root)
    data = loaded(root, task)
    configs = [config_of(task, filter="ema", seed=seed) for seed in range(2)]
    alone = [losses_of(config, data, 6)[0] for config in configs]
    together = {}
    for way in ("map", "vmap"):
        config = stack(configs)
        state = initialize_lanes(config, data)
        _, log = run_chunk_of_lanes(config, 6, data, state, way=way)
        together[way] = np.asarray(log.loss)
    np.testing.assert_array_equal(together["map"], alone)
    np.testing.assert_allclose(together["vmap"], alone, rtol=1e-4)


@pytest.mark.thorough
def test_a_run_goes_on_with_the_same_numbers(root, tmp_path):
    task = tiny(root, lengths=1)
    data = loaded(root, task)

    def settings(steps):
        return settings_of(
            task, filter="ema", batch_size=8, steps=steps, eval_every=4, warmup_steps=0
        )

    often = SaveEvery(steps=4)
    train(tmp_path / "whole", settings(12), data, save_every=often)
    for steps in (8, 12):
        train(tmp_path / "parts", settings(steps), data, save_every=often)
    (whole, rows), (parts, same) = (read(tmp_path / n) for n in ("whole", "parts"))
    assert rows == same
    assert whole["parameters_sha256"] == parts["parameters_sha256"]


EIGHT_DEVICES = """
import sys
from pathlib import Path
import jax
from experiments.commands.cli import main
from experiments.data.glue import CORPORA
from tests.support.tiny_glue import write_corpus, write_encoder
root = Path(sys.argv[1])
assert jax.device_count() == 8
CORPORA["sst2"] = write_corpus(root, "sst2")
write_encoder(root / "encoder")
options = "--max-length 16 --lengths 2 --length-group 8 --batch-size 8 --steps 4"
sys.exit(main(["sweep", "glue", "--encoder", str(root / "encoder"), "--data-dir",
    str(root), *options.split(), "--eval-every", "2", "--warmup-steps", "0",
    "--seeds", "4", "--filter", "none,ema", "--way", "vmap",
    "--run-dir", str(root / "sweep")]))
"""


@pytest.mark.slow
def test_a_sweep_on_eight_devices(tmp_path):
    flags = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    )
    done = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES, str(tmp_path)],
        env=os.environ | {"XLA_FLAGS": flags},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summaries = list((tmp_path / "sweep").glob("lanes/*/summary.json"))
    assert len(summaries) == 8


@pytest.mark.thorough
def test_command_line(root, capsys):
    """What is trained, and where the encoder is, is in the record."""
    arguments = ["train", "glue", "--preset", "glue-mrpc", "--dry-run", "--json"]
    encoder = str(root / "encoder")
    own = ["--encoder", encoder, "--data-dir", str(root), "--max-length", "16"]
    short = ["--lengths", "1", "--batch-size", "4"]
    assert main([*arguments, *own, *short]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["config"]["encoder"] == encoder
    assert plan["config"]["corpus"] == "mrpc"
    assert plan["config"]["steps"] == PRESETS["glue"]["glue-mrpc"]()["steps"]
    assert main(["train", "glue", "--encoder", str(root), "--data-dir", str(root)]) != 0
    assert "has no config.json" in capsys.readouterr().err


@pytest.mark.parametrize("preset", PRESETS["glue"].values())
def test_presets_end_with_their_schedules(preset):
    values = {name: v for name, v in preset().items() if name != "corpus"}
    settings = settings_of(GlueTask(), **values)
    optimizer = settings.config.optimizer
    ends = optimizer.warmup_steps + optimizer.schedule_steps
    assert ends == settings.budget.steps
