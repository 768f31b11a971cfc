"""Tables of binary operations a ∘ b = c on residues and permutations.

Source: Power et al., Grokking, arXiv 2201.02177, appendix A.1, and the Grokfast task
x·y mod p with y ≠ 0 (arXiv 2405.20233).
"""

import itertools
from collections.abc import Callable

import numpy as np


def _inverses(p: int) -> np.ndarray:
    """Inverse of every residue modulo the prime p; that of 0 is given as 0."""
    return np.array([pow(y, p - 2, p) for y in range(p)])


def _quotient(x: np.ndarray, y: np.ndarray, p: int) -> np.ndarray:
    return x * _inverses(p)[y] % p


_RESIDUE_OPERATIONS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "mul": lambda x, y, p: x * y,
    "div": _quotient,
    "add": lambda x, y, p: x + y,
    "sub": lambda x, y, p: x - y,
    "mix": lambda x, y, p: np.where(y % 2 == 1, _quotient(x, y, p), x - y),
    "mul0": lambda x, y, p: x * y,
    "sq-sum": lambda x, y, p: x**2 + y**2,
    "quad": lambda x, y, p: x**2 + x * y + y**2,
    "quad+x": lambda x, y, p: x**2 + x * y + y**2 + x,
    "cube1": lambda x, y, p: x**3 + x * y,
    "cube2": lambda x, y, p: x**3 + x * y**2 + y,
    "sq+y": lambda x, y, p: x**2 + y,
    "cube+y": lambda x, y, p: x**3 + y,
    "mix-mul": lambda x, y, p: np.where(x % 2 == 0, x + y, x * y),
    "mix-sub": lambda x, y, p: np.where(x % 2 == 0, x + y, x - y),
}
_NONZERO_Y = ("mul", "div")
PERMUTATIONS = ("s5", "s5-conj", "s5-sandwich")

OPERATIONS = (*_RESIDUE_OPERATIONS, *PERMUTATIONS)
"""Names of all operations; ``mul`` is x·y with y ≠ 0, ``mul0`` with all y."""


def is_prime(p: int) -> bool:
    """Whether p is a prime number."""
    return p > 1 and all(p % d for d in range(2, int(p**0.5) + 1))


def operation_table(
    operation: str, p: int = 97
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Operands x and y and answers x ∘ y of every equation, ordered by x, then y.

    Args:
      operation: one of :data:`OPERATIONS`.
      p: prime modulus; not used by the permutation operations.

    Returns:
      Three int32 arrays of one length: p² (p² − p where y = 0 is left out), or 120².
      Permutations are numbered 0 … 119 in lexicographic order.

    Example:
      >>> x, y, c = operation_table("div", 5)
      >>> [tuple(map(int, row)) for row in zip(x, y, c)][:6]
      [(0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 4, 0), (1, 1, 1), (1, 2, 3)]
    """
    if operation in PERMUTATIONS:
        return _permutation_table(operation)
    first = 1 if operation in _NONZERO_Y else 0
    table = np.meshgrid(np.arange(p), np.arange(first, p), indexing="ij")
    x, y = (axis.ravel() for axis in table)
    answers = _RESIDUE_OPERATIONS[operation](x, y, p) % p
    return x.astype(np.int32), y.astype(np.int32), answers.astype(np.int32)


def table_size(operation: str, p: int) -> int:
    """Number of equations in the table of an operation."""
    if operation in PERMUTATIONS:
        return 120**2
    return p * (p - 1) if operation in _NONZERO_Y else p**2


def number_of_symbols(operation: str, p: int) -> int:
    """Number of different operands and answers: p, or 120 permutations."""
    return 120 if operation in PERMUTATIONS else p


def _permutation_table(operation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    elements = np.array(list(itertools.permutations(range(5))))  # [120, 5]
    place_values = 5 ** np.arange(4, -1, -1)
    index_of_code = np.zeros(5**5, np.int32)
    index_of_code[elements @ place_values] = np.arange(120)

    def then(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Apply a first, then b: c[i] = b[a[i]]."""
        return np.take_along_axis(b, a, axis=-1)

    x, y = (a.ravel() for a in np.meshgrid(*[np.arange(120)] * 2, indexing="ij"))
    a, b = elements[x], elements[y]
    answers = then(a, b)
    if operation == "s5-conj":
        answers = then(answers, np.argsort(a, axis=-1))  # a, then b, then a⁻¹
    elif operation == "s5-sandwich":
        answers = then(answers, a)
    codes = index_of_code[answers @ place_values]
    return x.astype(np.int32), y.astype(np.int32), codes
