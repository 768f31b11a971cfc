"""The networks for images beside their PyTorch twins: the same numbers and steps."""

import functools

import jax
import numpy as np
import optax
import pytest
from flax import nnx

torch = pytest.importorskip("torch")

from benchmarks import torch_images  # noqa: E402
from experiments.engine.objective import mean_loss  # noqa: E402
from experiments.methods.named import settings_of  # noqa: E402
from experiments.models import densenet, resnet  # noqa: E402
from tests.support.random_images import RandomImages  # noqa: E402

NETWORKS = {
    "basic": (
        functools.partial(resnet.ResNet, resnet.basic, (1, 2)),
        functools.partial(torch_images.ResNet, torch_images.basic, (1, 2)),
    ),
    "bottleneck": (
        functools.partial(resnet.ResNet, resnet.bottleneck, (1, 2)),
        functools.partial(torch_images.ResNet, torch_images.bottleneck, (1, 2)),
    ),
    "preact18": (resnet.PreActivationResNet, torch_images.PreActivationResNet),
    "densenet": (
        functools.partial(densenet.DenseNet, (2, 1)),
        functools.partial(torch_images.DenseNet, (2, 1)),
    ),
}
WIDTH, CLASSES = 4, 10


def with_weights(model, params):
    """The twin with our parameters; its running statistics stay as they start."""
    missing, unexpected = model.load_state_dict(
        torch_images.as_torch(params), strict=False
    )
    assert not unexpected
    assert all("running_" in name or "num_batches" in name for name in missing)
    return model.train()


@pytest.mark.thorough
@pytest.mark.parametrize("network", NETWORKS)
def test_forward_and_gradient(network):
    """To 1e-4, of every array's largest gradient."""
    make, make_twin = NETWORKS[network]
    module = make(WIDTH, CLASSES, rngs=nnx.Rngs(0))
    graph, *split = nnx.split(module, nnx.Param, ...)
    params, state = map(nnx.to_pure_dict, split)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(12, 8, 8, 3)).astype(np.float32)
    labels = rng.integers(0, CLASSES, 12)

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def ours(params):
        logits, _ = nnx.merge(graph, params, state)(images)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), logits

    (loss, logits), gradient = ours(params)
    model = with_weights(make_twin(WIDTH, CLASSES), params)
    found = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    theirs = torch.nn.functional.cross_entropy(found, torch.from_numpy(labels))
    theirs.backward()
    np.testing.assert_allclose(logits, found.detach(), rtol=1e-4, atol=1e-4)
    assert float(loss) == pytest.approx(theirs.item(), rel=1e-4)
    expected = torch_images.as_torch(gradient)
    for name, parameter in model.named_parameters():
        atol = 1e-4 * expected[name].abs().max().item()
        np.testing.assert_allclose(parameter.grad, expected[name], 1e-4, atol, name)


@pytest.mark.thorough
def test_ten_steps():
    """Nesterov's momentum, decay, BatchNorm: losses and all that is left, to 1e-3."""
    task = RandomImages(
        train_points=40, validation_points=10, width=WIDTH, augment="none"
    )
    options = {"schedule": "constant", "warmup_steps": 0, "batch_size": 8}
    config, data = settings_of(task, **options).config, task.load()
    params, state = task.init(jax.random.key(0), data)
    model = torch_images.ResNet(torch_images.basic, (1, 1), WIDTH)
    with_weights(model, params)
    optimizer = optax.chain(*config.optimizer.build())
    opt_state = optimizer.init(params)
    value_and_grad = jax.jit(mean_loss(task).value_and_grad)
    losses = []
    for step in range(10):
        rows = data["train"][8 * (step % 5) : 8 * (step % 5) + 8]
        examples = task.take(data, rows)
        (loss, state), gradient = value_and_grad(
            params, state, examples, jax.random.key(step)
        )
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    mean, std = (np.array(pixels, np.float32) for pixels in task.pixels)
    images = (data["images"][data["train"]] / np.float32(255) - mean) / std
    labels = data["labels"][data["train"]]
    train = torch_images.make_steps(model, images, labels, 8, learning_rate=0.1)
    np.testing.assert_allclose(losses, train(10), rtol=1e-3)
    left = dict(model.named_parameters())
    for name, array in torch_images.as_torch(params).items():
        largest = array.abs().max().item()
        np.testing.assert_allclose(
            left[name].detach(), array, rtol=1e-3, atol=1e-3 * largest, err_msg=name
        )
    running = {n: b for n, b in model.named_buffers() if "running_" in n}
    ours = torch_images.as_torch(state)
    assert len(running) == len(ours)
    for name, array in ours.items():
        prefix, _, own = name.rpartition(".")
        theirs = running[f"{prefix}.running_{own}"]
        np.testing.assert_allclose(theirs, array, rtol=1e-3, atol=1e-3, err_msg=name)
