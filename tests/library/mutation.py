"""Mutation check: change one operator of the library at a time; some test must fail.

``make mutation`` changes every arithmetic, comparison and logical operator of
``grokfast_jax`` once and runs the fast tests of that file against it, after it has seen
them pass on the file as it is. It fails when less than 90 % of the changes are noticed,
or one that is not noticed has no explanation in :data:`EXPLAINED`.

The process forks before JAX has started its threads, so that a mutant does not pay for
the imports. (Mutmut forks after the first tests, which JAX does not survive, and
Cosmic Ray starts an interpreter and all tests for every change.)
"""

import ast
import contextlib
import dataclasses
import importlib.machinery
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# What the tests import, before the fork; but not the library itself.
import flax.nnx  # noqa: F401
import jax  # noqa: F401
import optax  # noqa: F401
import pytest
import scipy.signal  # noqa: F401

LIBRARY = Path(__file__).parents[2] / "grokfast_jax"
SECONDS = 600  # a mutant that takes longer does not end: noticed
WORKERS = int(os.environ.get("WORKERS", "2"))
WANTED = 0.9

TESTS = {
    "_amplify.py": ["filters"],
    "_checks.py": ["arguments", "linear", "special_cases", "response"],
    "_closed_forms.py": ["response"],
    "_grokfast.py": ["filters", "arguments"],
    "_guard.py": ["guard"],
    "_linear.py": ["linear"],
    "_linearity.py": ["linearity"],
    "linesearch/_adam_sls.py": ["linesearch"],
    "linesearch/_along.py": ["linesearch"],
    "linesearch/_armijo.py": ["linesearch"],
    "linesearch/_cadence.py": ["linesearch"],
    "linesearch/_optimizers.py": ["linesearch"],
    "linesearch/_parts.py": ["linesearch"],
    "linesearch/_search.py": ["linesearch"],
    "_lowpass.py": ["filters", "arguments"],
    "_matching.py": ["matching"],
    "_optimizers.py": ["optimizers"],
    "_paths.py": ["paths"],
    "_response.py": ["response"],
    "_sections.py": ["linear"],
    "_sharding.py": ["sharding"],
    "_sum.py": ["special_cases"],
    "_trees.py": ["filters", "linear", "optax_contract"],
}

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.FloorDiv: ast.Mod,
    ast.LShift: ast.RShift,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.USub: ast.UAdd,
    ast.Not: None,  # left out
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
}

_LIMIT = "equality with this limit, chosen by hand, does not happen"
_TRIED = "the gradients tried are others of all sizes, as random as before"
EXPLAINED = {
    "_linearity.py: error <= _TOLERANCE  [LtE → Lt]": _LIMIT,
    "_linearity.py: s * x  [Mult → Div]": _TRIED,
    "_linearity.py: s * y  [Mult → Div]": _TRIED,
    "_response.py: _SETTLE + _LATER  [Add → Sub]": (
        "an impulse as many updates before the other is at another phase as well"
    ),
    "_sections.py: changed <= _CHANGED  [LtE → Lt]": _LIMIT,
    "_sections.py: length > _LONGEST  [Gt → GtE]": _LIMIT,
    "_sections.py: moved <= _MOVED  [LtE → Lt]": _LIMIT,
    "_lowpass.py: state.slot + 1  [Add → Sub]": (
        "the ring is run through backwards: the next slot is the oldest still"
    ),
}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One changed operator: the file, and which of its operators; None for none."""

    file: str
    index: int | None
    description: str


class _Change(ast.NodeTransformer):
    """Counts the operators of a module and replaces one of them."""

    def __init__(self, index: int | None):
        self.index, self.seen = index, []

    def visit(self, node: ast.AST) -> ast.AST:
        for field in ("op", "ops"):
            if isinstance(value := getattr(node, field, None), list):
                setattr(node, field, [self._changed(node, op) for op in value])
            elif value is not None:
                setattr(node, field, self._changed(node, value))
        node = self.generic_visit(node)
        return node.operand if getattr(node, "op", self) is None else node

    def _changed(self, node: ast.AST, op: ast.AST) -> ast.AST:
        if type(op) not in OPERATORS:
            return op
        new = OPERATORS[type(op)]
        name = new.__name__ if new else "nothing"
        self.seen.append(f"{ast.unparse(node)}  [{type(op).__name__} → {name}]")
        if len(self.seen) - 1 != self.index:
            return op
        return new() if new else None


def mutants() -> Iterator[Mutant]:
    """All single changes of the library."""
    for path in sorted(LIBRARY.rglob("_*.py")):
        count, file = _Change(None), path.relative_to(LIBRARY).as_posix()
        count.visit(ast.parse(path.read_text(encoding="utf-8")))
        for index, description in enumerate(count.seen):
            yield Mutant(file, index, f"{file}: {description}")


def start(mutant: Mutant) -> int:
    """Run the tests of a changed file in a fork; its process identifier."""
    if pid := os.fork():
        return pid
    status = pytest.ExitCode.INTERNAL_ERROR
    try:
        status = _tested(mutant)
    finally:  # whatever happens, a fork never goes on as its parent
        os._exit(status)


def _tested(mutant: Mutant) -> int:
    """Pytest's exit status on a changed file."""
    signal.alarm(SECONDS)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    changed = LIBRARY / mutant.file
    tree = _Change(mutant.index).visit(ast.parse(changed.read_text(encoding="utf-8")))
    code = compile(ast.fix_missing_locations(tree), str(changed), "exec")
    get_code = importlib.machinery.SourceFileLoader.get_code

    def get_changed_code(loader, name):
        return code if Path(loader.path) == changed else get_code(loader, name)

    importlib.machinery.SourceFileLoader.get_code = get_changed_code
    files = [f"tests/library/test_{name}.py" for name in TESTS[mutant.file]]
    # Plain: rewriting assertions, pytest would read the unchanged file itself.
    arguments = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    # A new interpreter would import the unchanged file.
    arguments += [
        "--assert=plain",
        "-k",
        "not eight_devices and not jax_and_optax_only",
    ]
    return int(pytest.main([*arguments, str(changed), *files]))


def run_all(waiting: list[Mutant]) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant, and whether its tests passed, as they end."""
    running: dict[int, Mutant] = {}
    while waiting or running:
        while waiting and len(running) < WORKERS:
            mutant = waiting.pop(0)
            running[start(mutant)] = mutant
        pid, status = os.wait()
        mutant, code = running.pop(pid), os.waitstatus_to_exitcode(status)
        # Negative: killed by a signal. 2: the tests could not be imported.
        if code > pytest.ExitCode.INTERRUPTED:
            sys.exit(f"pytest ended with {code} on {mutant.description}")
        yield mutant, code == pytest.ExitCode.OK


def main() -> int:
    """Run all mutants, or those whose description has a word given."""
    words = sys.argv[1:]
    chosen = [m for m in mutants() if all(w in m.description for w in words)]
    if not chosen:
        print("no operator to change")
        return 0
    files = sorted({mutant.file for mutant in chosen})
    for unchanged, passed in run_all(
        [Mutant(f, None, f"{f}, unchanged") for f in files]
    ):
        if not passed:
            sys.exit(f"the tests fail on {unchanged.description}")
    total, survivors = len(chosen), []
    for mutant, passed in run_all(chosen):
        if passed:
            survivors.append(mutant.description)
            print("not noticed:", mutant.description, flush=True)
    score = 1 - len(survivors) / total
    print(f"{total} changes, {score:.1%} noticed, {len(survivors)} not:")
    unexplained = [s for s in survivors if s not in EXPLAINED]
    for survivor in survivors:
        print(f"  {survivor}\n    {EXPLAINED.get(survivor, 'NOT EXPLAINED')}")
    return int(score < WANTED or bool(unexplained))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
