"""The PyTorch twin of the GPT computes what the task computes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import torch_gpt  # noqa: E402
from experiments.engine.objective import mean_loss  # noqa: E402
from tests.tasks.test_gpt import KEY, SMALL, moved  # noqa: E402


def pairs(model, ours):
    """Every parameter of the twin, and the same part of a tree of ours, as theirs."""
    yield model.tokens.weight, ours["token_embedding"]["embedding"]
    yield model.positions.weight, ours["position_embedding"]["embedding"]
    layers = [(model.norm, ours["norm"])]
    for i, block in enumerate(model.blocks):
        own = ours["blocks"][i]
        names = ("norm_attention", "norm_mlp", "mlp_in", "mlp_out")
        layers += [(getattr(block, name), own[name]) for name in names]
        layers += [(getattr(block, n), own["attention"][n]) for n in ("qkv", "out")]
    for layer, own in layers:
        yield layer.weight, own["kernel"].T if "kernel" in own else own["scale"]
        if layer.bias is not None:
            yield layer.bias, own["bias"]


@pytest.mark.parametrize("bias", [False, True])
def test_forward_and_gradient(bias):
    task = dataclasses.replace(SMALL, bias=bias)
    data = task.load()
    params = moved(task.init(KEY, data)[0])
    examples = task.take(data, jnp.array([3, 50, 11]))
    model = torch_gpt.GPT(task.size)
    found = list(pairs(model, params))
    assert len(found) == len(list(model.parameters())) == len(jax.tree.leaves(params))
    with torch.no_grad():
        for parameter, own in found:
            parameter.copy_(torch.tensor(np.array(own)))
    tokens, following = (
        torch.tensor(np.asarray(examples[name], np.int64))
        for name in ("tokens", "next")
    )
    outputs, _ = task.forward(params, (), examples, None, train=False)
    logits = model(tokens).detach()
    np.testing.assert_allclose(outputs.prediction, logits, rtol=1e-4, atol=1e-4)
    value_and_grad = jax.jit(mean_loss(task).value_and_grad)
    (loss, _), gradient = value_and_grad(params, (), examples, KEY)
    theirs = torch_gpt.mean_loss(model, tokens, following)
    theirs.backward()
    assert float(loss) == pytest.approx(theirs.item(), rel=1e-5)
    for parameter, own in pairs(model, gradient):
        largest = np.abs(own).max()
        np.testing.assert_allclose(parameter.grad, own, rtol=1e-4, atol=1e-4 * largest)
