"""Our training step against recorded runs of the published implementation."""

import json
import re

import numpy as np
import pytest
import scipy.special

from experiments.commands import studies
from experiments.commands.cli import main
from experiments.studies import replay
from tests.conftest import REPOSITORY
from tests.support.tiny import TASK

DECAY = {"none": "0", "ema": "0.005", "ma": "0.01"}


def parity(record, name, capsys, *options):
    arguments = ["--filter", name, "--weight-decay", DECAY[name], *options]
    assert main(["parity", str(record), *arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(
    "name",
    [
        "none",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("ema", "ma")),
    ],
)
def test_first_steps(name, parity_record, capsys):
    result = parity(parity_record(f"trace_{name}"), name, capsys, "--max-steps", "110")
    assert result["filter"] == name
    assert result["max_rel_loss_100"] <= 2e-6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("none", None), ("ema", 910), ("ma", 790)])
def test_whole_run(name, steps, parity_record, capsys):
    result = parity(parity_record(f"trace_{name}"), name, capsys)
    assert result["steps_to_95"] == result["reference_steps_to_95"] == steps
    assert result["max_rel_loss_100"] <= 2e-6
    assert result["max_rel_loss_400"] <= 1e-3


def test_first_steps_of_qm9(parity_record, real_data, capsys):
    """Beyond some hundred steps rounding has grown."""
    options = ["--max-steps", "500", "--data-dir", str(real_data("qm9").parent)]
    result = parity(parity_record("qm9"), "none", capsys, *options)
    assert result["max_rel_loss"] <= 1.5e-4
    for name in ("lowest_validation_loss", "lowest_batch_quotient"):
        assert result[name] == pytest.approx(result[f"reference_{name}"], rel=1e-4)
    assert result["lowest_batch_quotient"] == pytest.approx(1.2547, abs=1e-4)


@pytest.mark.slow
def test_first_steps_of_qm9_with_filter(parity_record, real_data, capsys):
    options = ["--max-steps", "100", "--data-dir", str(real_data("qm9").parent)]
    options += ["--alpha", "0.9", "--lamb", "1", "--weight-decay", "0.01"]
    result = parity(parity_record("qm9"), "ema", capsys, *options)
    assert result["max_rel_loss"] <= 1e-3


def test_positions_of_molecules_in_their_half():
    half = np.array([44, 19, 93, 4])
    orders = np.array([[93, 4, 44, 19], [4, 19, 44, 93]])
    positions = replay.positions(orders, half)
    np.testing.assert_array_equal(half[positions], orders)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ("ma", "filter must be that of a run in the record, ema_wd001, none, got 'ma'"),
        ("ema:alpha=0.9", "no ema_wd001/val_avg_loss, ema_wd001/val_loss, order_val"),
    ],
)
def test_records_of_qm9_that_do_not_fit(filter, message, tmp_path, capsys):
    path = tmp_path / "record.npz"
    names = ("order_train", "none/train_loss", "ema_wd001/train_loss", "train", "val")
    np.savez(path, **dict.fromkeys(names, np.ones(50)))
    assert main(["parity", str(path), "--filter", filter]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["none", "ema"])
def test_first_steps_of_imdb(name, parity_record, capsys):
    """Then rounding has grown: in double precision both differ as much."""
    decay = {"none": "1", "ema": "10"}[name]
    options = ["--alpha", "0.98", "--lamb", "2"] if name == "ema" else []
    options += ["--filter", name, "--weight-decay", decay, "--max-steps", "4"]
    assert main(["parity", str(parity_record("imdb")), *options]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["max_rel_loss"] <= 1e-4


def odds_of_review(record, tokens):
    """In float64, from its PyTorch-layout parameters."""
    p = {k[6:]: v.astype(np.float64) for k, v in record.items() if k[:6] == "param/"}
    states = [(np.zeros(4), np.zeros(4))] * 2
    for token in tokens:
        x = p["embedding.weight"][token]
        for n, (h, c) in enumerate(states):
            a = p[f"lstm.weight_ih_l{n}"] @ x + p[f"lstm.bias_ih_l{n}"]
            a += p[f"lstm.weight_hh_l{n}"] @ h + p[f"lstm.bias_hh_l{n}"]
            i, f, g, o = np.split(a, 4)
            c = scipy.special.expit(f) * c + scipy.special.expit(i) * np.tanh(g)
            x = scipy.special.expit(o) * np.tanh(c)
            states[n] = x, c
    return p["fc.weight"][0] @ x + p["fc.bias"][0]


@pytest.mark.thorough
def test_replay_of_reviews_equals_a_numpy_twin(tmp_path, capsys):
    """With learning rate 0 every step's loss tells the rows that it was given."""
    rng = np.random.default_rng(0)
    shapes = {"embedding.weight": (7, 3), "fc.weight": (1, 4), "fc.bias": (1,)}
    for n, fan_in in enumerate((3, 4)):
        shapes |= {f"lstm.weight_ih_l{n}": (16, fan_in)}
        shapes |= {f"lstm.weight_hh_l{n}": (16, 4)}
        shapes |= {f"lstm.bias_{part}_l{n}": (16,) for part in ("ih", "hh")}
    record = {
        f"param/{name}": rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    tokens = rng.integers(1, 7, (12, 6)) * (np.arange(6) >= rng.integers(0, 6, (12, 1)))
    labels, split = rng.integers(0, 2, 12), rng.permutation(12)
    train, validation = split[:9], split[9:]
    batches = np.concatenate([rng.permutation(train).reshape(3, 3) for _ in range(4)])
    odds = np.array([odds_of_review(record, row) for row in tokens])
    losses = np.log1p(np.exp(np.where(labels == 1, -odds, odds)))
    norms = [np.sqrt(sum((v.astype(np.float64) ** 2).sum() for v in record.values()))]
    record |= {
        "ids": tokens.astype(np.int16),
        "labels": labels.astype(np.int8),
        "split_train": train,
        "split_val": validation,
        "none_wd0/batch": batches[:11],
        "none_wd0/val_batch": np.tile(validation, (11, 1))[:, :2],
        "none_wd0/train_loss": losses[batches[:11]].mean(1),
        "none_wd0/val_loss": np.full(11, losses[validation[:2]].mean()),
        "none_wd0/grad_norm": np.ones(11),
        "none_wd0/weight_norm_each_10": np.array(norms),
    }
    path = tmp_path / "record.npz"
    np.savez(path, **record)
    options = ["--learning-rate", "0", "--weight-decay", "0"]
    assert main(["parity", str(path), *options]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["steps"] == 11
    for name in ("loss", "batch_loss", "weight_norm"):
        assert result[f"max_rel_{name}"] <= 2e-6
    assert result["lowest_next_gradient_norm"] > 0
    assert main(["parity", str(path), *options, "--filter", "ma"]) == 2
    assert "filter must be that of a run in the record, none_wd0" in (
        capsys.readouterr().err
    )


@pytest.fixture
def small_record():
    """A record of the published format: x·y mod 11, three epochs of four steps."""
    rng, d = np.random.default_rng(0), 16
    shapes = {
        "token_embeddings.weight": (13, d),
        "position_embeddings.weight": (5, d),
        "ln_f.weight": (d,),
        "ln_f.bias": (d,),
        "head.weight": (13, d),
    }
    for i in range(2):
        shapes |= {
            f"layers.{i}.{name}": shape
            for name, shape in {
                "ln_1.weight": (d,),
                "ln_1.bias": (d,),
                "ln_2.weight": (d,),
                "ln_2.bias": (d,),
                "attn.in_proj_weight": (3 * d, d),
                "attn.in_proj_bias": (3 * d,),
                "attn.out_proj.weight": (d, d),
                "attn.out_proj.bias": (d,),
                "mlp.0.weight": (4 * d, d),
                "mlp.0.bias": (4 * d,),
                "mlp.2.weight": (d, 4 * d),
                "mlp.2.bias": (d,),
            }.items()
        }
    record = {
        f"param/{name}": rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    return record | {
        "split_perm": rng.permutation(110).astype(np.int32),
        "epoch_perms": np.stack([rng.permutation(55) for _ in range(3)]),
        "step_loss": np.ones(12, np.float32),
        "its": np.array([4, 8, 12]),
        "val_acc": np.array([0.1, 0.5, 0.97]),
    }


def numpy_loss(record, tokens, answers, heads=2):
    """Cross-entropy of the published model, from its PyTorch-layout parameters."""
    p = {k[6:]: v.astype(np.float64) for k, v in record.items() if k[:6] == "param/"}

    def norm(h, name):
        h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
        return h * p[f"{name}.weight"] + p[f"{name}.bias"]

    def linear(h, name):
        return h @ p[f"{name}weight"].T + p[f"{name}bias"]

    h = p["token_embeddings.weight"][tokens] + p["position_embeddings.weight"][:4]
    for i in range(2):
        h = norm(h, f"layers.{i}.ln_1")
        q, k, v = (
            a.reshape(*a.shape[:2], heads, -1)
            for a in np.split(linear(h, f"layers.{i}.attn.in_proj_"), 3, axis=-1)
        )
        scores = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
        scores[..., np.triu_indices(4, 1)[0], np.triu_indices(4, 1)[1]] = -np.inf
        mixed = np.einsum("bhqk,bkhd->bqhd", scipy.special.softmax(scores, -1), v)
        h = h + linear(mixed.reshape(h.shape), f"layers.{i}.attn.out_proj.")
        hidden = linear(norm(h, f"layers.{i}.ln_2"), f"layers.{i}.mlp.0.")
        hidden = hidden * scipy.special.ndtr(hidden)  # the exact GELU
        h = h + linear(hidden, f"layers.{i}.mlp.2.")
    logits = norm(h, "ln_f")[:, -1] @ p["head.weight"].T
    log_p = scipy.special.log_softmax(logits, axis=-1)
    return -log_p[np.arange(len(answers)), answers].mean()


@pytest.mark.thorough
def test_replay_equals_a_numpy_twin(small_record, tmp_path, capsys):
    """With learning rate 0 every step's loss tells the rows that it was given."""
    path = tmp_path / "record.npz"
    rows, expected = small_record["split_perm"][:55], []
    for shuffle in small_record["epoch_perms"]:
        rows = rows[shuffle]  # the shuffles compose
        for batch in np.split(rows, [16, 32, 48]):
            x, y = batch // 10, 1 + batch % 10
            tokens = np.stack([x, 0 * x + 12, y, 0 * x + 11], axis=1)
            expected.append(numpy_loss(small_record, tokens, x * y % 11))
    np.savez(path, **small_record | {"step_loss": np.array(expected)})
    options = ["--learning-rate", "0", "--batch-size", "16", "--heads", "2"]
    assert main(["parity", str(path), *options]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["max_rel_loss_100"] <= 2e-6
    assert result["steps"] == 12
    assert result["steps_to_95"] is None
    assert result["reference_steps_to_95"] == 12


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"param/head.weight": None}, [], "no param/head.weight"),
        ({"epoch_perms": 1}, [], "shuffles for 4 steps only, not for 12"),
        ({}, ["--batch-size", "32"], "batch_size must give 4 steps per epoch"),
        (
            {"its": 0},
            ["--batch-size", "28"],
            "batch_size must make 3 epochs",
        ),
        ({}, ["--heads", "3"], "heads must divide width = 16, got 3"),
    ],
)
def test_records_that_do_not_fit(
    small_record, change, options, message, tmp_path, capsys
):
    for name, rows in change.items():
        if rows is None:
            del small_record[name]
        else:
            small_record[name] = small_record[name][:rows]
    path = tmp_path / "record.npz"
    np.savez(path, **small_record)
    common = ["--batch-size", "16", "--heads", "2"]
    assert main(["parity", str(path), *common, *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.thorough
def test_a_run_of_ours_is_a_record_that_is_replayed(tmp_path, monkeypatch, capsys):
    """The same weights, split and batches give the same losses, to rounding."""
    path = tmp_path / "ours.npz"
    monkeypatch.setattr(studies, "ModularTask", lambda heads: TASK)
    arguments = ["parity", str(path), "--batch-size", "16"]
    arguments += ["--heads", "2"]
    assert main(arguments) == 2
    assert f"parity --make {path} writes one" in capsys.readouterr().err
    assert main([*arguments, "--make", "--max-steps", "8"]) == 0
    assert main([*arguments, "--make"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["steps"] == 8
    assert result["max_rel_loss"] <= 1e-6
    record = dict(np.load(path))
    assert record["its"].tolist() == [4, 8]
    settings = json.loads(str(record["settings"]))
    assert settings["batch_size"] == 16
    assert settings["heads"] == 2
    assert settings["filter"] == "none"
    assert settings["learning_rate"] == 1e-3
    assert main([*arguments, "--filter", "ema"]) == 2
    assert "filter must be 'none' as in the record" in capsys.readouterr().err
    assert len(set(record["step_loss"].tolist())) == 8


def test_settings_other_than_the_records_are_refused(small_record, tmp_path, capsys):
    path = tmp_path / "record.npz"
    settings = {"batch_size": 16, "heads": 2, "filter": "ema", "lamb": 5.0}
    settings |= {"optimizer": "adam", "clip_norm": None}
    np.savez(path, **small_record | {"settings": json.dumps(settings)})
    right = ["--batch-size", "16", "--heads", "2", "--filter", "ema", "--lamb", "5"]
    for name, value, recorded in (
        ("batch-size", "15", "16"),
        ("heads", "4", "2"),
        ("filter", "none", "'ema'"),
        ("lamb", "2", "5.0"),
        ("optimizer", "sgd", "'adam'"),
        ("clip-norm", "1", "None"),
    ):
        assert main(["parity", str(path), *right, f"--{name}", value]) == 2
        words = f"{name.replace('-', '_')} must be {recorded} as in the record, got "
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("settings", ["{", "[]"])
def test_damaged_settings_of_a_record(small_record, tmp_path, capsys, settings):
    path = tmp_path / "record.npz"
    np.savez(path, **small_record | {"settings": settings})
    assert main(["parity", str(path)]) == 2
    assert "its settings are no object of JSON" in capsys.readouterr().err


def test_files_that_are_no_records(tmp_path, capsys):
    objects = tmp_path / "objects.npz"
    np.savez(objects, a=np.array([None]))
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(objects.read_bytes().replace(b"NUMPY", b"NIMPY"))
    for path, words in (
        (REPOSITORY / "README.md", "is no .npz file, .* parity NAME.npz --make"),
        (objects, "holds Python objects"),
        (damaged, "is damaged"),
    ):
        assert main(["parity", str(path)]) == 2
        error = capsys.readouterr().err
        assert re.search(words, error)
        assert "pickle" not in error
