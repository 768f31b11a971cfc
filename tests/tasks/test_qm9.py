"""The graph network and the QM9 task."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.commands.cli import main
from experiments.data.qm9 import load_qm9
from experiments.engine.objective import mean_loss
from experiments.engine.state import Keys
from experiments.engine.train import initialize, run_chunk
from experiments.methods.named import settings_of
from experiments.models.edge_network import EdgeConvolution, Graphs
from experiments.pictures.curves import plot_curves
from experiments.settings.files import Files
from experiments.settings.options import options
from experiments.tasks.qm9 import Qm9Task, padded
from tests.support.tiny import train


def some_molecules(count=7, seed=0):
    """Random graphs as concatenated arrays: nodes, edges both ways, one-hot bonds."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 6, count)
    edges = []
    for size in sizes:
        pairs = [(u, v) for u in range(size) for v in range(u) if rng.random() < 0.7]
        edges.append(
            [(a, b) for u, v in pairs or [(1, 0)] for a, b in ((u, v), (v, u))]
        )
    kinds = rng.integers(0, 4, sum(map(len, edges)))
    return {
        "node_ptr": np.cumsum([0, *sizes]),
        "edge_ptr": np.cumsum([0, *map(len, edges)]),
        "x": rng.integers(0, 8, (sizes.sum(), 11)).astype(np.uint8),
        "edge_index": np.concatenate(edges).T,
        "edge_attr": np.eye(4, dtype=np.uint8)[kinds],
        "alpha": rng.normal(37, 10, count).astype(np.float32),
    }


@options
class RandomMolecules(Qm9Task):
    name: ClassVar[str] = "random-molecules"

    def load(self, files=Files()):
        return padded(**some_molecules(self.molecules))


def values_of_all(task, params, data):
    """What the task computes of each molecule."""
    data = jax.tree.map(jnp.asarray, data)
    outputs, _ = task.forward(params, (), data, None, train=False)
    return task.values(outputs, data)


def numpy_convolution(layer, x, edge_index, edge_attr):
    """Float64 twin: one edge after the other."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), layer)
    out = x @ p["root"]["kernel"] + p["bias"]
    for source, target, features in zip(*edge_index, edge_attr, strict=True):
        hidden = features @ p["edge_in"]["kernel"] + p["edge_in"]["bias"]
        hidden = np.maximum(hidden, 0)
        matrix = hidden @ p["edge_out"]["kernel"] + p["edge_out"]["bias"]
        out[target] += x[source] @ matrix.reshape(x.shape[1], -1)
    return out


def numpy_alpha(params, data, m):
    """Float64 twin of the network for one molecule."""
    nodes, edges = (slice(*data[name][m : m + 2]) for name in ("node_ptr", "edge_ptr"))
    graph = data["edge_index"][:, edges], data["edge_attr"][edges].astype(np.float64)
    h = data["x"][nodes].astype(np.float64)
    for name in ("convolution_1", "convolution_2"):
        h = np.maximum(numpy_convolution(params[name], h, *graph), 0)
    h = h.sum(0)
    for name in ("hidden", "head"):
        kernel, bias = (
            np.asarray(params[name][k], np.float64) for k in ("kernel", "bias")
        )
        h = h @ kernel + bias
        h = np.maximum(h, 0) if name == "hidden" else h
    return h[0]


def test_convolution_equals_a_loop_for_any_features():
    """Every edge of its own kind, with features that are not one-hot."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 3)).astype(np.float32)
    edge_index = rng.integers(0, 6, (2, 15))
    features = rng.normal(size=(15, 5)).astype(np.float32)
    layer = EdgeConvolution(3, 4, edge_features=5, hidden=8, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.arange(4.0)
    found = layer(jnp.asarray(x), *jnp.asarray(edge_index), jnp.arange(15), features)
    params = nnx.to_pure_dict(nnx.state(layer))
    expected = numpy_convolution(params, x, edge_index, features)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    sums = np.zeros((6, 1 + 15, 3), np.float32)
    sums[:, 0] = x
    for kind, (source, target) in enumerate(edge_index.T):
        sums[target, 1 + kind] += x[source]
    of_sums = layer.of_sums(jnp.asarray(sums), features)
    np.testing.assert_allclose(of_sums, expected, rtol=1e-5, atol=1e-5)


def nonzero_biases(params):
    """Biases of the convolutions start at 0, and would hide a node of the padding."""
    return jax.tree.map(lambda p: p + 0.1, params)


@pytest.mark.thorough
def test_metrics_equal_numpy_twin():
    data = some_molecules()
    task = RandomMolecules(molecules=7)
    params = nonzero_biases(task.init(jax.random.key(0), ())[0])
    found = values_of_all(task, params, task.load())
    alphas = np.array([numpy_alpha(params, data, m) for m in range(7)])
    np.testing.assert_allclose(found["loss"], (alphas - data["alpha"]) ** 2, rtol=1e-4)
    assert set(found) == {"loss"}


@pytest.mark.thorough
def test_padding_and_order_of_nodes_change_nothing():
    data, task = some_molecules(), RandomMolecules(molecules=7)
    params = nonzero_biases(task.init(jax.random.key(0), ())[0])
    rng = np.random.default_rng(2)
    examples = padded(**data)
    size = examples["nodes"].shape[1]

    wider = {
        "nodes": np.pad(examples["nodes"], ((0, 0), (0, 3), (0, 0), (0, 0))),
        "node_count": examples["node_count"],
        "alpha": examples["alpha"],
        "kinds": np.pad(examples["kinds"], ((0, 0), (0, 5)), constant_values=2),
    }
    mixed = {name: np.array(a) for name, a in examples.items()}
    for ends in ("sources", "targets"):
        more = ((0, 0), (0, 5))
        wider[ends] = np.pad(examples[ends], more, constant_values=size + 2)
    for m, count in enumerate(examples["node_count"]):
        new = np.concatenate([rng.permutation(count), np.arange(count, size)])
        mixed["nodes"][m, new] = examples["nodes"][m]
        for ends in ("sources", "targets"):
            mixed[ends][m] = new[examples[ends][m]]

    def loss_and_gradient(examples):
        examples = jax.tree.map(jnp.asarray, examples)
        return mean_loss(task).value_and_grad(params, (), examples, jax.random.key(0))

    expected = loss_and_gradient(examples)
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(expected[1]))
    for other in (wider, mixed):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(
                a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max()
            ),
            loss_and_gradient(other),
            expected,
        )


def test_edges_must_be_of_one_kind():
    data = some_molecules()
    data["edge_attr"][3] = [1, 0, 0, 1]
    with pytest.raises(ValueError, match="edge_attr must be one-hot"):
        padded(**data)


def test_initial_distribution_is_pytorch_geometrics():
    params, _ = Qm9Task().init(jax.random.key(0), ())
    fans = {
        ("convolution_1", "edge_in"): 4,
        ("convolution_1", "edge_out"): 32,
        ("convolution_1", "root"): 11,
        ("convolution_2", "root"): 32,
        ("hidden",): 16,
    }
    for path, fan_in in fans.items():
        layer = params
        for name in path:
            layer = layer[name]
        for leaf in jax.tree.leaves(layer):
            bound = 1 / np.sqrt(fan_in)
            assert 0.7 * bound < jnp.abs(leaf).max() <= bound
    for name in ("convolution_1", "convolution_2"):
        assert not params[name]["bias"].any()
    shapes = {k: params[k]["root"]["kernel"].shape for k in params if "conv" in k}
    assert shapes == {"convolution_1": (11, 32), "convolution_2": (32, 16)}


@pytest.mark.thorough
@pytest.mark.parametrize("features", ["published", "clean"])
def test_real_molecules(features, real_data):
    task, place = Qm9Task(features=features), real_data("qm9").parent
    data = task.load(Files(data_dir=place))
    np.testing.assert_allclose(data["alpha"][:3], [13.21, 9.46, 6.31], rtol=1e-6)
    assert list(data["node_count"][:3]) == [5, 4, 3]  # methane, ammonia, water
    assert data["nodes"].shape == (100, 18, 5, 11)
    assert (data["nodes"] == data["nodes"].astype(np.uint8)).all()  # sums are exact
    carbon, hydrogen = data["nodes"][0, 0], data["nodes"][0, 1, 0]  # methane
    np.testing.assert_array_equal(carbon[1], 4 * hydrogen)
    assert not carbon[2:].any()
    has_hybrids = data["nodes"][:, :, :, 6:10].any()
    assert has_hybrids == (features == "clean")
    assert (data["kinds"] == 3).any() == (features == "clean")
    params, _ = task.init(jax.random.key(0), data)
    loss = values_of_all(task, params, data)["loss"]
    arrays = load_qm9(100, place)
    if features == "published":
        for m in (0, 57, 99):
            expected = (numpy_alpha(params, arrays, m) - arrays["alpha"][m]) ** 2
            np.testing.assert_allclose(loss[m], expected, rtol=1e-3)
    config, data = settings_of(task).config.traced(), jax.device_put(data)
    state = initialize(config, data)
    state, (losses, _) = run_chunk(config, 40, data, state)
    assert np.isfinite(losses).all()
    assert losses[-4:].max() < 0.1 * losses[:4].min()


def test_halves_are_random_and_disjoint():
    task = RandomMolecules(molecules=7)
    data = {"alpha": jnp.arange(7.0)}
    parts = [task.splits(data, Keys.from_seed(seed).split) for seed in range(3)]
    for splits in parts:
        assert splits.keys() == {"train", "validation"}
        halves = {n: task.take(data, rows)["alpha"] for n, rows in splits.items()}
        assert sorted(np.concatenate(list(halves.values()))) == list(range(7))
        assert len(halves["train"]) == 3
    assert len({tuple(np.asarray(splits["train"])) for splits in parts}) > 1


@pytest.mark.thorough
def test_a_run_without_accuracy(tmp_path, capsys):
    settings = settings_of(RandomMolecules(molecules=8), steps=20, eval_every=5)
    run = train(tmp_path, settings)
    plot_curves(run)
    summary = run.summary()
    found = summary["milestones"]
    losses = run.metrics()["validation_loss"]
    assert found == {
        "min_validation_loss": losses.min(),
        "t_min_validation_loss": 5 * losses.argmin(),
    }
    assert run.curves_file.read_bytes().startswith(b"\x89PNG")
    for verb in (["show", str(tmp_path)], ["compare", str(tmp_path), str(tmp_path)]):
        assert main(verb) == 0
    text = capsys.readouterr().out
    assert "lowest validation loss" in text
    assert "validation accuracy" not in text


def test_no_target_without_accuracy(capsys):
    assert main(["train", "qm9", "--stop-at", "0.9"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: stop_at is an accuracy, which the task qm9")
    assert "0.9" in message


def test_more_molecules_than_there_are(capsys):
    assert main(["train", "qm9", "--molecules", "999999"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: Invalid value for '--molecules': 999999")
    assert "2<=x<=130831" in message


@pytest.mark.parametrize("task", ["mnist", "qm9"])
def test_help_says_where_the_data_are_searched_for(task, capsys):
    assert main(["train", task, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "[default: that of GROKFAST_DATA, else the user's cache]" in text


def test_graphs_are_what_the_task_loads():
    assert set(Graphs._fields) | {"alpha"} == RandomMolecules(molecules=3).load().keys()
