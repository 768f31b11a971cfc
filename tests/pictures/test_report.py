"""What a report says: the figures of the records, in a page that fetches nothing."""

import base64
import html
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from experiments.pictures.report import page as report_page
from experiments.pictures.report.colours import MOST_COLOURS, colourings
from experiments.pictures.report.contents import _map_axes, contents
from experiments.pictures.report.curves import COLUMNS
from experiments.pictures.report.page import page, plotly_js
from experiments.pictures.report.runs import runs_of
from experiments.pictures.report.thin import kept
from experiments.pictures.sweep import survival_curve
from experiments.records.run import RecordError
from experiments.results.listing import describe
from experiments.results.table import by_setting, table
from tests.support.different_tasks import different_tasks
from tests.support.many_lanes import many_lanes

VALUES = {
    "filter": ["none", "ema"],
    "lamb": [1.0, 2.0],
    "weight_decay": [0.005, 0.5],
    "seed": [0, 1, 2],
}
PLOTLY = "/* Plotly, as far as these tests go */"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return many_lanes(tmp_path_factory.mktemp("report") / "sweep", VALUES, 60)


@pytest.fixture(scope="module")
def found(sweep):
    return json.loads(json.dumps(contents(runs_of([sweep.path])), default=list))


def numbers(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def test_every_figure_is_that_of_the_table(sweep, found):
    frame = table(sweep.lanes())
    sweep.write_table(frame)
    read = pl.read_parquet(sweep.table_file)
    assert [run["name"] for run in found["runs"]] == read["lane"].to_list()
    assert [run["steps"] for run in found["runs"]] == read["steps_trained"].to_list()
    for place, setting in enumerate(found["settings"]):
        values = [run["values"][place] for run in found["runs"]]
        assert values == read[setting["name"]].to_list()
    for place, result in enumerate(found["results"]):
        values = [run["results"][place] for run in found["runs"]]
        assert values == read[result["name"]].to_list()
    names = {result["name"] for result in found["results"]}
    assert {"t_fit_99", "t_gen_99", "delay", "min_validation_loss"} <= names
    assert {"final_validation_accuracy", "final_weight_norm"} <= names


def test_every_figure_is_that_of_the_listing(sweep, found):
    place = [result["name"] for result in found["results"]].index("t_gen_99")
    for run, lane in zip(found["runs"], sweep.lanes(), strict=True):
        described = describe(lane)
        assert run["results"][place] == described["milestones"]["t_gen_99"]
        assert run["state"] == described["state"]


def test_settings_that_differ_are_the_columns(found):
    names = [setting["name"] for setting in found["settings"]]
    assert sorted(names) == ["filter", "lamb", "seed", "weight_decay"]
    assert [names[place] for place in found["axes"]] == [
        n for n in names if n != "seed"
    ]
    values = {each["name"]: each["values"] for each in found["settings"]}
    assert values["filter"] == ["ema", "none"]
    assert values["lamb"] == [1.0, 2.0, None]  # none: no effect without a filter
    same = {each["what"]: each["value"] for each in found["same"]}
    assert same["prime"] == "97"
    assert same["steps"] == "1180"
    assert not same.keys() & {"filter", "seed", "weight decay"}


def test_axes_of_the_heat_map_fill_it(found):
    rows = {"alpha": [0.9, 0.9, 0.98, 0.98], "lamb": [1, 1, 2, 2], "wd": [0, 1, 0, 1]}
    frame = pl.DataFrame(rows)
    assert _map_axes(frame, ["alpha", "lamb", "wd"]) == ("alpha", "wd")
    assert _map_axes(frame, ["alpha", "lamb"]) == ("alpha", "lamb")  # there are no more
    assert len(_map_axes(frame, ["alpha"])) < 2
    names = [setting["name"] for setting in found["settings"]]
    filled = {names[place] for place in found["map_axes"]}
    assert filled == {"weight_decay", "lamb"}  # of three values, one of them none


def test_seeds_of_a_setting_say_what_show_says(sweep, found):
    frame = table(sweep.lanes())
    for milestone, rows in found["by_setting"].items():
        expected = by_setting(frame, milestone)
        for key in ("median", "reached", "diverged", "unfinished", "final"):
            assert [row[key] for row in rows] == [row[key] for row in expected], key
    rows = found["by_setting"]["t_gen_99"]
    assert len(rows) == 6
    assert {row["reached"] for row in rows} == {2, 3}  # some lane never gets there
    missing = next(row for row in rows if row["reached"] == 2)
    assert missing["largest"] is None
    whole = next(row for row in rows if row["reached"] == 3)
    assert whole["least"] <= whole["median"] <= whole["largest"]


def test_survival_is_that_of_the_picture(sweep, found):
    frame = table(sweep.lanes())
    for row in found["by_setting"]["t_gen_99"]:
        of = [run["setting"] == row["setting"] for run in found["runs"]]
        steps, fractions = survival_curve(frame.filter(of), "t_gen_99")
        assert row["survival"]["steps"] == steps.tolist()
        assert row["survival"]["fractions"] == fractions.tolist()
        assert row["survival"]["reached"] == frame.filter(of)["t_gen_99"].count()
    assert all(row["survival"] is None for row in found["by_setting"]["delay"])


def test_curves_are_those_recorded(sweep, found):
    assert found["curves"]["points"] is None
    for lane, curves in zip(sweep.lanes(), found["curves"]["runs"], strict=True):
        metrics = lane.metrics()
        steps = numbers(found["curves"]["steps"][curves["steps"]], "<f8")
        np.testing.assert_array_equal(steps, metrics["step"])
        assert curves["columns"].keys() == set(COLUMNS)
        for name, column in curves["columns"].items():
            assert column["at"] is None
            values = numbers(column["values"], "<f4")
            np.testing.assert_array_equal(values, metrics[name].astype(np.float32))
    assert len(found["curves"]["steps"]) == 1  # all lanes share them


def test_long_curves_keep_their_peaks():
    rng = np.random.default_rng(0)
    for size in (301, 5000, 100_000):
        values = rng.normal(size=size)
        places = kept(values, 300)
        assert len(places) <= 300
        assert (np.diff(places) > 0).all()
        assert {0, size - 1, values.argmin(), values.argmax()} <= set(places)
        early = places[places < size // 50]
        assert len(early) >= min(size // 50, 20)  # seen on a logarithmic axis
        assert np.diff(places).max() <= 2 * size / 74 + 1  # and on a linear one
    values[::2] = np.nan
    assert np.isfinite(values[kept(values, 300)]).all()


def test_lanes_that_have_not_finished(tmp_path):
    sweep = many_lanes(tmp_path / "sweep", VALUES | {"seed": [0]}, 30)
    killed, waiting, *_ = lanes = sweep.lanes()
    killed.summary_file.unlink()
    for file in (waiting.summary_file, waiting.metrics_file):
        file.unlink()
    found = contents(runs_of([sweep.path]))
    states = [run["state"] for run in found["runs"]]
    assert states == ["killed", "not started"] + ["completed"] * (len(lanes) - 2)
    assert found["without_summary"] == 2
    assert found["runs"][1]["steps"] == 0
    assert found["curves"]["runs"][1]["columns"] == {}
    rows = {row["setting"]: row for row in found["by_setting"]["t_gen_99"]}
    assert rows[0]["unfinished"] == rows[1]["unfinished"] == 1
    assert rows[0]["survival"]["runs"] == 1  # censored where it stands
    assert rows[1]["survival"] is None
    for lane in lanes:
        lane.summary_file.unlink(missing_ok=True)
        lane.metrics_file.unlink(missing_ok=True)
    assert contents(runs_of([sweep.path]))["by_setting"] == {}


def test_different_tasks_on_one_page(tmp_path):
    found = contents(runs_of([different_tasks(tmp_path)]))
    runs = {run["name"]: run for run in found["runs"]}
    results = [each["name"] for each in found["results"]]
    assert runs["qm9"]["results"][results.index("t_gen_99")] is None
    assert "t_gen_99" not in runs["qm9"]["asked"]  # so it is not "never"
    assert "t_gen_99" in runs["lost"]["asked"]
    assert [name for name, run in runs.items() if "t_target" in run["asked"]] == [
        "target"
    ]
    for milestone, names in (
        ("t_gen_99", {"lost", "target"}),
        ("t_target", {"target"}),
        ("min_validation_loss", set(runs)),
    ):
        settings = {row["setting"] for row in found["by_setting"][milestone]}
        assert settings == {runs[name]["setting"] for name in names}
    assert runs["lost"]["diverged"] == 7
    curves = dict(zip(runs, found["curves"]["runs"], strict=True))
    assert "train_accuracy" not in curves["qm9"]["columns"]
    norm = curves["target"]["columns"]["weight_norm"]
    assert numbers(norm["at"], "<u4").tolist() == [1]
    assert numbers(norm["values"], "<f4").tolist() == [5.0]


def test_provenance_is_counted(sweep, found):
    lines = {
        (each["what"], each["value"]): each["runs"] for each in found["provenance"]
    }
    assert lines["device", "1 × cpu (cpu)"] == 18
    assert lines["versions: jax", "0.10.2"] == 18
    assert not any(what in ("status", "seconds") for what, _ in lines)


def test_two_versions_are_two_lines(tmp_path):
    sweep = many_lanes(tmp_path / "sweep", {"seed": [0, 1, 2]}, 5)
    lane = sweep.lanes()[0]
    lane.write_summary(
        lane.summary() | {"versions": {"jax": "0.9"}, "git": {"dirty": 1}}
    )
    found = contents(runs_of([sweep.path]))["provenance"]
    jax = {
        each["value"]: each["runs"] for each in found if each["what"] == "versions: jax"
    }
    assert jax == {"0.9": 1, "0.10.2": 2}
    assert {"what": "git: dirty", "value": "1", "runs": 1} in found


def test_starts_and_sources_are_told(tmp_path):
    sweep = many_lanes(tmp_path / "sweep", {"seed": [0, 1, 2]}, 5)
    first, second, _ = lanes = sweep.lanes()  # the third has none noted
    for lane in lanes[:2]:
        lane.begin("aaa", anew=True)
    second.begin("bbb modified", anew=False)
    for lane, started in ((first, "2026-11-26T08:00:00+00:00"), (second, "2026-12-01")):
        noted = lane.begun() | {"started": started}
        lane.write_summary(lane.summary() | noted | {"parameters_sha256": "5ac" * 20})
    found = contents(runs_of([sweep.path]))
    lines = {
        (each["what"], each["value"]): each["runs"] for each in found["provenance"]
    }
    assert lines["started", "2026-11-26T08:00:00+00:00 … 2026-12-01"] == 2
    assert lines["source", "aaa"] == lines["source", "aaa, then bbb modified"] == 1
    assert [run["sha256"] for run in found["runs"]] == ["5ac" * 20] * 2 + [None]
    starts = [run["started"] for run in found["runs"]]
    assert starts == [lane.begun().get("started") for lane in lanes]
    assert [start is None for start in starts] == [False, False, True]


@pytest.mark.parametrize("count", [3, MOST_COLOURS, 40])
def test_many_numbers_share_the_colours_of_a_scale(count):
    rows = [{"alpha": i / count} for i in range(count)] + [{"filter": "none"}]
    way = colourings(rows, ["alpha"])["alpha"]
    few = count <= MOST_COLOURS
    assert len(way["labels"]) == (count if few else MOST_COLOURS) + 1
    assert len(set(way["colours"])) == len(way["colours"]) == len(way["dashes"])
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in way["colours"])
    if not few:
        assert way["of"] == [*sorted(way["of"][:-1]), MOST_COLOURS]
        assert way["labels"][-1] == "without α"
        assert set(way["of"]) == set(range(MOST_COLOURS + 1))


NASTY = "</script><img src=x onerror=alert(1)>&amp;$x <b>"


def test_names_are_data(tmp_path):
    sweep = many_lanes(tmp_path / "sweep", {"seed": [0, 1]}, 5)
    lane = sweep.lanes()[0]
    lane.write_summary(lane.summary() | {"device": NASTY})
    found = contents(runs_of([sweep.path]))
    found["runs"][0]["name"] = NASTY
    text = page(found, NASTY, PLOTLY)
    assert "<img" not in text
    assert text.count("</script>") == text.count("<script") == 3
    assert html.escape(NASTY) in text
    data = re.search(r'id="data">(.*?)</script>', text, re.S)[1]
    assert "<" not in data
    read = json.loads(data)
    assert read["runs"][0]["name"] == NASTY
    assert NASTY in [each["value"] for each in read["provenance"]]


def test_the_page_needs_nothing_but_itself(found):
    text = page(found, "title", PLOTLY)
    assert "default-src 'none'" in text
    for place in re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", text):
        assert place.startswith(("#", "data:")), place
    assert "http" not in text.split('id="data"')[0].replace("http-equiv", "")
    assert "innerHTML" not in text
    assert "eval(" not in text


def test_every_script_is_on_the_page():
    folder = Path(report_page.__file__).parent
    assert sorted(report_page._SCRIPTS) == sorted(f.name for f in folder.glob("*.js"))


def test_plotly_is_that_of_its_package():
    assert "plotly.js v" in plotly_js()[:200]


def test_runs_are_found_and_told_apart(sweep, tmp_path):
    first = many_lanes(tmp_path / "first", {"seed": [0]}, 5)
    second = many_lanes(tmp_path / "second", {"seed": [1]}, 5)
    lane = first.lanes_directory / "lane-0000"
    assert list(runs_of([lane])) == ["lane-0000"]
    assert list(runs_of([first.path, lane])) == ["lane-0000"]  # once
    both = runs_of([first.path, second.path])
    assert len(both) == 2
    assert all(name == str(run.path) for name, run in both.items())
    assert len(runs_of([tmp_path])) == 2
    assert [len(c["runs"]) for c in [contents(both)]] == [2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="empty holds no run and no sweep"):
        runs_of([first.path, tmp_path / "empty"])
