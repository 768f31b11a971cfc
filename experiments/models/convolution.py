"""Convolutions on images with channels last, and their gradients at a CPU's speed.

Images are ``[N, H, W, C]``, kernels ``[K, K, I, O]``, K = 1 or 3, and the padding keeps
the size but for the stride. XLA's own convolution is on a CPU about as fast as a matrix
product (see :mod:`experiments.engine.compiled`), two of the gradients that it derives
are not. They are written out here (benchmarks/RESULTS.md):

- by the kernel, where the columns of the image's three shifts and the rows of the
  gradient's three shifts make one product, in pieces of the batch that stay in the
  cache;
- by the image at stride 2, which is four convolutions without stride: of the pixels in
  even and odd rows and columns.
"""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

kernel_normal = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
"""N(0, 2/fan_out), He's for networks with ReLU."""

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_IN_CACHE = 2**21
"""Numbers in the shifted copies of a piece of the batch: 8 MiB."""


class Conv(nnx.Module):
    """Convolution, from ``[N, H, W, I]`` to ``[N, H/stride, W/stride, O]``; no bias.

    Args:
      fan_in: channels of the images, I.
      fan_out: channels of the output, O.
      size: of the kernel, 1 or 3.
      stride: 1 or 2.
      kernel_init: of the kernel, ``[size, size, I, O]``.
      rngs: source of the initial kernel.
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        size: int = 3,
        stride: int = 1,
        *,
        kernel_init: jax.nn.initializers.Initializer = kernel_normal,
        rngs: nnx.Rngs,
    ):
        shape = size, size, fan_in, fan_out
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, jnp.float32))
        self.stride = stride

    def __call__(self, x_NxHxWxI: jax.Array) -> jax.Array:
        """The output."""
        kernel = self.kernel[...]
        if len(kernel) == 3:
            return convolution(x_NxHxWxI, kernel, self.stride)
        return x_NxHxWxI[:, :: self.stride, :: self.stride] @ kernel[0, 0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The convolution of images by a kernel of 3 × 3, at stride 1 or 2.

    Args:
      x: images, ``[N, H, W, I]``; at stride 2, H and W are even.
      kernel: ``[3, 3, I, O]``.
      stride: 1 or 2.
    """
    return _convolution(x, kernel, stride)


def _convolution(
    x: jax.Array, kernel: jax.Array, stride: int = 1, pad: int = 1
) -> jax.Array:
    padding = ((pad, pad), (pad, pad))
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT
    )


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _convolution(x, kernel, stride), (x, kernel)


def _backward(
    stride: int, residuals: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return lax.platform_dependent(
        *residuals,
        g,
        cpu=functools.partial(_gradients, stride=stride),
        default=functools.partial(_derived_gradients, stride=stride),
    )


convolution.defvjp(_forward, _backward)


def _derived_gradients(
    x: jax.Array, kernel: jax.Array, g: jax.Array, stride: int
) -> tuple[jax.Array, jax.Array]:
    _, vjp = jax.vjp(functools.partial(_convolution, stride=stride), x, kernel)
    return vjp(g)


def _gradients(
    x: jax.Array, kernel: jax.Array, g: jax.Array, stride: int
) -> tuple[jax.Array, jax.Array]:
    by_image = _by_image if stride == 1 else _by_image_at_stride_2
    return by_image(kernel, g), _by_kernel(x, g, stride)


def _piece(x: jax.Array, size: int) -> int:
    """Images whose shifted copies, three of ``size`` numbers, stay in the cache."""
    most = 2 ** int(math.log2(max(1, _IN_CACHE / (3 * size))))
    return math.gcd(len(x), most)


def _by_image(kernel: jax.Array, g: jax.Array) -> jax.Array:
    return _convolution(g, kernel[::-1, ::-1].swapaxes(2, 3))


def _by_image_at_stride_2(kernel: jax.Array, g: jax.Array) -> jax.Array:
    """Even pixels have seen the kernel's middle, odd ones both of its sides."""
    n, h, w, _ = g.shape
    turned = kernel.swapaxes(2, 3)
    below = jnp.pad(g, ((0, 0), (0, 1), (0, 1), (0, 0)))
    middle, sides = slice(1, 2), slice(None, None, -2)

    def part(rows: slice, columns: slice) -> jax.Array:
        seen = below[:, : h + (rows is sides), : w + (columns is sides)]
        return _convolution(seen, turned[rows, columns], pad=0)

    parts = [[part(rows, cols) for cols in (middle, sides)] for rows in (middle, sides)]
    image = jnp.stack([jnp.stack(row, axis=3) for row in parts], axis=2)
    return image.reshape(n, 2 * h, 2 * w, -1)


def _by_kernel(x: jax.Array, g: jax.Array, stride: int) -> jax.Array:
    """The sum over pieces of the batch."""
    product = _shifted_product if stride == 1 else _patches_product
    size = _piece(x, x[0].size + g[0].size)
    if size == len(x):
        return product(x, g)

    def add(total: jax.Array, start: jax.Array) -> tuple[jax.Array, None]:
        piece = (lax.dynamic_slice_in_dim(a, start, size) for a in (x, g))
        return total + product(*piece), None

    zero = jnp.zeros((3, 3, x.shape[-1], g.shape[-1]), x.dtype)
    return lax.scan(add, zero, jnp.arange(0, len(x), size))[0]


def _shifted_product(x: jax.Array, g: jax.Array) -> jax.Array:
    """Σ over pixels of x, moved by columns, times g, moved by rows the other way."""
    n, h, w, fan_in = x.shape
    beside = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    above = jnp.pad(g, ((0, 0), (1, 1), (0, 0), (0, 0)))
    columns = jnp.concatenate([beside[:, :, j : j + w] for j in range(3)], axis=-1)
    rows = jnp.concatenate([above[:, 2 - i : 2 - i + h] for i in range(3)], axis=-1)
    product = columns.reshape(n * h * w, -1).T @ rows.reshape(n * h * w, -1)
    return product.reshape(3, fan_in, 3, -1).transpose(2, 0, 1, 3)


def _patches_product(x: jax.Array, g: jax.Array) -> jax.Array:
    """Σ over pixels of g, times the nine of x that each has seen at stride 2."""
    n, h, w, fan_out = g.shape
    around = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = jnp.concatenate(
        [
            around[:, i : i + 2 * h - 1 : 2, j : j + 2 * w - 1 : 2]
            for i in range(3)
            for j in range(3)
        ],
        axis=-1,
    )
    product = patches.reshape(n * h * w, -1).T @ g.reshape(n * h * w, fan_out)
    return product.reshape(3, 3, -1, fan_out)
