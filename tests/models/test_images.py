"""Networks for images: convolutions and their gradients, BatchNorm by blocks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.models.batch_norm import EPSILON, BatchNorm
from experiments.models.convolution import convolution
from experiments.tasks.cifar import CifarTask
from tests.support.random_images import RandomImages


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def plain(x, kernel, stride):
    """The convolution, sum by sum."""
    n, h, w, _ = x.shape
    around = np.pad(np.asarray(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.zeros((n, h // stride, w // stride, kernel.shape[-1]))
    for i in range(3):
        for j in range(3):
            seen = around[:, i : i + h : stride, j : j + w : stride]
            y += seen @ np.asarray(kernel[i, j])
    return y


def gradients(function, *args):
    """By all arguments, of a function that weighs all outputs differently."""

    def weighted(*args):
        y = function(*args)
        return jnp.sum(y * jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return jax.grad(weighted, argnums=tuple(range(len(args))))(*args)


def derived(x, kernel, stride):
    """XLA's convolution, whose gradients JAX derives."""
    layout, pads = ("NHWC", "HWIO", "NHWC"), ((1, 1), (1, 1))
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), pads, dimension_numbers=layout
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("images", "size", "fan_in", "fan_out"),
    # The last are large images, and more than the cache has.
    [(3, 4, 2, 3), (1, 2, 3, 1), (6, 64, 10, 8), (6, 64, 16, 16)],
)
def test_convolution_and_its_gradients(images, size, fan_in, fan_out, stride):
    args = random(images, size, size, fan_in), random(3, 3, fan_in, fan_out, seed=1)
    ours = functools.partial(convolution, stride=stride)
    np.testing.assert_allclose(ours(*args), plain(*args, stride), atol=1e-12)
    expected = gradients(functools.partial(derived, stride=stride), *args)
    for found, wanted in zip(gradients(ours, *args), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_of_lanes(stride):
    """As vmap batches them, gradients too."""
    images, kernels = random(2, 3, 4, 4, 2), random(2, 3, 3, 2, 3, seed=1)
    ours = functools.partial(gradients, functools.partial(convolution, stride=stride))
    for lanes, *own in zip(
        jax.vmap(ours)(images, kernels), *map(ours, images, kernels), strict=True
    ):
        np.testing.assert_allclose(lanes, jnp.stack(own), atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("stride", "size"), [(1, 4), (2, 4), (1, 256)])
def test_products_with_the_hessian(stride, size):
    """A derivative of the gradient along a direction, as a penalty on it takes."""
    x, kernel = random(3, size, size, 2), random(3, 3, 2, 3, seed=1)
    direction = random(3, 3, 2, 3, seed=2)

    def product(convolution):
        def loss(kernel):
            return jnp.sum(jnp.tanh(convolution(x, kernel, stride)))

        return jax.jvp(jax.grad(loss), (kernel,), (direction,))[1]

    np.testing.assert_allclose(product(convolution), product(derived), atol=1e-10)


def blocks_of(x, size):
    """Each block normalised by itself, in NumPy."""
    x = np.asarray(x, np.float64)
    parts = [x[i : i + size] for i in range(0, len(x), size)]
    means = [part.mean((0, 1, 2)) for part in parts]
    variances = [part.var((0, 1, 2)) for part in parts]
    normal = [
        (part - mean) / np.sqrt(variance + EPSILON)
        for part, mean, variance in zip(parts, means, variances, strict=True)
    ]
    counts = [part[..., 0].size for part in parts]
    unbiased = [v * n / (n - 1) for v, n in zip(variances, counts, strict=True)]
    return np.concatenate(normal), means, unbiased


@pytest.mark.parametrize("block", [0, 3, 4, 9])
def test_batch_norm_by_blocks(block):
    """Seven images; running statistics follow the blocks in turn, as PyTorch's."""
    x = random(7, 2, 2, 3).astype(jnp.float32) * 2 + 1
    norm = BatchNorm(3, block)
    norm.scale[...], norm.bias[...] = jnp.full(3, 2.0), jnp.full(3, 0.5)
    normal, means, variances = blocks_of(x, block or 7)
    np.testing.assert_allclose(norm(x), 2 * normal + 0.5, atol=1e-5)
    mean, variance = np.zeros(3), np.ones(3)
    for m, v in zip(means, variances, strict=True):
        mean, variance = 0.9 * mean + 0.1 * m, 0.9 * variance + 0.1 * v
    np.testing.assert_allclose(norm.mean[...], mean, rtol=1e-4)
    np.testing.assert_allclose(norm.var[...], variance, rtol=1e-4)
    norm.eval()
    expected = 2 * (np.asarray(x) - mean) / np.sqrt(variance + EPSILON) + 0.5
    np.testing.assert_allclose(norm(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.mean[...], mean, rtol=1e-4)


SIZES = {  # of ten classes; those of 64 channels are widely reported
    ("resnet18", 64): 11_173_962,
    ("resnet50", 64): 23_520_842,
    ("preact18", 16): 699_066,
    ("densenet121", 64): 6_956_298,
    ("resnet152", 64): 58_156_618,
}


@pytest.mark.parametrize(
    ("network", "width"),
    [
        pytest.param(*case, marks=[pytest.mark.thorough] if i > 2 else [])
        for i, case in enumerate(SIZES)
    ],
)
def test_parameter_counts(network, width):
    task = CifarTask(network=network, width=width)
    params, _ = jax.eval_shape(task.init, jax.random.key(0), None)
    assert sum(p.size for p in jax.tree.leaves(params)) == SIZES[network, width]


def test_initial_weights():
    """He's by the outputs; PyTorch's own without BatchNorm; γ = 1 everywhere."""
    params, state = jax.jit(CifarTask(width=8).init)(jax.random.key(0), None)
    kernel = params["blocks"][4]["layers"][0]["conv"]["kernel"]
    assert kernel.shape == (3, 3, 16, 32)
    assert jnp.std(kernel) == pytest.approx(np.sqrt(2 / (9 * 32)), rel=0.05)
    assert jnp.abs(kernel).max() > 3 * np.sqrt(2 / (9 * 32))  # normal, not cut off
    assert jnp.abs(params["head"]["kernel"]).max() <= 1 / 8
    norms = [layer["norm"] for layer in params["blocks"][4]["layers"].values()]
    for norm in norms:
        np.testing.assert_array_equal(norm["scale"], jnp.ones(32))
        np.testing.assert_array_equal(norm["bias"], jnp.zeros(32))
    assert state["stem"]["norm"]["var"].shape == (8,)
    task = CifarTask(network="preact18", width=8)
    params, state = jax.jit(task.init)(jax.random.key(0), None)
    largest = jnp.abs(params["blocks"][4]["first"]["kernel"]).max()
    assert largest == pytest.approx(1 / np.sqrt(9 * 16), rel=0.01)
    assert state == ()


def test_what_the_relus_get():
    """Sixteen inputs, 137,216 numbers an image, of the network of 16 channels."""
    task = CifarTask(network="preact18", width=16, augment="none")
    examples = {
        "images": jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8),
        "labels": jax.ShapeDtypeStruct((1,), jnp.uint8),
    }

    def outputs(key, examples):
        start = task.init(key, None)
        return task.forward(*start, examples, None, train=False)[0]

    seen = jax.eval_shape(outputs, jax.random.key(0), examples).preactivations
    assert len(seen) == 16
    assert sum(z.size for z in seen.values()) == 137_216


@pytest.mark.thorough
def test_an_image_is_seen_by_its_own_block_alone():
    """Within a block images may change places; from block to block they may not."""
    task = RandomImages(width=2, batch_norm_block=4, augment="none")
    params, state = task.init(jax.random.key(0), None)
    examples = task.take(task.load(), jnp.arange(8))

    @jax.jit
    def gradient(examples):
        def loss(params):
            outputs, _ = task.forward(params, state, examples, None, train=True)
            return jnp.mean(task.losses(outputs, examples))

        return flat(jax.grad(loss)(params))

    def moved(order):
        order = jnp.asarray(order)
        return gradient(jax.tree.map(lambda a: a[order], examples))

    base = gradient(examples)
    tolerance = 1e-4 * np.abs(base).max()
    within, across = moved([3, 1, 0, 2, 7, 6, 5, 4]), moved([0, 1, 2, 4, 3, 5, 6, 7])
    np.testing.assert_allclose(within, base, atol=tolerance)
    assert np.abs(across - base).max() > 100 * tolerance


def flat(tree):
    return jnp.concatenate([jnp.ravel(a) for a in jax.tree.leaves(tree)])
