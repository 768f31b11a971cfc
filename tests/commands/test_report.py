"""The verb ``report``: the page, what it refuses, and watching a sweep grow."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from experiments.commands import report as verb
from experiments.commands.cli import main
from experiments.records.run import RunDirectory
from tests.conftest import REPOSITORY
from tests.support.command_line import error_of
from tests.support.many_lanes import many_lanes


@pytest.fixture
def sweep(tmp_path):
    return many_lanes(tmp_path / "sweep", {"seed": [0, 1]}, 5)


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def test_a_page_is_written_whole(sweep, tmp_path, capsys):
    output = tmp_path / "page.html"
    assert main(["report", str(sweep.path), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"wrote {output}: 2 runs\n"
    assert [run["name"] for run in data_of(output)["runs"]] == [
        "lane-0000",
        "lane-0001",
    ]
    assert data_of(output)["watching"] is None
    assert "<title>modular: 2 runs</title>" in output.read_text(encoding="utf-8")
    assert not list(tmp_path.glob("*.tmp"))
    titled = [*("--output", str(output)), "--title", "a < b"]
    assert main(["report", str(sweep.path), *titled]) == 0
    assert "<title>a &lt; b</title>" in output.read_text(encoding="utf-8")


def test_unusable_arguments(sweep, tmp_path, capsys):
    def error(*arguments):
        return error_of(capsys, "report", *arguments)

    (tmp_path / "empty").mkdir()
    assert "must end in .html" in error(sweep.path, "--output", "report.png")
    assert "no directory" in error(sweep.path, "--output", tmp_path / "no" / "a.html")
    assert "--every needs --watch" in error(sweep.path, "--every", 3)
    assert "0.5" in error(sweep.path, "--watch", "--every", 0.5)
    assert "does not exist" in error(tmp_path / "nowhere")
    assert "RUN_OR_SWEEP" in error()
    output = ("--output", tmp_path / "page.html")
    assert "holds no run and no sweep" in error(tmp_path / "empty", *output)
    assert not (tmp_path / "page.html").exists()


def test_without_plotly_the_error_says_how_to_get_it(sweep, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert "pip install" in error_of(capsys, "report", sweep.path)


def test_help_teaches(capsys):
    assert main(["report", "--help"]) == 0
    text = capsys.readouterr().out
    assert "python -m experiments report runs/sweep --watch" in text
    assert "--output" in text


def watched(sweep, tmp_path, monkeypatch, *events):
    """Watch with something that happens at each rest; the pages there, in order."""
    output, pages = tmp_path / "page.html", []
    waiting = list(events)

    def there():
        if not output.exists():
            return None
        return data_of(output) | {"at": output.stat().st_mtime_ns}

    def rest(seconds):
        assert seconds == 1
        pages.append(there())
        waiting.pop(0)()

    monkeypatch.setattr(verb.time, "sleep", rest)
    arguments = ["--output", str(output), "--watch", "--every", "1"]
    assert main(["report", str(sweep.path), *arguments]) == 0
    assert not waiting
    return [*pages, there()]


def interrupted():
    raise KeyboardInterrupt


def begun(sweep):
    """The first lane is under way, the second waits."""
    first, second = sweep.lanes()
    first.summary_file.unlink()
    second.summary_file.unlink()
    rows = first.metrics_file.read_text(encoding="utf-8").splitlines(keepends=True)
    first.metrics_file.write_text("".join(rows[:3]), encoding="utf-8")
    second.metrics_file.unlink()
    return first, rows


def test_the_page_grows_with_the_records(sweep, tmp_path, monkeypatch, capsys):
    first, rows = begun(sweep)

    def grow():
        first.metrics_file.write_text("".join(rows), encoding="utf-8")

    pages = watched(sweep, tmp_path, monkeypatch, lambda: None, grow, interrupted)
    assert [page["runs"][0]["steps"] for page in pages] == [20, 20, 80, 80]
    assert [page["watching"] for page in pages] == [1, 1, 1, None]
    assert pages[0]["at"] == pages[1]["at"] < pages[2]["at"]  # only when it has grown
    out = capsys.readouterr().out
    assert out.count("wrote") == 2  # a log of a day is not to be full of it
    assert "for the last time" in out


def test_watching_ends_with_the_last_run(sweep, tmp_path, monkeypatch, capsys):
    begun(sweep)

    def finish():
        for lane in sweep.lanes():
            lane.write_summary({"status": "completed", "steps": 80})

    pages = watched(sweep, tmp_path, monkeypatch, finish)
    assert [page["watching"] for page in pages] == [1, None]
    assert [run["state"] for run in pages[-1]["runs"]] == ["completed"] * 2


def test_watching_waits_for_the_first_lane(sweep, tmp_path, monkeypatch, capsys):
    lanes = sweep.lanes_directory
    hidden = lanes.rename(tmp_path / "hidden")

    def appear():
        hidden.rename(lanes)

    pages = watched(sweep, tmp_path, monkeypatch, lambda: None, appear)
    assert pages[:2] == [None, None]
    assert len(pages[2]["runs"]) == 2
    out = capsys.readouterr().out
    assert out.count("has no lane yet. Waiting.") == 1
    lanes.rename(hidden)
    (tmp_path / "page.html").unlink()
    assert watched(sweep, tmp_path, monkeypatch, interrupted)[-1] is None
    assert "nothing to write" in capsys.readouterr().out


@pytest.mark.thorough
@pytest.mark.usefixtures("ctrl_c_interrupts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_cleanly(sweep, tmp_path, number):
    begun(sweep)
    output = tmp_path / "page.html"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "experiments", "report", str(sweep.path)),
            *("--output", str(output), "--watch", "--every", "60"),
        ],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    deadline = time.monotonic() + 120
    while not output.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == ""
    assert "for the last time" in out
    assert data_of(output)["watching"] is None


def test_a_lane_is_a_run_too(sweep, tmp_path):
    lane = RunDirectory(sweep.lanes_directory / "lane-0001")
    output = tmp_path / "page.html"
    assert main(["report", str(lane.path), "--output", str(output)]) == 0
    (run,) = data_of(output)["runs"]
    assert run["name"] == "lane-0001"
    assert data_of(output)["settings"] == []
