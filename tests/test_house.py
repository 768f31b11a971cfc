"""The house: which room may import which; see the tables in CONTRIBUTING.md."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "experiments"
EVERYTHING = {
    "settings",
    "files",
    "lock",
    "models",
    "methods",
    "records",
    "data",
    "tasks",
    "engine",
    "results",
    "screen",
    "host",
    "pictures",
}
MAY_IMPORT = {
    "settings": set(),
    "models": set(),
    "files": set(),
    "lock": set(),
    "methods": {"settings"},
    "records": {"settings", "files", "lock"},
    "data": {"files", "lock", "settings"},
    "tasks": {"data", "models", "settings"},
    "engine": {"methods", "settings"},
    "results": {"records", "methods", "settings"},
    "screen": {"records", "results", "settings", "files"},
    "host": {"engine", "methods", "results", "records", "settings"},
    "pictures": {"results", "records", "methods", "settings", "files"},
    "studies": EVERYTHING,
    "notebook": EVERYTHING | {"studies"},
    "commands": EVERYTHING | {"studies"},
    "__init__": {"notebook"},
    "__main__": {"commands", "records"},
}
"""Rooms, and files beside them, whose modules each may import beside its own."""


def room_of(file):
    first = file.relative_to(HOUSE).parts[0]
    return first.removesuffix(".py")


def imports(file):
    """Modules that a file imports, also within functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_is_in_the_table():
    assert {room_of(file) for file in HOUSE.rglob("*.py")} == MAY_IMPORT.keys()


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_what_they_may(room):
    for file in HOUSE.rglob("*.py"):
        if room_of(file) != room:
            continue
        for module in imports(file):
            if module.startswith("experiments."):
                other = module.split(".")[1]
                if other in MAY_IMPORT:
                    assert other == room or other in MAY_IMPORT[room], (
                        f"{file.relative_to(ROOT)} imports {module}"
                    )


def outside(*names):
    """Files that import one of these packages."""
    return {
        file.relative_to(HOUSE).as_posix()
        for file in HOUSE.rglob("*.py")
        if {module.split(".")[0] for module in imports(file)} & set(names)
    }


def test_each_library_is_known_in_one_place():
    assert {f.split("/")[0] for f in outside("click")} == {"commands"}
    assert {f.split("/")[0] for f in outside("flax")} == {"models", "tasks"}
    assert {f.split("/")[0] for f in outside("rich")} == {"screen"}
    assert outside("filelock") == {"lock.py", "records/run.py"}
    assert outside("orbax") == {"records/checkpoint.py"}
    assert outside("plotly") == {"pictures/report/page.py"}
    assert {f.split("/")[0] for f in outside("matplotlib")} == {
        "pictures",
        "notebook.py",
    }


def text_without_encoding(file):
    """Calls that read or write text in the locale's encoding, whatever that is."""
    for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        words = [keyword.arg for keyword in call.keywords]
        modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
        match ast.unparse(call.func).rpartition("."):
            case _, _, "read_text" | "write_text":
                is_text = True
            case owner, _, "open":
                is_text = owner not in ("os", "tarfile", "Image")
                is_text &= not any("b" in str(mode) for mode in modes)
            case "subprocess", _, _:
                is_text = "text" in words
            case _:
                is_text = False
        if is_text and "encoding" not in words:
            yield f"{file.relative_to(ROOT)}:{call.lineno}"


def test_all_text_says_its_encoding():
    """Those of objects too, whose type Ruff's PLW1514 does not see."""
    rooms = ("grokfast_jax", "experiments", "benchmarks", "docs", "examples", "tests")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    assert [place for file in files for place in text_without_encoding(file)] == []


def test_the_library_knows_jax_and_optax_alone():
    found = {
        module.split(".")[0]
        for file in (ROOT / "grokfast_jax").rglob("*.py")
        for module in imports(file)
    }
    own = {"jax", "optax", "numpy", "grokfast_jax"}
    assert not found & {"experiments", "flax", "chex", "scipy", "click", "rich"}
    assert own <= found
