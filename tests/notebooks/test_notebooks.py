"""The notebooks: as they are committed, and run whole with smaller numbers."""

import re
import tomllib

import nbformat
import pytest

from tests.conftest import REPOSITORY

PATHS = {path.stem: path for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb"))}
SMALL = {
    "quickstart": {"PRIME": 11, "WIDTH": 16, "STEPS": 40, "STEPS_OF_YOURS": 150},
    "sweep_on_tpu": {
        "PRIME": 7,
        "WIDTH": 16,
        "WEIGHT_DECAYS": [1.0],
        "STEPS": 60,
        "SEEDS": [1, 2],
    },
}
every = pytest.mark.parametrize("name", PATHS)


def read(name):
    return nbformat.read(PATHS[name], as_version=4)


def code_of(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_two():
    assert PATHS.keys() == SMALL.keys()


@every
def test_it_is_valid_and_has_no_outputs(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)  # cells have ids
    for cell in notebook.cells:
        assert not cell.id.isdigit()
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@every
def test_the_source_is_one_variable_at_the_top(name):
    first, *others = code_of(read(name))
    (source,) = re.findall(r'^SOURCE = "(.*)"', first)
    assert not any("SOURCE" in cell or source in cell for cell in others)
    assert first.count(source) == 1
    (extra,) = re.findall(r'"\./grokfast_jax_source\[(\w+)\]"', first)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert extra in project["project"]["optional-dependencies"]
    title = read(name).cells[0].source
    assert title.startswith("# ")
    repository = source.removeprefix("https://github.com/")
    address = "https://colab.research.google.com/github/"
    assert f"({address}{repository}/blob/main/notebooks/{name}.ipynb)" in title


@every
def test_it_says_what_it_needs_and_runs_everywhere(name):
    notebook = read(name)
    title = notebook.cells[0].source
    for runtime in ("CPU", "GPU", "TPU"):
        assert re.search(
            rf"^\| {runtime}[^|]*\| .*(not measured|min|s) \|$", title, re.M
        )
    assert "@" not in title
    text = "\n".join(cell.source for cell in notebook.cells)
    for machine in ("/home", "/tmp", "/work", "/usr", "JAX_PLATFORMS", "jax_platforms"):
        assert machine not in text
    outside_of_colab = text.replace("/content/drive", "")
    assert "/content" not in outside_of_colab
    assert "float32" in text


def run(name, tmp_path, monkeypatch):
    """The notebook with its outputs; the parameters are overridden in a cell behind."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = read(name)
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    (parameters,) = tagged
    for variable in SMALL[name]:
        assert re.search(rf"^{variable} = ", parameters.source, re.M)
    smaller = "\n".join(f"{k} = {v!r}" for k, v in SMALL[name].items())
    place = notebook.cells.index(parameters) + 1
    notebook.cells.insert(place, nbformat.v4.new_code_cell(smaller))
    nbclient.NotebookClient(
        notebook,
        timeout=900,
        iopub_timeout=120,  # outputs that come late, on a busy machine
        raise_on_iopub_timeout=True,
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    return {cell.id: cell.get("outputs", []) for cell in notebook.cells}


def texts(outputs):
    """What a cell printed and showed, as plain text."""
    shown = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
    return "".join(shown)


def kinds(outputs):
    return {kind for output in outputs for kind in output.get("data", {})}


@pytest.mark.thorough
def test_quickstart(tmp_path, monkeypatch):
    cells = run("quickstart", tmp_path, monkeypatch)
    assert "decay alone: 99 % of the trained at step" in texts(cells["picture"])
    for picture in ("picture", "one-run", "response", "train-yours"):
        assert "image/png" in kinds(cells[picture]), picture
    right = re.search(r"([\d.]+)% of the unseen", texts(cells["train-yours"]))
    assert float(right[1]) > 90
    check_screen(cells["grok"])
    assert len(list((tmp_path / "runs").iterdir())) == 3


@pytest.mark.thorough
def test_sweep_on_tpu(tmp_path, monkeypatch):
    cells = run("sweep_on_tpu", tmp_path, monkeypatch)
    assert "6 lanes" in texts(cells["sweep"])
    check_screen(cells["sweep"])
    assert "text/html" in kinds(cells["ranked"])
    assert "text/html" in kinds(cells["lanes"])
    assert "image/png" in kinds(cells["survival"])
    assert "6 lanes, none of them trained again" in texts(cells["again"])
    assert (tmp_path / "kept" / "sweep" / "lanes.parquet").exists()


def check_screen(outputs):
    """Progress bars are widgets of their own; nothing has control codes or warns."""
    assert "application/vnd.jupyter.widget-view+json" in kinds(outputs)
    for output in outputs:
        assert output.get("name") != "stderr", output
    assert "\x1b" not in texts(outputs)
