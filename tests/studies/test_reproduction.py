"""The tables of filter × decay, from runs of a few steps and from made-up records."""

import dataclasses
import doctest
import json

import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.methods.named import settings_of
from experiments.pictures.bands import band, plot_bands
from experiments.records.sweep import SweepDirectory
from experiments.results import markdown as marked
from experiments.results import over_seeds
from experiments.settings.flat import MEASURES, values_of
from experiments.settings.options import option, options
from experiments.settings.presets import PRESETS
from experiments.studies import grid, reproduction
from experiments.studies.imdb import imdb_tables
from experiments.studies.runs import Interrupted, read_sweep, train_study
from experiments.tasks import TASKS
from experiments.tasks.mnist import MnistTask
from tests.support.made_up import record
from tests.support.tiny import TASK


@options
class FewImages(MnistTask):
    """Forty of the images, and a narrow network."""

    train_points: int = option(40, "Images.")
    width: int = option(16, "Features.")


@pytest.fixture
def data(real_data, monkeypatch):
    monkeypatch.setenv("GROKFAST_DATA", str(real_data("mnist").parent))


@pytest.fixture
def few_images(data, monkeypatch):
    monkeypatch.setitem(TASKS, "mnist", FewImages)


def made_up(directory, accuracies, **summary):
    """A record with these validation accuracies, ten steps apart."""
    steps = 10 * (len(accuracies) - 1)
    milestones = {
        "t_gen_95_of_published": None,
        "min_validation_loss": 1.0,
        "t_min_validation_loss": 20,
    }
    final = {"validation_accuracy": accuracies[-1], "weight_norm": 3.0}
    base = {"final": final, "milestones": milestones, "seconds": 2.0}
    return record(
        directory,
        settings_of(TASKS["mnist"](), steps=steps, eval_every=10),
        {
            "validation_accuracy": accuracies,
            "validation_loss": [20 * (1 - accuracy) for accuracy in accuracies],
            "batch_quotient": [1.0 - accuracy / 2 for accuracy in accuracies],
            "lowest_batch_quotient": [1.0 - accuracy for accuracy in accuracies],
        },
        **base | summary,
    )


@pytest.mark.parametrize("task", ["mnist", "qm9", "imdb"])
def test_cells_are_presets_that_differ_in_filter_and_decay_alone(task):
    presets = {
        cell: settings_of(TASKS[task](), **PRESETS[task][f"{task}-{cell}"]())
        for cell in reproduction.SETTINGS[task]
    }
    configs = {cell: values_of(settings) for cell, settings in presets.items()}

    def differ(a, b):
        names = configs[a].keys() | configs[b].keys()
        return {n for n in names if configs[a].get(n) != configs[b].get(n)}

    for name, (before, after) in reproduction.EFFECTS.items():
        found = differ(before, after)
        if "filter" in found:  # and its options, which have no effect without it
            found -= {"alpha", "lamb", "filter_init", "start_step", "normalize"}
        assert (
            found
            == {
                "filter": {"filter"},
                "decay": {"weight_decay"},
                "both": {"filter", "weight_decay"},
            }[name.replace(",", " ").split()[0]]
        )

    # The committed sweep is these cells, with some seeds each.
    cells = {}
    runs = read_sweep(reproduction.SWEEPS[task])
    smallest = min(run.config.optimizer.weight_decay for run in runs)
    for run in runs:
        cell = reproduction.cell_of(run, smallest)
        cells.setdefault(cell, []).append(run)
    assert cells.keys() == presets.keys()
    for cell, of_cell in cells.items():
        assert len(of_cell) == {"mnist": 5, "qm9": 10, "imdb": 2}[task]
        for seed, run in enumerate(of_cell):
            more = {"measures": f"{MEASURES}+batch_quotient"} if task == "qm9" else {}
            more |= {"steps": 2000} if task == "imdb" else {}  # of 10,000
            assert values_of(run) == configs[cell] | {"seed": seed} | more


def test_what_was_never_reached_is_larger_than_everything():
    assert over_seeds.median([None, 5, None, 7, 9]) == 9
    assert over_seeds.median([None, 5, None, 7, None]) is None
    assert (
        over_seeds.times_cell([5, None, 7], 10) == "7 (5 – never); 1 of 3 never in 10"
    )
    assert over_seeds.ratio_cell([None, 8], [2, 2]).startswith(
        "none (4.00 – 4.00; 1 of"
    )
    assert over_seeds.ratio_cell([2, 8], [None, 2]).startswith(
        "none (4.00 – 4.00; 1 of"
    )


@pytest.mark.parametrize("module", [over_seeds, marked])
def test_examples_in_docstrings(module):
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0


def test_ratios_are_taken_seed_by_seed():
    """The range is that of the pairs, not of the two ranges."""
    assert over_seeds.ratio_cell([10, 100], [1, 10]) == "10.00 (10.00 – 10.00)"


def test_text_between_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n", encoding="utf-8"
    )
    for text in ("new", "newer"):
        marked.put(page, "a", text)
        marked.put(page, "b", text)
    assert page.read_text(encoding="utf-8") == (
        "before\n<!-- a -->\nnewer\n<!-- end of a -->\nafter\n"
        "\n<!-- b -->\nnewer\n<!-- end of b -->\n"
    )


def test_table_of_mnist_counts_runs_that_never_got_there(tmp_path):
    curves = {
        "baseline": [[0.1, 0.2, 0.85], [0.1, 0.2, 0.3]],
        "ema-alone": [[0.1, 0.2, 0.3]] * 2,
        "decay": [[0.1, 0.9, 0.9], [0.1, 0.9, 0.85]],
        "ema": [[0.1, 0.9, 0.95], [0.1, 0.9, 0.9]],
    }
    runs = {
        cell: [made_up(tmp_path / f"{cell}-{i}", c) for i, c in enumerate(two)]
        for cell, two in curves.items()
    }
    rows = reproduction.mnist_tables(runs).splitlines()
    cells = {row.split("|")[1].strip(): row for row in rows[:14] if row}
    assert "never (20 – never); 1 of 2 never in 20" in cells["no filter, decay .01"]
    assert "not shown" in cells["EMA .8 / .1, decay .01"]
    assert "42,021; 88.6% at 83,000" in cells["EMA .8 / .1, decay .01"]
    assert "| 10 – 10 |" in cells["no filter, decay 2"]
    assert "| 2 of 2 never in 20 |" in cells["EMA .8 / .1, decay .01"]
    assert "10 (10 – 10)" in cells["no filter, decay 2"]
    assert "87.5% (85.0% – 90.0%)" in cells["no filter, decay 2"]
    filter_late = cells["filter, at the large decay"]
    assert "1.00 (1.00 – 1.00)" in filter_late
    assert "+5.0 (+5.0 – +5.0)" in filter_late
    assert "2.00 – 2.00; 1 of 2 pairs" in cells["decay, without filter"]
    assert "none: 2 of 2 pairs" in cells["decay, with filter"]
    assert "−55.0" in cells["filter, at the small decay"]


def test_table_of_qm9(tmp_path):
    def run(cell, seed, lowest):
        milestones = {"min_validation_loss": lowest, "t_min_validation_loss": 20}
        final = {"validation_loss": 2 * lowest, "weight_norm": 3.0}
        where = tmp_path / f"{cell}-{seed}"
        curve = [0, 0.6] if lowest < 4 else [0, 0]
        return made_up(where, curve, milestones=milestones, final=final)

    losses = {"baseline": (4, 1), "ema-alone": (2, 1), "decay": (1, 1), "ema": (1, 2)}
    runs = {
        cell: [run(cell, seed, float(loss)) for seed, loss in enumerate(both)]
        for cell, both in losses.items()
    }
    table = reproduction.qm9_tables(runs)
    assert (
        "| no filter, no decay | 0.00659 | 2.50 (1.00 – 4.00) | 20 (20 – 20) "
        "| never (10 – never); 1 of 2 never in 10 |"
    ) in table
    assert (
        "| filter, at the small decay | 1.67 (1.00 – 2.00); p = 1.000 | none (1.00"
        in table
    )
    assert "| filter, at the large decay | 0.67 (0.50 – 1.00); p = 1.000 |" in table
    rows = table.splitlines()[-5:]
    assert "| ours, 200 batches | ours, 2 of them |" in rows[0]
    assert rows[2:] == [
        "| no filter, no decay | 0.00659 | 0.0041 (0.0031 – 0.0241) "
        "| 0.7000 (0.4000 – 1.0000) | 0.8500 (0.7000 – 1.0000) |",
        "| EMA .9 / 1, decay .01 | 0.00348 | 0.0050 (0.0025 – 0.0136) "
        "| 0.4000 (0.4000 – 0.4000) | 0.7000 (0.7000 – 0.7000) |",
        "| times lower with both | 1.89 | 0.82 (0.29 – 4.82) | 1.75 (1.00 – 2.50) "
        "| 1.21 (1.00 – 1.43) |",
    ]


def test_table_of_imdb(tmp_path):
    def run(cell, seed, accuracies, lowest):
        milestones = {"min_validation_loss": lowest, "t_min_validation_loss": 10}
        final = {"validation_accuracy": accuracies[-1], "validation_loss": 0.9}
        final |= {"weight_norm": 1500.0}
        return record(
            tmp_path / f"{cell}-{seed}",
            settings_of(TASKS["imdb"](), steps=20, eval_every=10),
            {
                "validation_accuracy": accuracies,
                "batch_accuracy": accuracies,
                "highest_batch_accuracy": [a + 0.1 for a in accuracies],
                "batch_loss": [0.9] * 3,
                "lowest_batch_loss": [0.8, 0.5, 0.6],
            },
            final=final,
            milestones=milestones | {"t_fit_99": 10 if seed else None},
            seconds=2.0,
        )

    curves = {"baseline": 0.5, "ema-alone": 0.6, "decay": 0.7, "ema": 0.8}
    runs = {
        cell: [run(cell, seed, [0.5, a, 0.5], 1 - a) for seed in range(2)]
        for cell, a in curves.items()
    }
    rows = imdb_tables(runs, reproduction.SETTINGS["imdb"]).splitlines()
    cells = {row.split("|")[1].strip(): row for row in rows[:14] if row}
    late = "| never (10 – never); 1 of 2 never in 20 | 50.0% (50.0% – 50.0%) |"
    assert late in cells["no filter, decay 1"]
    assert "| 80.0% (80.0% – 80.0%) | 0.200 (0.200 – 0.200) |" in "".join(rows)
    assert "+30.0 (+30.0 – +30.0) | 2.50" in cells["both at once, as published"]
    assert "+10.0" in cells["filter, at the large decay"]
    assert rows[-1].startswith("| EMA .98 / 2, decay 10 | .90; .412 | 0.90 (0.90")
    assert "0.500 (0.500 – 0.500) | 0.80 (0.80 – 0.80); 0.900" in rows[-1]
    assert "| ours, 300 batches | ours, 3 of them |" in rows[-6]


@pytest.mark.parametrize(("count", "edges"), [(3, (0, 1)), (5, (0.25, 0.75))])
def test_band_is_the_range_of_few_runs_and_the_quartiles_of_more(
    tmp_path, count, edges
):
    curves = np.random.default_rng(0).random((count, 4))
    runs = [made_up(tmp_path / str(i), curve) for i, curve in enumerate(curves)]
    longer = made_up(tmp_path / "longer", [*curves[-1], 0.5])
    steps, median, low, high = band([*runs[:-1], longer], "validation_accuracy")
    np.testing.assert_array_equal(steps, [0, 10, 20, 30, 40])
    last = np.append(curves[:-1, -1], 0.5)  # the others stay where they ended
    curves = np.column_stack([curves, last])
    np.testing.assert_allclose(median, np.median(curves, axis=0), rtol=1e-6)
    expected = np.quantile(curves, edges, axis=0)
    np.testing.assert_allclose([low, high], expected, rtol=1e-6)
    picture = tmp_path / "bands.png"
    figure = plot_bands({"a": runs, "b": [longer]}, ["validation_accuracy"], "title")
    figure.savefig(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def two_seeds(runs):
    """Seeds 1 and 2 of each cell, for a few steps."""
    chosen = [run for run in runs if run.config.training.seed in (1, 2)]
    return [
        dataclasses.replace(
            run, budget=dataclasses.replace(run.budget, steps=20, eval_every=10)
        )
        for run in chosen
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("few_images")
def test_cells_are_trained_once_as_a_sweep(tmp_path):
    wanted = two_seeds(read_sweep(reproduction.SWEEPS["mnist"]))
    runs = reproduction.train_cells(tmp_path, wanted)
    assert len(wanted) == 8
    for cell, (first, second) in runs.items():
        preset = PRESETS["mnist"][f"mnist-{cell}"]()
        expected = values_of(settings_of(FewImages(), **preset))
        for run, seed in ((first, 1), (second, 2)):
            own = expected | {"steps": 20, "eval_every": 10, "seed": seed}
            assert run.config() == json.loads(json.dumps(own))
    ema = runs["ema"][0]
    before = ema.summary_file.stat().st_mtime_ns
    reproduction.train_cells(tmp_path, wanted)
    assert ema.summary_file.stat().st_mtime_ns == before
    assert reproduction.mnist_tables(runs).count("2 of 2 never in 20") == 8
    assert len(SweepDirectory(tmp_path).lanes()) == 8


@pytest.mark.thorough
def test_runs_that_diverged_or_were_interrupted(tmp_path, monkeypatch):
    diverging = settings_of(TASK, batch_size=16, learning_rate=1e30, steps=20)
    (lane,) = train_study(tmp_path, [diverging])
    assert lane.run.summary()["status"] == "diverged"
    assert "reproduce" in lane.run.summary()["command"]
    monkeypatch.setattr("experiments.studies.runs.train_sweep", lambda *a, **k: None)
    with pytest.raises(Interrupted):
        train_study(tmp_path / "other", [diverging])


@pytest.mark.usefixtures("few_images")
def test_an_interrupted_study_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.studies.runs.train_sweep", lambda *a, **k: None)
    for part in ("mnist", "mnist-grid"):
        page = reproduction.PAGES[part].read_text(encoding="utf-8")
        assert main(["reproduce", part, "--runs", str(tmp_path)]) == 130
        assert "Interrupted: the same command goes on" in capsys.readouterr().out
        assert reproduction.PAGES[part].read_text(encoding="utf-8") == page


@pytest.mark.parametrize("part", reproduction.PAGES)
def test_every_page_has_the_marks_of_its_tables(part):
    page = reproduction.PAGES[part].read_text(encoding="utf-8")
    assert page.count(f"<!-- {part} -->") == page.count(f"<!-- end of {part} -->") == 1
    assert page.count("<details>") == (3 if part.endswith("-grid") else 0)


def test_missing_data_are_an_error_of_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GROKFAST_DATA", str(tmp_path))
    assert main(["reproduce", "qm9", "--runs", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err.startswith("error: files of qm9 are missing")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("few_images")
def test_grid_on_runs_of_a_few_steps(tmp_path, monkeypatch):
    """The chosen ones meet on fresh seeds."""
    monkeypatch.setattr(grid, "SEEDS", range(1))
    tuning = tmp_path / "tuning.toml"
    tuning.write_text(
        'task = "mnist"\nlearning-rate = [1e-3]\nweight-decay = [1.0, 2.0]\n'
        "steps = 4\neval-every = 2\nseeds = 1\n",
        encoding="utf-8",
    )
    few = dataclasses.replace(
        grid.GRIDS["mnist"],
        accuracy=0.99,
        steps=4,
        eval_every=2,
        fresh_seeds=range(100, 102),
        eval_every_fresh=1,
        tuning=tuning,
        filters=("ema:alpha=0.8:lamb=0.5", "ma:window_size=2:lamb=1.0"),
        nearby_rates=(0.5, 1.0),
        nearby_decays=(0.8, 1.0),
    )
    text = grid.report(few, tmp_path)
    assert "| learning rate | decay 1 | decay 2 |" in text
    assert "| ema 0.8 0.5 | 0.001 |" in text
    assert text.count("<details>") == text.count("</details>") == 3
    assert "| ma 2 1.0 | 0.001 |" in text
    assert "No pair differs." in text
    assert "2 of 2 never in 4" in text
    fresh = [run.config() for run in SweepDirectory(tmp_path / "fresh").lanes()]
    assert {c["seed"] for c in fresh} == {100, 101}
    assert sorted(c["filter"] == "none" for c in fresh) == [False, False, True, True]


def test_grid_prefers_all_seeds_then_sooner_then_more_accurate():
    setting = grid.Setting(1e-3, 1.0)
    results = [
        grid.Result(setting, [None, None, 100], [0.9] * 3),
        grid.Result(setting, [100, None, 200], [0.7] * 3),
        grid.Result(setting, [900, 900, 900], [0.8] * 3),
        grid.Result(setting, [800, 900, 1000], [0.9] * 3),
    ]
    ranked = sorted(results, key=lambda result: result.rank)
    assert ranked == [results[3], results[2], results[1], results[0]]
    filter = "ma:window_size=10:lamb=1.0"
    filtered = dataclasses.replace(setting, filter=filter)
    around = grid.GRIDS["mnist"].nearby(filtered)
    assert len(set(around)) == 14
    assert filtered not in around
    assert all(s.filter == filter for s in around)


def test_grid_tests_pairs_with_what_was_never_reached():
    setting = grid.Setting(1e-3, 1.0)
    late = grid.Result(setting, [None] * 4 + [500] * 4, [0.8] * 8)
    soon = grid.Result(setting, [100] * 8, [0.8] * 8)
    text = grid._test(grid.GRIDS["mnist"], soon, late)
    assert "none (5.00 – 5.00; 4 of 8 pairs without a ratio)" in text
    assert "sooner in 8 of 8 pairs" in text
    assert "p = 0.008" in text
