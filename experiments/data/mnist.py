"""Temporary reader."""

import gzip
import os
from pathlib import Path

import numpy as np


def load_mnist(data_dir=None):
    """Read the IDX files."""
    root = Path(data_dir or os.environ.get("GROKFAST_SHARED", "../shared") + "/data")

    def idx(name, offset):
        with gzip.open(root / "mnist" / f"{name}.gz") as f:
            return np.frombuffer(f.read(), np.uint8, offset=offset)

    return {
        "train_images": idx("train-images-idx3-ubyte", 16).reshape(-1, 28, 28),
        "train_labels": idx("train-labels-idx1-ubyte", 8),
        "test_images": idx("t10k-images-idx3-ubyte", 16).reshape(-1, 28, 28),
        "test_labels": idx("t10k-labels-idx1-ubyte", 8),
    }
