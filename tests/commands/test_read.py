"""The verbs that read records, and what a row records."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.commands import read
from experiments.commands.cli import main
from experiments.methods.measures import weight_norms
from experiments.methods.named import settings_of
from experiments.methods.observe import MEASURES, observe
from experiments.pictures.curves import figure_of
from experiments.records.sweep import SweepDirectory
from experiments.screen import console
from experiments.settings.measure import UNDEFINED
from experiments.settings.presets import PRESETS
from experiments.tasks import TASKS
from grokfast_jax import grokfast_ema
from tests.support.made_up import record
from tests.support.tiny import TASK

SMALL = ["train", "modular", "--prime", "11", "--width", "16", "--batch-size", "16"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for name, options in (("a", []), ("b", ["--filter", "ema", "--seed", "3"])):
        options = [*options, "--steps", "40", "--eval-every", "20"]
        assert main([*SMALL, *options, "--run-dir", str(root / name)]) == 0
    return root


def out(arguments, capsys):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_list(runs, capsys):
    text = out(["list", runs], capsys)
    assert "2 runs" in text
    assert "ema 0.98/2" in text
    assert "completed" in text
    found = json.loads(out(["list", runs, "--json"], capsys))
    assert [run["steps"] for run in found] == [40, 40]


def test_show(runs, capsys):
    text = out(["show", runs / "b"], capsys)
    assert "learning_rate" in text
    assert "weight norm" in text
    described = json.loads(out(["show", runs / "b", "--json"], capsys))
    assert described["config"]["seed"] == 3
    assert described["final"]["filter_share"] > 0


def test_compare(runs, capsys):
    text = out(["compare", runs / "a", runs / "b"], capsys)
    assert "seed" in text
    assert "learning_rate" not in text
    assert "steps to 99 % validation accuracy" in text  # as `show` has it
    assert "t_gen_99" not in text
    assert "filter cosine" in text
    both = json.loads(out(["compare", runs / "a", runs / "b", "--json"], capsys))
    assert both["settings"]["filter"] == ["none", "ema"]
    assert both["results"]["filter_share"][0] == 0


def test_plot(runs, tmp_path, capsys):
    picture = tmp_path / "both.png"
    arguments = ["plot", runs / "a", runs / "b", "--by", "filter", "--output", picture]
    assert "wrote" in out(arguments, capsys)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["plot", str(runs / "a"), "--by", "colour"]) == 2
    assert "no setting 'colour'" in capsys.readouterr().err


def test_plot_of_runs_of_one_name(tmp_path, monkeypatch, capsys):
    drawn = {}
    monkeypatch.setattr(
        read, "plot_comparison", lambda runs, output, title: drawn.update(runs)
    )
    settings = settings_of(TASK)
    for directory in "ab":
        record(tmp_path / directory / "same", settings, {"train_loss": [1.0, 0.5]})
    record(tmp_path / "other", settings, {"train_loss": [1.0, 0.5]})
    paths = [tmp_path / "a" / "same", tmp_path / "b" / "same", tmp_path / "other"]
    out(["plot", *paths, "--output", tmp_path / "p.png"], capsys)
    assert [run.path for run in drawn.values()] == paths
    drawn.clear()
    out(["plot", *paths, "--by", "filter", "--output", tmp_path / "p.png"], capsys)
    assert [run.path for run in drawn.values()] == paths


class Curves:
    """What a picture asks of a run, without the run: a norm that hardly falls."""

    def __init__(self, has_accuracy):
        self.has_accuracy = has_accuracy

    def facts(self):
        return TASKS["mnist" if self.has_accuracy else "qm9"].facts()

    def metrics(self):
        steps = np.arange(0, 3000, 50)
        names = ["train_loss", "validation_loss"]
        if self.has_accuracy:
            names += ["train_accuracy", "validation_accuracy"]
        curves = {name: np.linspace(0.1, 0.99, len(steps)) for name in names}
        return {"step": steps, "weight_norm": np.linspace(56, 55, len(steps)), **curves}


@pytest.mark.parametrize("has_accuracy", [True, False])
@pytest.mark.parametrize("runs", [1, 2, 6])
@pytest.mark.filterwarnings("error")
def test_pictures_have_room_for_long_labels(has_accuracy, runs):
    label = ", ".join(f"{name} 0.123" for name in PRESETS["modular"])
    labelled = {f"{label} ({i})": Curves(has_accuracy) for i in range(runs)}
    figure = figure_of(labelled, f"{'a long title ' * 15}")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    parts = [figure._suptitle, legend, *figure.axes]
    boxes = [part.get_tightbbox().padded(-1) for part in parts]
    for i, box in enumerate(boxes):
        assert (box.min >= 0).all()
        assert (box.max <= figure.bbox.max).all()
        # The last two, loss and weight norm, share their frame.
        others = boxes[i + 1 :] if i < len(boxes) - 2 else []
        assert not any(box.overlaps(other) for other in others)
    for axes in figure.axes:
        inside = axes.get_window_extent()
        assert inside.width > 3 * figure.dpi
        assert inside.height > 2.5 * figure.dpi
    assert figure.axes[-1].get_ylim() == (0, pytest.approx(61.6, abs=1))


def test_no_run_is_one_line(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    SweepDirectory(tmp_path).write_plan([], "")
    assert main(["plot", str(tmp_path)]) == 2
    assert "is a sweep" in capsys.readouterr().err


def test_long_names_of_runs_are_whole(capsys):
    name = "modular-none-seed0-" * 9
    console.print_table("title", ("run", *"bcfghi"), [[name, *["0.12345678"] * 6]])
    words = capsys.readouterr().out.split()
    assert "".join(w for w in words if w.strip("-") in name) == name


@pytest.mark.thorough
def test_dry_run_trains_nothing(tmp_path, capsys):
    directory = tmp_path / "run"
    options = ["--filter", "ma", "--dry-run", "--json", "--run-dir", directory]
    plan = json.loads(out(["train", "modular", *options], capsys))
    assert plan["parameters"] == 422_784
    sizes = plan["state_bytes"]
    np.testing.assert_allclose(sizes["filter"], 103 * 4 * 422_784, rtol=1e-4)
    np.testing.assert_allclose(sizes["total"], 106 * 4 * 422_784, rtol=1e-4)
    assert plan["expected_memory_bytes"] > sizes["total"]
    assert plan["config"]["lamb"] == 5.0
    assert not directory.exists()


def test_json_of_a_run(tmp_path, capsys):
    options = ["--steps", "20", "--json", "--run-dir", tmp_path]
    summary = json.loads(out([*SMALL, *options], capsys))
    assert summary["status"] == "completed"


LARGE = ("cifar", "glue", "gpt", "imdb")  # their programs are compiled: for memory


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:vocabulary is:UserWarning")  # gpt2, of characters
@pytest.mark.parametrize(
    ("task", "name"),
    [
        pytest.param(t, n, marks=[pytest.mark.slow] if t in LARGE else [])
        for t, names in PRESETS.items()
        for n in names
    ],
)
def test_every_preset_builds(task, name, real_data, request, capsys):
    options = ["--preset", name, "--seed", "7", "--dry-run", "--json"]
    if task != "modular":
        folder = {"cifar": "cifar10", "gpt": "text"}.get(task, task)
        if name == "cifar10-resnet18":  # of all images
            real_data("cifar10/cifar-10-python.tar.gz")
        if task == "glue":
            request.getfixturevalue("default_encoder")
        options += ["--data-dir", str(real_data(folder).parent)]
    plan = json.loads(out(["train", task, *options], capsys))
    for setting, value in PRESETS[task][name]().items():
        assert plan["config"][setting] == value
    assert plan["config"]["seed"] == 7
    assert PRESETS[task][name].__doc__ in " ".join(
        out(["train", task, "--help"], capsys).split()
    ).replace("- ", "-")


def test_nearest_name_is_suggested(capsys):
    assert main(["train", "modular", "--operation", "quadx"]) == 2
    assert "Did you mean 'quad+x'" in capsys.readouterr().err


def test_tensorboard(tmp_path):
    options = ["--steps", "20", "--tensorboard", "--run-dir", str(tmp_path)]
    assert main([*SMALL, *options]) == 0
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"validation_accuracy" in events.read_bytes()


def test_measures_of_the_filter():
    g = [np.array([3.0, 4.0]), np.array([0.0, 10.0])]
    tx = observe(grokfast_ema(alpha=0.5, lamb=2.0))
    state = tx.init(jnp.zeros(2))
    assert all(getattr(state, name) == UNDEFINED for name in MEASURES)
    for gradient in g:
        filtered, state = tx.update(jnp.asarray(gradient, jnp.float32), state)
    average = 0.5 * g[0] + 0.5 * g[1]
    expected = g[1] + 2 * average
    np.testing.assert_allclose(filtered, expected, rtol=1e-6)
    found = {name: getattr(state, name) for name in MEASURES}
    norm = np.linalg.norm
    np.testing.assert_allclose(found["gradient_norm"], 10, rtol=1e-6)
    share = norm(2 * average) / norm(expected)
    np.testing.assert_allclose(found["filter_share"], share, rtol=1e-6)
    cosine = g[1] @ expected / (norm(g[1]) * norm(expected))
    np.testing.assert_allclose(found["filter_cosine"], cosine, rtol=1e-6)


@pytest.mark.thorough
def test_observing_changes_nothing():
    g = jax.random.normal(jax.random.key(0), (30, 5))
    for tx in (grokfast_ema(), optax.identity()):
        observed = observe(tx)
        plain, state = tx.init(g[0]), observed.init(g[0])
        for t in range(30):
            expected, plain = tx.update(g[t], plain)
            out, state = observed.update(g[t], state)
            np.testing.assert_array_equal(out, expected)


def test_weight_norms():
    params = {
        "head": {"kernel": jnp.full((2, 2), 2.0)},
        "blocks": {0: {"w": jnp.full(9, 1.0)}, 1: {"w": jnp.full(4, 3.0)}},
    }
    norms = {name: float(value) for name, value in weight_norms(params).items()}
    assert norms == pytest.approx(
        {
            "weight_norm": np.sqrt(16 + 9 + 36),
            "weight_norm_head": 4.0,
            "weight_norm_blocks_0": 3.0,
            "weight_norm_blocks_1": 6.0,
        }
    )
