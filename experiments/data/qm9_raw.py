"""QM9's published structure file as graphs, by way of RDKit.

``gdb9.sdf`` is read as PyTorch Geometric reads it, not sanitised: the columns of
aromaticity and hybridisation stay zero, and no bond is aromatic. The ``*_clean`` arrays
come from the sanitised molecule. Where RDKit refuses to sanitise (about 1 % of the
file has a carbon with five bonds: a bond too many across a cage) they are those of the
molecule as it was read.
"""

import csv
import io
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.data.source import DataError

_ELEMENTS = ("H", "C", "N", "O", "F")
_VALENCES = {"H": 1, "C": 4, "N": 3, "O": 2, "F": 1}
_BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_HYBRIDISATIONS = ("SP", "SP2", "SP3")


def check_rdkit() -> None:
    """Raise DataError if RDKit is not installed."""
    try:
        import rdkit  # noqa: F401
    except ImportError:
        raise DataError(
            "to convert the raw files of QM9, install RDKit: pip install rdkit."
        ) from None


def convert(
    structures: bytes, properties: bytes, left_out: bytes, molecules: int
) -> dict[str, np.ndarray]:
    """The first molecules that PyTorch Geometric keeps, as graphs.

    Args:
      structures: contents of ``gdb9.sdf``.
      properties: of ``gdb9.sdf.csv``, a row for each molecule, in the same order.
      left_out: of ``uncharacterized.txt``, numbers (from 1) of the molecules that did
        not keep their bonds when their geometry was relaxed.
      molecules: how many.

    Returns:
      The arrays of :data:`experiments.data.qm9.ARRAYS`.

    Raises:
      DataError: the files do not belong together, or hold fewer molecules.
    """
    check_rdkit()
    kept = itertools.islice(_kept(structures, properties, left_out), molecules)
    read, clean, alpha = [], [], []
    for molecule, row in kept:
        read.append(_graph(molecule))
        clean.append(_graph(_sanitised(molecule)))
        alpha.append(float(row["alpha"]))
    if len(alpha) < molecules:
        raise DataError(
            f"{molecules:,} molecules of QM9 wanted, gdb9.sdf holds {len(alpha):,}."
        )
    clean_arrays = _concatenate(clean)
    del clean_arrays["node_ptr"]  # the atoms are the same
    return {
        **_concatenate(read),
        **{f"{name}_clean": array for name, array in clean_arrays.items()},
        "alpha": np.array(alpha, np.float32),
    }


def _kept(
    structures: bytes, properties: bytes, left_out: bytes
) -> Iterator[tuple[Any, dict[str, str]]]:
    """Molecules with their properties, without those left out."""
    from rdkit import Chem, rdBase

    # A table with nine lines above and one below.
    lines = left_out.decode("utf-8").splitlines()[9:-1]
    skipped = {int(line.split()[0]) for line in lines}
    supplier = Chem.ForwardSDMolSupplier(
        io.BytesIO(structures), sanitize=False, removeHs=False
    )
    with rdBase.BlockLogs():
        rows = csv.DictReader(io.StringIO(properties.decode("utf-8"), newline=""))
        for number, (molecule, row) in enumerate(zip(supplier, rows, strict=False), 1):
            name = row["mol_id"]
            if molecule is None or molecule.GetProp("_Name") != name:
                raise DataError(
                    f"gdb9.sdf: molecule {number} is damaged, or is not the {name} of "
                    "gdb9.sdf.csv."
                )
            if number not in skipped:
                yield molecule, row


def _graph(molecule: Any) -> dict[str, np.ndarray]:
    """Atoms and bonds as arrays; both directions of a bond, sorted by atoms."""
    atoms = list(molecule.GetAtoms())
    element = np.array([_ELEMENTS.index(atom.GetSymbol()) for atom in atoms])
    hybridisation = [str(atom.GetHybridization()) for atom in atoms]
    ends = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    kinds = [_BONDS.index(str(bond.GetBondType())) for bond in molecule.GetBonds()]
    one_way = np.array(ends, np.int32).reshape(-1, 2).T
    edges = np.concatenate([one_way, one_way[::-1]], axis=1)
    order = np.lexsort((edges[1], edges[0]))
    edges = edges[:, order]
    hydrogens = np.bincount(edges[1][element[edges[0]] == 0], minlength=len(atoms))
    columns = [
        *np.eye(len(_ELEMENTS))[element].T,
        [atom.GetAtomicNum() for atom in atoms],
        [atom.GetIsAromatic() for atom in atoms],
        *([name == kind for name in hybridisation] for kind in _HYBRIDISATIONS),
        hydrogens,
    ]
    return {
        "x": np.array(columns, np.uint8).T,
        "edge_index": edges,
        "edge_attr": np.eye(len(_BONDS), dtype=np.uint8)[kinds * 2][order],
    }


def _sanitised(molecule: Any) -> Any:
    """The molecule with aromaticity and hybridisation, if it has a sound structure."""
    from rdkit import Chem

    candidate = Chem.Mol(molecule)
    if Chem.SanitizeMol(candidate, catchErrors=True) == Chem.SANITIZE_NONE:
        return candidate
    # The file gives no charges; in a zwitterion they follow from the valences.
    candidate = Chem.Mol(molecule)
    for atom in candidate.GetAtoms():
        bonds = sum(bond.GetBondTypeAsDouble() for bond in atom.GetBonds())
        atom.SetFormalCharge(int(bonds) - _VALENCES[atom.GetSymbol()])
        atom.SetNoImplicit(True)
    if Chem.SanitizeMol(candidate, catchErrors=True) == Chem.SANITIZE_NONE:
        return candidate
    return molecule


def _concatenate(graphs: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if not graphs:
        return {}
    nodes = [len(graph["x"]) for graph in graphs]
    edges = [len(graph["edge_attr"]) for graph in graphs]
    return {
        "node_ptr": np.cumsum([0, *nodes], dtype=np.int32),
        "edge_ptr": np.cumsum([0, *edges], dtype=np.int32),
        "x": np.concatenate([graph["x"] for graph in graphs]),
        "edge_index": np.concatenate([g["edge_index"] for g in graphs], axis=1),
        "edge_attr": np.concatenate([graph["edge_attr"] for graph in graphs]),
    }
