"""The PyTorch twins of the benchmarks compute what the tasks compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import torch_imdb, torch_tasks  # noqa: E402
from experiments.engine.objective import mean_loss  # noqa: E402
from tests.tasks.test_imdb import SIZES, TASK  # noqa: E402
from tests.tasks.test_mnist import SMALL, RandomImages  # noqa: E402
from tests.tasks.test_qm9 import RandomMolecules, nonzero_biases, some_molecules  # noqa: E402

HEAD = {"weight": "kernel", "bias": "bias"}


def copy_linear(layer, ours):
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.asarray(ours["kernel"]).T.copy()))
        if layer.bias is not None:
            layer.bias.copy_(torch.tensor(np.asarray(ours["bias"])))


def assert_same_step(task, params, examples, loss, gradients):
    """The same loss, and the same gradient of some parameters, from both."""
    objective, key = mean_loss(task), jax.random.key(0)
    (ours, _), gradient = objective.value_and_grad(params, (), examples, key)
    loss.backward()
    assert loss.item() == pytest.approx(float(ours), rel=1e-5)
    for parameter, find in gradients:
        expected = np.asarray(find(gradient))
        np.testing.assert_allclose(
            parameter.grad, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
        )


def test_mnist():
    task, key = RandomImages(train_points=SMALL.train_points), jax.random.key(0)
    data = task.load()
    params, _ = task.init(key, data)
    model = torch_tasks.mlp()
    for i in range(3):
        copy_linear(model[2 * i], params["layers"][i])
    examples = task.take(data, task.splits(data, key)["train"])
    loss_of = torch_tasks.mnist_loss(**examples)
    assert_same_step(
        task,
        params,
        examples,
        loss_of(model, list(range(20))),
        [(model[0].weight, lambda g: g["layers"][0]["kernel"].T)],
    )


def test_qm9():
    molecules, task = some_molecules(), RandomMolecules(molecules=7)
    data = task.load()
    params = nonzero_biases(task.init(jax.random.key(0), data)[0])
    model = torch_tasks.EdgeNetwork()
    for name in ("convolution_1", "convolution_2"):
        layer, ours = getattr(model, name), params[name]
        copy_linear(layer.edge_network[0], ours["edge_in"])
        copy_linear(layer.edge_network[2], ours["edge_out"])
        copy_linear(layer.root, ours["root"])
        with torch.no_grad():
            layer.bias.copy_(torch.tensor(np.asarray(ours["bias"])))
    for name in ("hidden", "head"):
        copy_linear(getattr(model, name), params[name])
    first = model.convolution_1.edge_network[0].weight
    assert_same_step(
        task,
        params,
        jax.tree.map(jnp.asarray, data),
        torch_tasks.qm9_loss(molecules)(model, list(range(7))),
        [
            (first, lambda g: g["convolution_1"]["edge_in"]["kernel"].T),
            (model.convolution_2.bias, lambda g: g["convolution_2"]["bias"]),
        ],
    )


def test_imdb():
    data, key = TASK.load(), jax.random.key(0)
    data = TASK.with_split(data, TASK.splits(data, key))
    examples = TASK.take(data, jnp.arange(12))
    params = jax.tree.map(lambda p: 3 * p, TASK.init(key, data)[0])
    model = torch_imdb.ReviewLstm(1 + SIZES["vocabulary"], 3, 4, 2)
    names = {
        f"lstm.{theirs}_l{n}": params["layers"][n][ours].T
        for n in range(2)
        for theirs, ours in (
            ("weight_ih", "input"),
            ("weight_hh", "recurrent"),
            ("bias_ih", "input_bias"),
            ("bias_hh", "recurrent_bias"),
        )
    }
    names |= {"embedding.weight": params["embedding"]}
    names |= {f"fc.{t}": params["head"][o].T for t, o in HEAD.items()}
    arrays = {n: torch.tensor(np.array(array)) for n, array in names.items()}
    model.load_state_dict(arrays)
    tokens, labels = (np.array(examples[name]) for name in ("tokens", "labels"))
    found = model(torch.tensor(tokens.astype(np.int64)))
    loss = torch.nn.functional.binary_cross_entropy(
        found, torch.tensor(labels.astype(np.float32))
    )
    assert_same_step(
        TASK,
        params,
        examples,
        loss,
        [
            (model.embedding.weight, lambda g: g["embedding"]),
            (model.lstm.weight_hh_l0, lambda g: g["layers"][0]["recurrent"].T),
            (model.lstm.bias_ih_l1, lambda g: g["layers"][1]["input_bias"]),
        ],
    )
    train = torch_imdb.make_steps(model, tokens, labels, batch_size=5)
    assert len(train(4)) == 4
