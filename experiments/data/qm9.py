"""Temporary reader."""

import os
from pathlib import Path

import numpy as np


def load_qm9(molecules, data_dir=None):
    """Read the npz."""
    root = Path(data_dir or os.environ.get("GROKFAST_SHARED", "../shared") + "/data")
    with np.load(root / "qm9" / "qm9_first2000_graphs.npz") as z:
        n, e = z["node_ptr"][molecules], z["edge_ptr"][molecules]
        c = z["edge_ptr_clean"][molecules]
        return {
            "node_ptr": z["node_ptr"][: molecules + 1],
            "edge_ptr": z["edge_ptr"][: molecules + 1],
            "edge_ptr_clean": z["edge_ptr_clean"][: molecules + 1],
            "x": z["x"][:n],
            "x_clean": z["x_clean"][:n],
            "edge_index": z["edge_index"][:, :e],
            "edge_attr": z["edge_attr"][:e],
            "edge_index_clean": z["edge_index_clean"][:, :c],
            "edge_attr_clean": z["edge_attr_clean"][:c],
            "alpha": z["alpha"][:molecules],
        }
