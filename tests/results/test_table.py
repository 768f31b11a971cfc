"""Tables, statistics and pictures of sweeps, from records made up."""

import numpy as np
import polars as pl
import pytest

from experiments.methods.named import every_setting
from experiments.pictures.sweep import curves, heat_map, survival, survival_curve
from experiments.results.numbers import short
from experiments.results.table import by_setting, label, milestone_of, swept, table
from experiments.screen.progress import SweepProgress
from experiments.settings.axes import combinations, options_of
from experiments.tasks import TASKS
from tests.support.made_up import sweep

MILESTONE = "t_gen_99"
WORDS = "steps to 99 % validation accuracy"


def lane(seed, steps, *, final=0.5, status="reached target", **settings):
    if steps is None and status == "reached target":
        status = "completed"
    return {
        "lane": f"{settings}-{seed}",
        "task": "modular",
        **settings,
        "steps": 1000,
        "seed": seed,
        "status": status,
        "steps_trained": 1000 if steps is None else steps + 20,
        MILESTONE: steps,
        "final_validation_accuracy": final,
    }


def frame_of(*rows):
    """As a table has them: settings first, null in lanes where they have no effect."""
    settings = (name for row in rows for name in list(row)[: [*row].index("status")])
    names = dict.fromkeys(settings) | dict.fromkeys(n for row in rows for n in row)
    every = [{name: row.get(name) for name in names} for row in rows]
    return pl.DataFrame(every, infer_schema_length=None)


def test_settings_are_ranked_and_never_is_larger_than_everything():
    frame = frame_of(
        *(lane(s, t, alpha=0.9) for s, t in enumerate([100, None, None])),
        *(lane(s, t, alpha=0.98) for s, t in enumerate([900, 800, None])),
        *(lane(s, None, alpha=0.5, final=0.1) for s in range(3)),
    )
    assert swept(frame) == ["alpha"]
    rows = by_setting(frame, MILESTONE)
    assert [row["alpha"] for row in rows] == [0.98, 0.9, 0.5]
    assert [row["median"] for row in rows] == [900, None, None]
    assert [row["reached"] for row in rows] == [2, 1, 0]
    assert rows[0]["values"] == [900, 800, None]


def test_every_seed_goes_before_sooner():
    frame = frame_of(
        *(lane(s, t, alpha=0.9) for s, t in enumerate([380, 380, None])),
        *(lane(s, 440, alpha=0.98) for s in range(3)),
    )
    rows = by_setting(frame, MILESTONE)
    assert [row["alpha"] for row in rows] == [0.98, 0.9]
    assert [row["median"] for row in rows] == [440, 380]


@pytest.mark.parametrize("time", [100, None])
@pytest.mark.parametrize(
    ("column", "values", "best_first"),
    [
        ("final_validation_accuracy", [0.2, 0.9, 0.5], [0.9, 0.5, 0.2]),
        ("final_validation_loss", [2.0, 9.0, 5.0], [2.0, 5.0, 9.0]),
    ],
)
def test_at_the_same_step_the_better_end_comes_first(time, column, values, best_first):
    """Of accuracies the higher one; of losses, where there is no other, the lower."""
    rows = [
        lane(s, time, final=value, alpha=index / 10)
        for index, value in enumerate(values)
        for s in range(2)
    ]
    frame = frame_of(*rows).rename({"final_validation_accuracy": column})
    assert [row["final"] for row in by_setting(frame, MILESTONE)] == best_first


def test_what_is_not_finished_counts_for_nothing():
    frame = frame_of(
        lane(0, 100, alpha=0.9),
        lane(1, None, alpha=0.9, status="interrupted"),
        lane(2, None, alpha=0.9, status="diverged"),
    )
    (row,) = by_setting(frame, MILESTONE)
    assert row["values"] == [100, None]
    assert (row["unfinished"], row["diverged"], row["lanes"]) == (1, 1, 3)
    assert row["median"] is None


def test_survival_is_the_fraction_not_there_yet():
    times = [100, 300, 300, 500, None, None]
    frame = frame_of(*(lane(s, t) for s, t in enumerate(times)))
    steps, fractions = survival_curve(frame, MILESTONE)
    assert (steps[0], fractions[0]) == (0, 1)
    for step in (0, 99, 100, 299, 300, 499, 500, 1000):
        there = sum(t is not None and t <= step for t in times)
        at = np.searchsorted(steps, step, side="right") - 1
        assert fractions[at] == pytest.approx(1 - there / 6)
    assert steps[-1] == 1000


def test_lanes_cut_short_are_censored_where_they_are():
    """Kaplan and Meier: 1 of 4 at 100, then 1 of the 2 that are still seen at 300."""
    frame = frame_of(
        lane(0, 100),
        lane(1, 300),
        lane(2, None) | {"steps_trained": 200, "status": "interrupted"},
        lane(3, None) | {"steps_trained": 50, "status": "diverged"},
    )
    steps, fractions = survival_curve(frame, MILESTONE)
    found = dict(zip(steps, fractions, strict=True))
    assert found[100] == pytest.approx(3 / 4)
    assert found[300] == pytest.approx(3 / 8)  # the diverged one is seen to the budget


def test_nobody_reached_it():
    frame = frame_of(*(lane(s, None) for s in range(3)))
    _, fractions = survival_curve(frame, MILESTONE)
    assert (fractions == 1).all()
    assert survival(frame, MILESTONE, WORDS) is not None


def texts(figure):
    return {text.get_text() for ax in figure.axes for text in ax.texts}


def test_heat_map_has_a_tile_a_pair_and_a_panel_a_setting(tmp_path):
    frame = frame_of(
        *(
            lane(s, int(1000 * a * b) + s, weight_decay=a, lamb=b, filter=f)
            for a in (0.5, 0.9)
            for b in (0.1, 0.2, 0.7)
            for f in ("ema", "ma")
            for s in range(3)
        )
    )
    figure = heat_map(frame, MILESTONE, WORDS)
    assert {"51", "631"} <= texts(figure)
    titles = [ax.get_title() for ax in figure.axes]
    assert {"filter ema", "filter ma"} <= set(titles)
    figure.savefig(tmp_path / "map.png")


def test_heat_map_of_draws_has_dots_and_crosses(tmp_path):
    rng = np.random.default_rng(0)
    alphas, lambs = rng.uniform(0.8, 1, 30), np.exp(rng.uniform(-3, 3, 30))
    rows = [
        lane(0, None if a > 0.9 else 500, alpha=a, lamb=b)
        for a, b in zip(alphas, lambs, strict=True)
    ]
    figure = heat_map(frame_of(*rows), MILESTONE, WORDS)
    ax = figure.axes[0]
    assert len(ax.lines) == 30
    assert {line.get_marker() for line in ax.lines} == {"o", "x"}
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    figure.savefig(tmp_path / "map.png")


def test_settings_without_effect_are_not_shown():
    rows = [lane(s, 50, filter="none") for s in range(2)]
    for alpha in (0.9, 0.98):
        rows += [lane(0, 100, filter="ema", alpha=alpha, lamb=b) for b in (1.0, 2.0)]
    frame = frame_of(*rows)
    names = swept(frame)
    labels = [label(row, names) for row in by_setting(frame, MILESTONE)]
    assert labels[0] == "filter none"
    assert "filter ema, α 0.9, λ 1" in labels
    assert texts(heat_map(frame, MILESTONE, WORDS)) == {
        "100"
    }  # not the 50 without filter


MODULAR = TASKS["modular"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        # One value of α beside none: the filter tells all.
        ({"filter": ["none", "ema"], "alpha": [0.9]}, ["filter"]),
        ({"filter": ["none", "ema"], "alpha": [0.9, 0.5]}, ["filter", "alpha"]),
        ({"filter": ["ema"], "alpha": [0.9], "seed": [0, 1]}, []),
        # None has an effect here: there is no clipping.
        ({"clip_norm": [None, 0.5]}, ["clip_norm"]),
        ({"clip_norm": [None, 0.5], "clip_position": ["after"]}, ["clip_norm"]),
        ({"optimizer": ["adam", "sgd"], "beta1": [0.8]}, ["optimizer"]),
        ({"operation": ["add", "s5"], "prime": [11]}, ["operation"]),
        ({"stop_at": [None, 0.9]}, ["stop_at"]),
        ({"filter": ["none", "ema+ma"], "alpha": [0.9]}, ["filter"]),
    ],
)
def test_swept_is_what_differs_where_it_has_an_effect(tmp_path, options, names):
    settings = every_setting(MODULAR, combinations(options_of(options)))
    lanes = sweep(tmp_path, [(each, None) for each in settings]).lanes()
    assert len(lanes) == len(settings) > 1
    assert swept(table(lanes)) == names


def test_labels_tell_settings_apart(tmp_path):
    filters = ["none", "ema", "ema:alpha=0.5", "ema+ma", "ma:lamb=1"]
    options = options_of({"filter": filters, "clip_norm": [None, 0.5]})
    settings = every_setting(MODULAR, combinations(options))
    frame = table(sweep(tmp_path, [(each, None) for each in settings]).lanes())
    names = swept(frame)
    labels = {label(row, names) for row in by_setting(frame, MILESTONE)}
    assert len(labels) == 10
    assert {"filter none", "filter none, clip norm 0.5", "filter ema+ma"} <= labels


def test_table_of_records(tmp_path):
    """Settings first, whichever lane has them; not finite is null."""
    settings = every_setting(
        MODULAR, [{"filter": f, "stop_at": 0.9} for f in ("none", "ema:alpha=0.5")]
    )
    curves = {
        "train_loss": [1, np.nan],
        "validation_loss": [2, np.inf],
        "train_accuracy": [0.1, 1],
        "validation_accuracy": [0.2, 0.91],
    }
    lanes = sweep(tmp_path, list(zip(settings, [None, curves], strict=True))).lanes()
    frame = table(lanes)
    first, second = frame.rows(named=True)
    expected = {"filter": "none", "alpha": None, "status": "not started"}
    assert expected.items() <= first.items()
    expected = {"filter": "ema", "alpha": 0.5, "steps": 3000, "steps_trained": 20}
    expected |= {"t_target": 20, "t_gen_99": None, "final_validation_loss": None}
    assert expected.items() <= second.items()
    assert second["final_train_loss"] is None
    assert second["final_validation_accuracy"] == pytest.approx(0.91)
    assert frame.columns[0] == "lane"
    settings = frame.columns[1 : frame.columns.index("status")]
    assert set(settings) == lanes[0].config().keys() | lanes[1].config().keys()
    assert milestone_of(frame, MODULAR.facts()) == "t_target"


def test_axes_of_the_map_matter_together():
    """α is the EMA's and the window the MA's: no lane has both."""
    rows = [lane(0, 50, filter="ema", alpha=a) for a in (0.9, 0.98)]
    rows += [lane(0, 60, filter="ma", window_size=w) for w in (5, 10)]
    assert heat_map(frame_of(*rows), MILESTONE, WORDS) is None
    assert heat_map(frame_of(*rows[:1], *rows[3:]), MILESTONE, WORDS) is None


def test_diverged_lanes_rank_last_among_those_that_never_got_there():
    rows = [lane(0, None, alpha=0.9, final=0.9, status="diverged")]
    rows += [lane(0, None, alpha=0.5, final=0.1), lane(0, 50, alpha=0.1)]
    found = by_setting(frame_of(*rows), MILESTONE)
    assert [row["alpha"] for row in found] == [0.1, 0.5, 0.9]


def test_numbers_in_few_characters():
    values = [1e38, 1234567.0, 1260.0, 0.98, 3e-4, 5, "ema"]
    expected = ["1e+38", "1.235e+06", "1,260", "0.98", "0.0003", "5", "ema"]
    assert list(map(short, values)) == expected


def test_one_axis_has_no_heat_map():
    frame = frame_of(lane(0, 5, alpha=0.5), lane(0, 5, alpha=0.6))
    assert heat_map(frame, MILESTONE, WORDS) is None


def test_nothing_was_trained_yet(tmp_path):
    row = lane(0, None, alpha=0.9) | {"steps_trained": 0, "status": "not started"}
    frame = frame_of(row).drop(MILESTONE, "final_validation_accuracy")
    assert curves(tmp_path, frame, MILESTONE) is None
    assert survival(frame, MILESTONE, WORDS) is None
    assert by_setting(frame, MILESTONE)[0]["unfinished"] == 1


def test_progress_counts_what_is_done_or_not_needed():
    said = []
    progress = SweepProgress({"a": 100, "b": 100}, lambda *what: said.append(what))
    progress.advanced("a", {"step": 20})
    assert said[-1] == (20, "0/2 lanes over", False)
    progress.ended("a", {"status": "reached target"})
    progress.advanced("b", {"step": 20})
    progress.ended("b", {"status": "interrupted"})
    assert said[-1] == (120, "2/2 lanes over (1 interrupted, 1 reached target)", True)


def test_a_row_without_any_of_the_settings_has_a_label():
    names = ["clip_norm", "clip_position"]
    row = {"clip_norm": None, "clip_position": None}
    assert label(row, names) == "without clip norm, clip position"
    assert label(row | {"clip_norm": 0.5}, names) == "clip norm 0.5"
    assert label(row, []) == ""
