"""Fixed augmented copies of images: N×CIFAR of arXiv 2109.14119.

Every image is cropped and flipped N times, once for all: training on the copies is
deterministic. The copies, their order among each other included, depend on nothing but
the images and N; what they must be is tested by checksum. PCG64's raw numbers, unlike
NumPy's distributions, are the same in every version.
"""

import numpy as np


def crop_and_flip(
    images: np.ndarray, rows: np.ndarray, columns: np.ndarray, flips: np.ndarray
) -> np.ndarray:
    """Windows of the padded images at ``rows`` and ``columns``, some of them mirrored.

    Args:
      images: ``[n, S, S, 3]``, padded here by S/8 pixels of zeros on every side.
      rows: first row of each window in the padded image, 0 … S/4, ``[n]``.
      columns: the same of the columns.
      flips: whether to mirror left and right, ``[n]``.
    """
    size = images.shape[1]
    pad = size // 8
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))
    cropped = windows[np.arange(len(images)), rows, columns].transpose(0, 2, 3, 1)
    return np.where(flips[:, None, None, None], cropped[:, :, ::-1], cropped)


def fixed_copies(
    images: np.ndarray, labels: np.ndarray, copies: int
) -> tuple[np.ndarray, np.ndarray]:
    """``copies`` augmented copies of every image and label, shuffled once.

    The first copy is augmented as well.

    Args:
      images: ``[n, S, S, 3]``, uint8.
      labels: ``[n]``.
      copies: how many, at least one.

    Returns:
      ``[copies · n, S, S, 3]`` and ``[copies · n]``.
    """
    count, size = len(images), images.shape[1]
    source = np.random.PCG64(count)
    order = np.argsort(source.random_raw(copies * count), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    drawn_images = np.empty((copies * count, *images.shape[1:]), images.dtype)
    drawn_labels = np.empty(copies * count, labels.dtype)
    for copy in range(copies):
        rows, columns = (source.random_raw(count) % (size // 4 + 1) for _ in range(2))
        flips = source.random_raw(count) % 2 == 1
        own = place[copy * count : (copy + 1) * count]
        drawn_images[own] = crop_and_flip(images, rows, columns, flips)
        drawn_labels[own] = labels
    return drawn_images, drawn_labels
