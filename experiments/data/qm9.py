"""QM9: small organic molecules as graphs, and their isotropic polarisability.

Sources: Ramakrishnan et al., Scientific Data 1, 140022 (2014); Wu et al., MoleculeNet,
arXiv 1703.00564 (the structure file); node features of Gilmer et al., arXiv 1704.01212.
The molecules are those that PyTorch Geometric keeps, in its order: all 133,885 without
the 3,054 of ``uncharacterized.txt``. They come from prepared arrays,
``qm9_first<n>_graphs.npz``, or from the raw files, packed or not, whose conversion is
kept in the user's cache under such a name. The checksum of ``uncharacterized.txt`` is
the one that TensorFlow Datasets has registered; those of the other two are as other
projects report them: their sizes are not published.
"""

import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from experiments.data import qm9_raw
from experiments.data.source import (
    DataError,
    DataFile,
    Located,
    cache_directory,
    first_sound,
    locate,
    places,
)
from experiments.files import write_whole
from experiments.lock import acquired

MOLECULES = 130_831
"""Number of molecules that PyTorch Geometric keeps."""

_ARCHIVE = (
    "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/molnet_publish/qm9.zip"
)
RAW_FILES = (
    DataFile(
        "gdb9.sdf",
        "98c4e97d50ac549b8c9f0b2114b348a9a944718e17e50d9a724b729f1deaa28e",
        _ARCHIVE,
        archives=("gdb9.tar.gz",),
    ),
    DataFile(
        "gdb9.sdf.csv",
        "73a67793e3cfa9660f001278bd019c143f57e4785db537a01811cf2ce72aa7eb",
        _ARCHIVE,
        archives=("gdb9.tar.gz",),
    ),
    DataFile(
        "uncharacterized.txt",
        "3aa5115d540b356de94791d4a74c3bf1ed91c469ecf52a4f5d7cc0506fe02e24",
        "https://springernature.figshare.com/ndownloader/files/3195404",
        486_752,
        other_names=("3195404",),
    ),
)

# By name: type and shape. In the files, x and edge_attr are uint8 to save space.
ARRAYS: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "node_ptr": (np.int32, ("pointers",)),
    "edge_ptr": (np.int32, ("pointers",)),
    "x": (np.float32, ("nodes", 11)),
    "edge_index": (np.int32, (2, "edges")),
    "edge_attr": (np.float32, ("edges", 4)),
    "x_clean": (np.float32, ("nodes", 11)),
    "edge_ptr_clean": (np.int32, ("pointers",)),
    "edge_index_clean": (np.int32, (2, "edges_clean")),
    "edge_attr_clean": (np.float32, ("edges_clean", 4)),
    "alpha": (np.float32, ("molecules",)),
}
_POINTERS = {"nodes": "node_ptr", "edges": "edge_ptr", "edges_clean": "edge_ptr_clean"}


def load_qm9(
    molecules: int, data_dir: Path | None = None, *, download: bool = False
) -> dict[str, np.ndarray]:
    """The first ``molecules`` molecules, cut out of concatenated arrays by pointers.

    Molecule m has the rows ``node_ptr[m] … node_ptr[m + 1] - 1`` of ``x`` and the edges
    ``edge_ptr[m] … edge_ptr[m + 1] - 1``. The ``*_clean`` arrays, with pointers of
    their own for the edges, hold the chemically complete graph: aromatic bonds,
    aromaticity and hybridisation, which the others lack (as in PyTorch Geometric).

    Args:
      molecules: how many, 1 … 130,831.
      data_dir: directory with ``qm9_first<n>_graphs.npz``, n ≥ ``molecules``, or with
        the three raw files (needs RDKit), packed or not, in it, in its folder ``qm9``
        or in ``QM9/raw``. None: that of ``GROKFAST_DATA``, else the user's cache.
      download: fetch raw files that are missing; needs TensorFlow Datasets too.

    Returns:
      ``node_ptr``, ``edge_ptr``, ``edge_ptr_clean`` [molecules + 1] int32; ``x``,
      ``x_clean`` [nodes, 11] float32: one-hot H C N O F, atomic number, aromatic, sp,
      sp2, sp3, number of hydrogens; ``edge_index``, ``edge_index_clean`` [2, edges]
      int32: atoms counted from 0 in each molecule, both directions; ``edge_attr``,
      ``edge_attr_clean`` [edges, 4] float32: one-hot single, double, triple, aromatic;
      ``alpha`` [molecules] float32: isotropic polarisability in bohr³.

    Raises:
      ValueError: ``molecules`` is out of range.
      DataError: files are missing, damaged or others than the published ones, hold
        too few molecules, or could not be fetched; RDKit is not installed.
    """
    if not 1 <= molecules <= MOLECULES:
        raise ValueError(f"molecules must be 1 … {MOLECULES}, got {molecules}.")
    prepared = _prepared([*places("qm9", data_dir), cache_directory() / "qm9"])
    if enough := [each for each in prepared if each[0] >= molecules]:
        arrays = first_sound(enough, lambda each: _read(each[1], each[0]))
        return _first(arrays, molecules)
    if download:
        qm9_raw.check_rdkit()
    try:
        raw = locate("qm9", RAW_FILES, data_dir, download=download)
    except DataError as error:
        if not prepared:
            raise DataError(
                f"{error}\nConverting them needs RDKit: pip install rdkit. Prepared "
                "arrays, qm9_first<n>_graphs.npz, would do instead, there or in the "
                "user's cache."
            ) from None
        largest, path = max(prepared)
        raise DataError(
            f"{molecules:,} molecules of QM9 wanted, {path} holds {largest:,}; "
            f"for more, {error}"
        ) from None
    return _convert(raw, molecules)


def _prepared(directories: Sequence[Path]) -> list[tuple[int, Path]]:
    """Number of molecules and path of all prepared arrays, smallest first in each."""
    found = []
    for directory in directories:
        matches = {
            int(match[1]): path
            for path in directory.glob("qm9_first*_graphs.npz")
            if (match := re.fullmatch(r"qm9_first(\d+)_graphs\.npz", path.name))
        }
        found += sorted(matches.items())
    return found


def _convert(raw: Sequence[Located], molecules: int) -> dict[str, np.ndarray]:
    """Convert the raw files, once: the arrays go into the user's cache."""
    qm9_raw.check_rdkit()
    cache = cache_directory() / "qm9"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"qm9_first{molecules}_graphs.npz"
    with acquired(cache / ".lock"):  # of two processes, one converts
        if not target.exists():
            structures, properties, left_out = (file.read() for file in raw)
            buffer = io.BytesIO()
            arrays = qm9_raw.convert(structures, properties, left_out, molecules)
            np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
            write_whole(target, buffer.getvalue())
    return _read(target, molecules)


# What a damaged .npz raises; RuntimeError: it looks encrypted, or of a later format.
_DAMAGES = (ValueError, KeyError, EOFError, RuntimeError, BadZipFile, zlib.error)


def _read(path: Path, molecules: int) -> dict[str, np.ndarray]:
    contents = io.BytesIO(path.read_bytes())
    try:
        with np.load(contents, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ARRAYS}
        _check_arrays(arrays, molecules)
    except _DAMAGES as error:
        raise DataError(
            f"{path} is damaged, or not {molecules:,} prepared molecules of QM9: "
            f"{error}.\nDelete it: it is made anew from the raw files, if they are "
            "there; or copy it again from where it came."
        ) from None
    return {name: arrays[name].astype(kind) for name, (kind, _) in ARRAYS.items()}


def _check_arrays(arrays: dict[str, np.ndarray], molecules: int) -> None:
    """Raise ValueError unless the arrays fit together."""
    for name in _POINTERS.values():
        pointer = arrays[name]
        if pointer.shape != (molecules + 1,):
            raise ValueError(f"{name} has the shape {pointer.shape}")
        if pointer[0] != 0 or (np.diff(pointer) < 0).any():
            raise ValueError(f"{name} does not rise from 0")
    lengths = _lengths(arrays, molecules)
    for name, (kind, axes) in ARRAYS.items():
        array, shape = arrays[name], tuple(lengths.get(axis, axis) for axis in axes)
        if array.shape != shape:
            raise ValueError(f"{name} has the shape {array.shape}, not {shape}")
        if not np.can_cast(array.dtype, kind, "same_kind"):
            raise ValueError(f"{name} has the type {array.dtype}")
    atoms = np.diff(arrays["node_ptr"])
    for suffix in ("", "_clean"):
        edges = arrays[f"edge_index{suffix}"]
        limit = np.repeat(atoms, np.diff(arrays[f"edge_ptr{suffix}"]))
        if (edges < 0).any() or (edges >= limit[None]).any():
            raise ValueError(f"edge_index{suffix} names atoms that are not there")
        for name in (f"x{suffix}", f"edge_attr{suffix}"):
            if not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} is not finite")
        kinds = np.sort(arrays[f"edge_attr{suffix}"], axis=1)
        if not (kinds == [0, 0, 0, 1]).all():
            raise ValueError(f"edge_attr{suffix} is not one-hot: a bond is of one kind")
    if not np.isfinite(arrays["alpha"]).all():
        raise ValueError("alpha is not finite")


def _first(arrays: dict[str, np.ndarray], molecules: int) -> dict[str, np.ndarray]:
    """The first molecules of the arrays, which may hold more."""
    lengths = _lengths(arrays, molecules)
    return {
        name: arrays[name][tuple(slice(lengths.get(axis, axis)) for axis in axes)]
        for name, (_, axes) in ARRAYS.items()
    }


def _lengths(arrays: dict[str, np.ndarray], molecules: int) -> dict[str | int, int]:
    """Lengths of the named axes for so many molecules."""
    ends: dict[str | int, int] = {
        axis: int(arrays[name][molecules]) for axis, name in _POINTERS.items()
    }
    return {"molecules": molecules, "pointers": molecules + 1, **ends}
