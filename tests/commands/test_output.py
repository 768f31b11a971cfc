"""Output that lacks characters, or whose reader goes away, ends nothing."""

import ast
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from experiments.commands import cli
from experiments.commands.cli import main
from experiments.files import json_text
from experiments.methods.named import settings_of
from experiments.records.run import RunDirectory
from experiments.screen import console
from experiments.screen.outlet import Outlet, shown
from experiments.screen.progress import progress
from tests.conftest import REPOSITORY
from tests.support.command_line import TINY, json_of
from tests.support.made_up import record, sweep
from tests.support.tiny import TASK, read

NAME = "läufe λ [b] ▼"
CURVES = {
    "train_loss": [2.5, 1.0, 0.1],
    "train_accuracy": [0.1, 0.5, 1.0],
    "validation_loss": [2.6, 2.0, 1.5],
    "validation_accuracy": [0.1, 0.2, 0.5],
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two runs, and a sweep of two, in a directory of that name."""
    root = tmp_path_factory.mktemp("records") / NAME
    two = [settings_of(TASK, filter=text) for text in ("none", "ema:alpha=0.5+ma")]
    for name, settings in zip("ab", two, strict=True):
        summary = {"diverged_at_step": None, "milestones": {"t_fit_99": 20}}
        summary |= {"final": {"train_loss": 0.1}, "seconds": 1.0, "ms_per_step": None}
        summary |= {"peak_memory_mib": {"process": 500.0}}
        record(root / name, settings, CURVES, **summary)
    sweep(root / "sweep", [(settings, CURVES) for settings in two])
    return root


def output(monkeypatch, encoding, *arguments):
    """Exit code and what a command prints, on both streams."""
    pages = [io.BytesIO(), io.BytesIO()]
    for name, page in zip(("stdout", "stderr"), pages, strict=True):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(page, encoding))
    code = main([*map(str, arguments)])
    return code, *(page.getvalue().decode(encoding) for page in pages)


def tells(text, words):
    """Whether words stand in a text, wherever its lines are folded."""
    return "".join(words.split()) in "".join(text.split())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_verb_in_every_encoding(monkeypatch, records, tmp_path, encoding):
    monkeypatch.setenv("COLUMNS", "200")

    def printed(*arguments):
        code, out, err = output(monkeypatch, encoding, *arguments)
        assert (code, err) == (0, "")
        return out

    name = NAME.encode(encoding, "backslashreplace").decode(encoding)
    a, b = records / "a", records / "b"
    assert tells(printed("list", records), f"below {records.parent}/{name}")
    assert tells(printed("show", a), f"Recorded in {records.parent}/{name}/a")
    assert tells(
        printed("show", records / "sweep"), f"wrote {records.parent}/{name}/sweep"
    )
    assert "Settings that differ" in printed("compare", a, b)
    lamb = "λ" if encoding == "utf-8" else "lamb"
    assert f"Gain {lamb} of" in printed("train", "modular", "--help")
    if encoding != "ascii":  # which lacks most
        return
    picture = tmp_path / f"{NAME}.png"
    assert "wrote" in printed("plot", a, b, "--output", picture)
    assert "radians" in printed("response", "--output", picture)
    plan = ["modular", *TINY, "--run-dir", records / "c", "--dry-run"]
    assert name in printed("sweep", *plan, "--lamb", "1,2", "--filter", "ema")
    for verb in cli._VERBS:
        assert "--help" in printed(verb, "--help")


def test_every_character_of_ours_has_a_substitute():
    """Of every text in the source, help and tables and messages among them."""
    for file in (REPOSITORY / "experiments").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole = shown(node.value, "ascii")
                escapes = re.findall(r"\\[xuU][0-9a-f]{2,8}", whole)
                assert all(each in node.value for each in escapes), (file, whole)


def test_errors_and_warnings_in_ascii(monkeypatch, records):
    code, out, err = output(monkeypatch, "ascii", "show", records / "none")
    assert (code, out) == (2, "")
    assert r"l\xe4ufe \u03bb [b] v/none" in err


def test_json_is_the_same_in_every_encoding(monkeypatch, records, capsys):
    whole = json_of(capsys, "show", records / "a")
    assert whole["run"] == str(records / "a")
    code, out, _ = output(monkeypatch, "ascii", "show", records / "a", "--json")
    assert (code, json.loads(out)) == (0, whole)


def test_a_name_that_is_no_utf_8(monkeypatch, tmp_path, capsys):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/l\xe4ufe")
    record(tmp_path / "a", settings_of(TASK), CURVES, final={"path": path})
    assert RunDirectory(tmp_path / "a").summary()["final"]["path"] == path
    (tmp_path / "a").rename(path)
    for encoding in ("utf-8", "ascii"):
        assert r"l\xe4ufe" in output(monkeypatch, encoding, "list", tmp_path)[1]
    monkeypatch.undo()
    # No checkpoint could be written there: refused before it trains.
    assert main(["train", "modular", *TINY, "--run-dir", f"{path}-2"]) == 2
    assert "-2 is no UTF-8" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == [os.path.basename(path)]


def test_tables_are_aligned_whatever_the_substitutes(monkeypatch):
    page = io.BytesIO()
    stream = Outlet(io.TextIOWrapper(page, "ascii"))
    monkeypatch.setattr(sys, "stdout", stream)
    console.print_table("≥ λ", ("", "α"), [["… at step", 1], ["[/b] ▼ :v:", None]])
    *_, top, header, _, first, second, bottom = page.getvalue().decode().splitlines()
    assert len({len(each) for each in (top, header, first, second, bottom)}) == 1
    assert "alpha" in header
    assert "... at step" in first
    assert "[/b] v :v:" in second


class Terminal(io.TextIOWrapper):
    """A page that is a screen."""

    def isatty(self):
        return True


def test_a_bar_in_ascii(monkeypatch):
    page = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Outlet(Terminal(page, "ascii")))
    with progress("λ [/b]", 10) as advance:
        advance({"step": 5, "train_loss": 1.0, "validation_loss": 2.0})
    assert "lamb [/b]" in page.getvalue().decode("ascii")


def test_a_log_in_colour_has_no_bar(monkeypatch):
    page = io.StringIO()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", page)
    with progress("a", 10) as advance:
        advance({"step": 10, "train_loss": 1.0, "validation_loss": 2.0})
    assert "\x1b" not in page.getvalue()
    assert "10 of 10 steps" in page.getvalue()


@pytest.mark.parametrize(
    ("columns", "terminal", "width"),
    [("0", "xterm", 80), ("200", "dumb", 200), ("0", "dumb", 80), ("60", "xterm", 60)],
)
def test_columns(monkeypatch, columns, terminal, width):
    unknown = os.terminal_size((80, 24))
    monkeypatch.setattr(console.shutil, "get_terminal_size", lambda: unknown)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert Console(**console.size()).width == width


def test_a_stream_that_is_closed_before_its_outlet():
    """As when Python ends, which flushes all there is."""
    page = io.StringIO()
    stream = Outlet(page)
    page.close()
    assert stream.write("text") == 4
    stream.close()
    assert stream.error is None


def test_what_has_no_substitute_is_escaped():
    assert shown("x 猫 é \udce4", "ascii") == r"x \u732b \xe9 \udce4"
    assert shown("x 猫 é \udce4", "utf-8") == r"x 猫 é \udce4"


def test_json_has_the_letters_of_a_name_read_in_another_locale():
    """As ``LC_ALL=C`` reads a name in UTF-8: byte by byte."""
    name = os.fsencode("läufe λ").decode("ascii", "surrogateescape")
    assert json.loads(json_text({"run": [name]})) == {"run": ["läufe λ"]}
    assert json.loads(json_text("\udce4 λ")) == r"\xe4 λ"


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


class Gone(io.StringIO):
    """A terminal that has been closed."""

    def write(self, text):
        raise OSError(errno.EIO, "Input/output error")


def test_what_could_not_be_written_is_told_at_the_end(monkeypatch, records, capsys):
    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["list", str(records)]) == 1
    expected = "error: the output is not whole: No space left on device\n"
    assert capsys.readouterr().err == expected
    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(["list", str(records)]) == 0
    monkeypatch.setattr(sys, "stdout", None)  # closed before the start
    assert main(["list", str(records)]) == 0


def test_a_run_whose_reader_and_terminal_go_away(monkeypatch, tmp_path, capsys):
    """``| head`` ends the printing alone; SIGHUP saves and ends; then it goes on."""
    append = RunDirectory.append

    def at_a_row(self, columns, row, *times):
        append(self, columns, row, *times)
        if row["step"] == 10:
            os.close(reader)
        if row["step"] == 20 and "parts" in self.path.name:
            os.kill(os.getpid(), signal.SIGHUP)

    options = ["train", "modular", *TINY, "--steps", "60", "--eval-every", "10"]
    monkeypatch.setattr(RunDirectory, "append", at_a_row)
    monkeypatch.setattr("experiments.screen.progress.SECONDS_BETWEEN_LINES", 0)
    ends = []
    for name in ("whole", "parts"):
        reader, writer = os.pipe()
        with monkeypatch.context() as patch, open(writer, "w", encoding="ascii") as out:
            patch.setattr(sys, "stdout", out)
            ends.append(main([*options, "--run-dir", str(tmp_path / name)]))
    assert ends == [0, 130]
    assert read(tmp_path / "whole")[0]["steps"] == 60
    summary = read(tmp_path / "parts")[0]
    assert (summary["status"], summary["steps"]) == ("interrupted", 30)
    assert (tmp_path / "parts" / "checkpoints" / "30").is_dir()
    monkeypatch.undo()
    assert main([*options, "--run-dir", str(tmp_path / "parts")]) == 0
    assert read(tmp_path / "parts")[1] == read(tmp_path / "whole")[1]
    assert capsys.readouterr().err == ""


def test_nohup_is_kept(monkeypatch, tmp_path):
    """The signal of a closed terminal stays ignored, as the user wants it."""
    from experiments.host.signals import ends_as_interrupts, stop_requests

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends_as_interrupts(), stop_requests() as is_requested:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not is_requested()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.thorough
def test_a_log_has_lines_and_no_control_codes(monkeypatch, tmp_path):
    """Output that is no screen, as ``nohup`` has it."""
    tiny = [*TINY, "--steps", "20", "--eval-every", "10"]
    for name, own in {"train": [], "sweep": ["--seeds", "2"]}.items():
        place = tmp_path / name
        options = ["modular", *tiny, *own, "--run-dir", place]
        code, out, err = output(monkeypatch, "utf-8", name, *options)
        assert (code, err) == (0, "")
        assert f"{20 * (1 + bool(own))} of {20 * (1 + bool(own))} steps" in out
        assert not re.search(r"[^\n\x20-\x7e\xa0-\uffff]", out)


def test_the_end_of_a_process_whose_reader_has_gone(records):
    """What is left in the buffers does not fail once more."""
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "experiments", "list", str(records)],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": ""},
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")
