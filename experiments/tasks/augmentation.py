"""Random crops and flips inside the compiled step."""

import jax
import jax.numpy as jnp

from experiments.settings.task import Key


def crop_and_flip(key: Key, images_NxSxSxC: jax.Array) -> jax.Array:
    """A random window of each image padded by S/8 pixels of zeros, mirrored or not.

    Args:
      key: of this step.
      images_NxSxSxC: pixels as they are stored: the zeros are black.
    """
    count, size = images_NxSxSxC.shape[:2]
    pad = size // 8
    padding = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    of_crop, of_flip = jax.random.split(key)
    corners = jax.random.randint(of_crop, (count, 2), 0, 2 * pad + 1)
    flips = jax.random.bernoulli(of_flip, shape=(count,))

    def one(image: jax.Array, corner: jax.Array, flip: jax.Array) -> jax.Array:
        shape = size, size, image.shape[-1]
        window = jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), shape)
        return jnp.where(flip, window[:, ::-1], window)

    return jax.vmap(one)(jnp.pad(images_NxSxSxC, padding), corners, flips)
