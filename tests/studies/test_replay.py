"""Our training step against recorded runs of the published implementation."""

import json

import numpy as np
import pytest
import scipy.special

from experiments.commands.cli import main

DECAY = {"none": "0", "ema": "0.005", "ma": "0.01"}


def parity(record, name, capsys, *options):
    arguments = ["--filter", name, "--weight-decay", DECAY[name], *options]
    assert main(["parity", str(record), *arguments]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("name", ["none", "ema", "ma"])
def test_first_steps(name, parity_record, capsys):
    result = parity(parity_record(name), name, capsys, "--max-steps", "110")
    assert result["filter"] == name
    assert result["max_rel_loss_100"] <= 2e-6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("none", None), ("ema", 910), ("ma", 790)])
def test_whole_run(name, steps, parity_record, capsys):
    result = parity(parity_record(name), name, capsys)
    assert result["steps_to_95"] == result["reference_steps_to_95"] == steps
    assert result["max_rel_loss_100"] <= 2e-6
    assert result["max_rel_loss_400"] <= 1e-3


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
