"""What is on the pictures: markers, words, colours, labels that have room."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from experiments.methods.named import every_setting
from experiments.pictures import response as response_picture
from experiments.pictures import spectrum as spectrum_picture
from experiments.pictures.bands import plot_bands
from experiments.pictures.curves import LOWEST_MARKER, figure_of
from experiments.pictures.looks import looks
from experiments.pictures.sweep import curves, heat_map, plot_sweep, survival
from experiments.results.milestones import TARGET
from experiments.results.response import GRID, Response
from experiments.results.spectrum import Phase
from experiments.results.table import label, milestone_of, swept, table, words_of
from experiments.settings.axes import combinations, options_of
from experiments.tasks import TASKS
from tests.results.test_table import MILESTONE, WORDS, frame_of, lane
from tests.support.made_up import sweep
from tests.support.tiny import TASK


class Run:
    """What a picture asks of a run, without the run: it groks at a step."""

    def __init__(self, at, last=3000, every=20, task="modular"):
        self._task = task
        steps = np.arange(0, last + 1, every)
        risen = 1 / (1 + np.exp(np.clip((at - steps) / (0.05 * last), -50, 50)))
        self._metrics = {
            "step": steps,
            "train_loss": 4 * np.exp(-3 * steps / last),
            "train_accuracy": 1 - 0.99 * np.exp(-9 * steps / last),
            "validation_loss": 5 - 4 * risen,
            "validation_accuracy": 0.01 + 0.989 * risen,
            "weight_norm": np.linspace(30, 20 - at / 1000, len(steps)),
        }

    def facts(self):
        return TASKS[self._task].facts()

    def metrics(self):
        return self._metrics


def legend_of(figure):
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    return dict(zip(texts, legend.legend_handles, strict=True))


def words_on(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]


def markers_on(figure):
    lines = (line for ax in figure.axes for line in ax.lines)
    return {line.get_marker() for line in lines} - {"None"}


@pytest.mark.parametrize("runs", [1, 3])
def test_every_marker_is_in_the_legend_once(runs):
    figure = figure_of({f"run {i}": Run(900 + 300 * i) for i in range(runs)}, "title")
    found = [handle.get_marker() for handle in legend_of(figure).values()]
    found = [marker for marker in found if marker != "None"]
    assert LOWEST_MARKER in found
    assert len(found) == len(set(found)) >= 4
    assert set(found) == markers_on(figure)
    told = [text for text in legend_of(figure) if "lowest validation loss" in text]
    assert len(told) == 1


def test_at_chance_level_the_best_has_no_marker():
    figure = figure_of({"": Run(9000)}, "title")
    assert not any("best" in text for text in legend_of(figure))
    assert "v" not in markers_on(figure)


def test_lines_mean_the_same_in_all_runs():
    figure = figure_of({"a": Run(900), "b": Run(1500)}, "title")
    found = legend_of(figure)
    assert list(found)[:5] == ["a", "b", "train", "validation", "weight norm"]
    assert found["a"].get_color() != found["b"].get_color()
    greys = {handle.get_color() for text, handle in found.items() if text not in "ab"}
    assert len(greys) == 1
    assert found["train"].get_linestyle() != found["validation"].get_linestyle()


def test_curves_that_coincide_are_told():
    same = figure_of({"a": Run(900), "b": Run(900), "c": Run(1500)}, "title")
    assert "b, same curve as a" in legend_of(same)
    assert "c" in legend_of(same)
    heavier = Run(900)
    heavier.metrics()["weight_norm"] = heavier.metrics()["weight_norm"] + 5
    one = figure_of({"a": Run(900), "b": heavier}, "title")
    assert "b, same accuracy and loss as a" in legend_of(one)
    rarer = figure_of({"a": Run(900, every=10), "b": Run(900, every=30)}, "title")
    assert any(text.startswith("b, same loss") for text in legend_of(rarer))
    columns = ["validation_accuracy", "weight_norm"]
    groups = {"a": [Run(900)], "b": [Run(900), Run(900)], "c": [Run(900), Run(2000)]}
    assert "b, same curve as a" in legend_of(plot_bands(groups, columns, "title"))
    phase = Phase("memorising", 0, 64, 64, np.arange(33) + 0.0, *[np.ones(33)] * 2)
    figure = spectrum_picture.figure_of([phase, phase], 0.1, "title")
    assert "after the filter, same curve as before the filter" in legend_of(figure)


def test_survival_curves_that_coincide_are_told():
    rows = [lane(s, None, alpha=a) for a in (0.5, 0.9) for s in range(2)]
    figure = survival(frame_of(*rows), MILESTONE, WORDS)
    assert "α 0.9 (0 of 2 got there), same curve as α 0.5" in legend_of(figure)


@pytest.mark.parametrize(
    ("task", "last"),
    [("modular", 40), ("modular", 60), ("modular", 5000), ("qm9", 400), ("qm9", 10**5)],
)
def test_labels_of_ticks_do_not_overlap(task, last):
    run = Run(last / 2, last=last, every=max(20, last // 100), task=task)
    if task == "qm9":
        for split in ("train", "validation"):
            del run.metrics()[f"{split}_accuracy"]
    columns = [n for n in ("validation_accuracy", "weight_norm") if n in run.metrics()]
    for figure in (figure_of({"": run}, "t"), plot_bands({"a": [run]}, columns, "t")):
        check_ticks(figure)


@pytest.mark.parametrize("times", [(100, 140), (900, 3000), (20, 30_000)])
def test_labels_of_the_colours_do_not_overlap(times):
    rows = [
        lane(0, times[i % 2], alpha=a, lamb=b)
        for i, (a, b) in enumerate(itertools.product((0.5, 0.9), (1.0, 2.0)))
    ]
    check_ticks(heat_map(frame_of(*rows), MILESTONE, WORDS))


def check_ticks(figure):
    """Every axis has labels, apart from each other, but for axes without ticks."""
    figure.draw_without_rendering()
    for ax in figure.axes:
        for axis, low, high in ((ax.xaxis, 0, 2), (ax.yaxis, 1, 3)):
            drawn = [
                text.get_window_extent().extents
                for text in axis.get_ticklabels(which="both")
                if text.get_text() and text.get_visible()
            ]
            drawn.sort(key=lambda extents: extents[low])
            assert len(drawn) >= 2 or not len(axis.get_majorticklocs())
            for one, other in itertools.pairwise(drawn):
                assert one[high] < other[low] + 1 or one[low] == other[low]


def test_no_internal_names_on_the_pictures_of_a_sweep(tmp_path):
    values = {"filter": ["ema"], "lamb": [1.0, 2.0], "weight_decay": [0.0, 0.1]}
    rows = combinations(options_of(values | {"stop_at": "validation_loss<=0.5"}))
    accuracy = {"train_accuracy": [0.1, 1.0], "validation_accuracy": [0.1, 1.0]}
    losses = {"train_loss": [2.0, 0.1], "validation_loss": [2.0, 0.1]}
    lanes = [
        (each, accuracy | losses | {"weight_norm": [5.0, 4.0]})
        for each in every_setting(type(TASK), rows)
    ]
    recorded = sweep(tmp_path, lanes).lanes()
    frame = table(recorded)
    milestone = milestone_of(frame, recorded[0].facts())
    words = words_of(milestone, frame, recorded[0].facts())
    assert (milestone, words) == (TARGET, "steps to validation loss ≤ 0.5")
    for figure in (
        curves(tmp_path, frame, milestone),
        survival(frame, milestone, words),
        heat_map(frame, milestone, words),
    ):
        shown = words_on(figure)
        assert not [text for text in shown if "_" in text or "lamb" in text]
    assert words in shown
    assert len(plot_sweep(tmp_path, frame, milestone, words)) == 3


@pytest.mark.parametrize("settings", [3, 12, 100])
def test_a_setting_has_one_colour_however_it_ranks(settings):
    found = {}
    for sign in (1, -1):
        rows = [
            lane(0, 5000 + sign * 10 * i, alpha=i / settings) for i in range(settings)
        ]
        frame = frame_of(*rows)
        lines = legend_of(survival(frame, MILESTONE, WORDS))
        for text, line in lines.items():
            look = (line.get_color(), line.get_linestyle())
            assert found.setdefault(text.split(" (")[0], look) == look
        names = swept(frame)
        every = looks(label(row, names) for row in frame.rows(named=True))
    assert all(found[text][0] == every[text]["color"] for text in found)
    assert len({str(look) for look in every.values()}) == settings


@pytest.mark.parametrize("alphas", [[0.98], [0.5], [0.999, 0.5]])
def test_responses_fill_their_panels(alphas):
    responses = []
    for alpha in alphas:
        gains = 1 + 2 * (1 - alpha) / (1 - alpha * np.exp(-1j * GRID))
        responses.append(Response(f"EMA {alpha}", {}, gains, alpha ** np.arange(50)))
    figure = response_picture.figure_of(responses)
    changes = np.abs(responses[0].gains - responses[0].gains[0])  # the slowest
    moving = GRID[changes > 0.05 * changes.max()][0]
    for ax in figure.axes[:2]:
        low, high = np.log(ax.get_xlim())
        assert high > np.log(np.pi)
        assert 0 < (np.log(moving) - low) / (high - low) < 0.3
