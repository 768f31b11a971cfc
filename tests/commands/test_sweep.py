"""The verb ``sweep``: files of options, axes of whole methods, its table."""

from pathlib import Path

import pytest

from experiments.commands.cli import main
from experiments.studies import reproduction
from experiments.studies.runs import read_sweep
from tests.support.command_line import TINY, error_of, json_of, notes_of

STUDIES = Path(reproduction.__file__).parent
TUNING = sorted((STUDIES / "linesearch").glob("*-tuning.toml"))
FILES = {
    "mnist.toml": (
        20,
        "mnist --filter none,ema:alpha=0.8:lamb=0.1 --weight-decay 0.01,2 --seeds 5",
    ),
    "qm9.toml": (
        40,
        "qm9 --filter none,ema:alpha=0.9:lamb=1 --weight-decay 0,0.01 --seeds 10 "
        "--measures weight_norm+filter_effect+batch_quotient",
    ),
    "imdb.toml": (
        8,
        "imdb --filter none,ema:alpha=0.98:lamb=2 --weight-decay 1,10 --steps 2000 "
        "--seeds 2 --measures weight_norm+filter_effect+batch",
    ),
    "sst2.toml": (9, "glue --learning-rate 2e-5,5e-5,1e-4 --seeds 3"),
    "mrpc.toml": (
        9,
        "glue --preset glue-mrpc --learning-rate 2e-5,5e-5,1e-4 --seeds 3",
    ),
    "mnist-tuning.toml": (
        3 * 5 * 3,
        "mnist --learning-rate 3e-4,1e-3,3e-3 --weight-decay 0.5,1,2,4,8 "
        "--steps 3000 --eval-every 100 --seeds 3",
    ),
    "mul97-tuning.toml": (
        3 * 4 * 3,
        "modular --optimizer adamw --learning-rate 1e-3,3e-3,1e-2 "
        "--weight-decay 0.1,0.3,1,3 --steps 1500 --eval-every 20 --stop-at 0.99 "
        "--seeds 3",
    ),
}
"""The committed sweeps: number of lanes, and the same command spelled out."""


def plan(capsys, *arguments):
    return json_of(capsys, "sweep", *arguments, "--dry-run")


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Write a file of options; the runs that it makes would be recorded beside it."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        path = tmp_path / "options.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_every_committed_file_is_checked():
    assert {path.name for path in STUDIES.glob("*.toml")} == FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_committed_files_are_the_commands_that_they_say(name, capsys):
    lanes, command = FILES[name]
    found = plan(capsys, "--file", STUDIES / name)
    assert found["lanes"] == len(found["settings"]) == lanes
    # The name of a sweep is a function of all settings of all its lanes.
    assert found == plan(capsys, *command.split())
    first = (STUDIES / name).read_text(encoding="utf-8").splitlines()[1]
    assert first == f"# python -m experiments sweep --file experiments/studies/{name}"


def test_options_override_the_file(file, capsys):
    path = file(
        'task = "modular"\nfilter = ["none", "ema"]\nalpha = 0.5\nprime = 11\n'
        'seeds = 3\npreset = "mul97-ma"\neval_every = 50\n'
    )
    whole = plan(capsys, "--file", path)
    spelled = ["--filter", "none,ema", "--alpha", "0.5", "--prime", "11"]
    spelled += ["--preset", "mul97-ma", "--eval-every", "50"]
    assert whole == plan(capsys, "modular", *spelled, "--seeds", "3")
    assert whole["lanes"] == 6
    # Options of the command line go before the file, and the file before its preset.
    more = ["--seeds", "1", "--alpha", "0.9,0.8", "--eval-every", "10"]
    changed = plan(capsys, "--file", path, *more)
    spelled = [*spelled[:2], "--prime", "11", "--preset", "mul97-ma", *more]
    assert changed == plan(capsys, "modular", *spelled)
    assert [row["alpha"] for row in changed["settings"]] == [None, 0.9, 0.8]
    # With the task's name too.
    assert plan(capsys, "modular", "--file", path) == whole


@pytest.mark.parametrize("path", TUNING, ids=[path.stem for path in TUNING])
def test_learning_rates_have_as_many_tries(path):
    rates = {}
    for settings in read_sweep(path):
        optimizer = settings.config.optimizer
        kind = optimizer.name, optimizer.schedule
        rates.setdefault(kind, set()).add(optimizer.learning_rate)
    kinds = [("adamw", "constant"), ("adamw", "cosine"), ("sgd", "cosine")]
    assert list(rates) == kinds
    assert [len(tries) for tries in rates.values()] == [4, 4, 4]


def test_a_file_may_pair_its_lists(tmp_path, capsys):
    path = tmp_path / "options.toml"
    path.write_text(
        'task = "modular"\nfilter = ["ema", "ma"]\nlamb = [1.0, 2.0]\nzip = true\n',
        encoding="utf-8",
    )
    rows = plan(capsys, "--file", str(path))["settings"]
    assert [(row["filter"], row["lamb"]) for row in rows] == [("ema", 1), ("ma", 2)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('task = "modular"\nalfa = 0.9', ["no option 'alfa'", "options.toml"]),
        ('task = "modular"\nalpha = 2.0', ["alpha must be < 1, got 2.0"]),
        ('task = "modular"\nalpha = [0.9, "x"]', ["'--alpha'", "'x'"]),
        ('task = "modular"\nprime = [12]', ["prime must be a prime number, got 12"]),
        ('task = "modular"\nfilter = "emma"', ["'emma'", "Did you mean 'ema'?"]),
        ('task = "modular"\nseeds = "many"', ["'--seeds'", "'many'"]),
        ('task = "modular"\npreset = "mul97-em"', ["'mul97-em'", "'mul97-ema'"]),
        ('task = "modular"\nalpha = {a = 1}', ["alpha"]),
        ('task = "modlar"', ["'modlar'", "'modular'"]),
        ('task = "modular"\nalpha = ', ["options.toml", "line 2"]),
        ('task = "modular"\nsteps = [1, 2]', ["--steps takes one value"]),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line(file, text, words, capsys):
    path = file(f'{text}\nfilter = "ema"' if "filter" not in text else text)
    line = error_of(capsys, "sweep", "--file", path, "--dry-run")
    for word in words:
        assert word in line


def test_a_file_may_begin_with_a_byte_order_mark(file, capsys):
    """As editors on Windows write it."""
    path = file('\ufefftask = "modular"\nseeds = 2')
    assert plan(capsys, "--file", path)["lanes"] == 2


def test_a_file_of_another_task_or_of_none(file, capsys):
    path = file("seeds = 2")
    assert plan(capsys, "modular", "--file", path)["lanes"] == 2
    path = file('task = "modular"')
    assert "another task" in error_of(capsys, "sweep", "mnist", "--file", path)
    missing = path.with_name("missing.toml")
    assert "missing.toml" in error_of(capsys, "sweep", "--file", missing)
    assert "missing.toml" in error_of(capsys, "sweep", "modular", "--file", missing)


METHODS = "none,ema:alpha=0.9:lamb=1,ema+ma"


def test_an_axis_of_whole_methods(capsys):
    found = plan(capsys, "modular", *TINY, "--filter", METHODS)
    assert (found["lanes"], found["programs"]) == (3, 3)
    assert [row["filter"] for row in found["settings"]] == ["none", "ema", "ema+ma"]
    # A value of a method's own goes before the option; another method has the option.
    found = plan(capsys, "modular", "--filter", METHODS, "--lamb", "7")
    assert found["settings"][2]["filter"] == "ema:lamb=7.0+ma:lamb=7.0"
    spelled = METHODS.replace("ema+ma", "ema:lamb=7+ma:lamb=7")
    assert found == plan(capsys, "modular", "--filter", spelled)
    # Values of their own are an axis like any other: the same lanes, the same name.
    own = plan(capsys, "modular", "--filter", "ema:alpha=0.9,ema:alpha=0.5")
    assert own == plan(capsys, "modular", "--filter", "ema", "--alpha", "0.9,0.5")
    # What is the same twice is one lane.
    twice = plan(capsys, "modular", "--filter", "ema,ema:alpha=0.98")
    assert twice["lanes"] == 1
    found = plan(capsys, "modular", "--optimizer", "adam,lion:beta1=0.8,muon")
    assert [row["optimizer"] for row in found["settings"]] == ["adam", "lion", "muon"]


@pytest.mark.parametrize("verb", ["train", "sweep"])
@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("filter", "ema:alfa=1", ["'alfa'", "alpha, lamb", "Did you mean 'alpha'?"]),
        ("filter", "emma", ["none, ema, ma", "'emma'", "Did you mean 'ema'?"]),
        ("filter", "ema:alpha=2", ["alpha must be < 1", "2.0"]),
        ("filter", "ema:lamb=-1", ["lamb must be ≥ 0", "-1.0"]),
        ("filter", "ema:lamb=nan", ["lamb must be finite", "nan"]),
        ("filter", "ema:alpha=x", ["ema:alpha", "'x'"]),
        ("filter", "ema:window_size=3", ["'window_size'", "alpha, lamb"]),
        ("filter", "ma:window_size=2.5", ["ma:window_size", "'2.5'"]),
        ("filter", "ma:window_size=0", ["window_size must be ≥ 1", "0"]),
        ("filter", "ema+", ["none, ema, ma"]),
        ("filter", "ema+none", ["filter none stands alone"]),
        ("optimizer", "lyon", ["adam, adamw", "'lyon'", "Did you mean 'lion'?"]),
        ("optimizer", "lion:beta3=1", ["'beta3'", "Did you mean 'beta2'?"]),
        ("optimizer", "adam+sgd", ["one method", "'adam+sgd'"]),
        ("measures", "weight_norm:evry=2", ["'evry'", "Did you mean 'every'?"]),
        ("measures", "weight_norm:every=0", ["every must be ≥ 1", "0"]),
    ],
)
def test_methods_that_cannot_be(verb, option, text, words, capsys):
    line = error_of(capsys, verb, "modular", f"--{option}", text, "--dry-run")
    for word in [f"'--{option}'", *words]:
        assert word in line


def test_one_of_several_methods_cannot_be(capsys):
    line = error_of(capsys, "sweep", "modular", "--filter", "none,ema:alpha=2,ma")
    assert "alpha must be < 1" in line
    line = error_of(capsys, "sweep", "modular", "--filter", "none,,ma")
    assert "empty place" in line


IDLE = [
    (["--alpha", "0.9"], "--alpha has no effect with --filter none"),
    (["--clip-position", "after"], "--clip-position has no effect without --clip-norm"),
    (["--momentum", "0.5"], "--momentum has no effect with --optimizer adam"),
    (
        ["--prime", "11", "--operation", "s5"],
        "--prime has no effect with --operation s5",
    ),
    (
        ["--filter", "ma", "--alpha", "0.9"],
        "--alpha has no effect with --filter ma",
    ),
    (
        ["--schedule-steps", "9"],
        "--schedule-steps has no effect with --schedule constant",
    ),
]


@pytest.mark.thorough
@pytest.mark.parametrize("verb", ["train", "sweep"])
@pytest.mark.parametrize(("options", "words"), IDLE)
def test_options_without_effect_are_told(verb, options, words, capsys):
    found = notes_of(capsys, verb, "modular", *options, "--dry-run")
    assert found == [f"note: {words}"]


def test_an_effect_in_one_lane_is_an_effect(capsys):
    for options in (
        ["--filter", "none,ema", "--alpha", "0.9"],
        ["--filter", "none,ema+ma", "--alpha", "0.9"],
        ["--operation", "add,s5", "--prime", "11"],
        ["--clip-norm", "1", "--clip-position", "after"],
        ["--optimizer", "adam,sgd", "--momentum", "0.5"],
    ):
        assert notes_of(capsys, "sweep", "modular", *options, "--dry-run") == []
    options = ["--filter", "none,ma", "--alpha", "0.9"]
    (note,) = notes_of(capsys, "sweep", "modular", *options, "--dry-run")
    assert note == "note: --alpha has no effect with --filter none,ma"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A sweep over whole methods."""
    path = tmp_path_factory.mktemp("sweep")
    options = ["--filter", METHODS, "--steps", "4", "--eval-every", "2"]
    assert main(["sweep", "modular", *TINY, *options, "--run-dir", str(path)]) == 0
    return path


@pytest.mark.thorough
def test_the_table_tells_whole_methods_apart(trained, capsys):
    found = json_of(capsys, "show", trained)
    assert {row["filter"] for row in found["settings"]} == {"none", "ema", "ema+ma"}
    assert all(row["lanes"] == 1 for row in found["settings"])
    assert main(["show", str(trained)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split()[0] for line in lines if line.split()[1:2] == ["1"]]
    assert sorted(rows) == ["ema", "ema+ma", "none"]
    for picture in ("curves.png", "survival.png"):
        assert (trained / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.thorough
def test_json_of_a_sweep(trained, capsys):
    """Step 0 has no measure of the filter yet: NaN, which JSON has not."""
    again = ["sweep", "modular", *TINY, "--filter", METHODS, "--steps", "4"]
    again += ["--eval-every", "2", "--run-dir", trained]
    found = json_of(capsys, *again)
    assert found["lanes"] == 3
    assert json_of(capsys, "show", trained) == found
    assert len(json_of(capsys, "list", trained)) == 3


def diverging(path, rates):
    options = ["--optimizer", "sgd", "--learning-rate", rates, "--warmup-steps", "0"]
    options += ["--steps", "8", "--eval-every", "1", "--run-dir", path]
    return ["sweep", "modular", *TINY, *options]


def test_json_of_lanes_that_diverged(capsys, tmp_path):
    found = json_of(capsys, *diverging(tmp_path, "1e30,0.001"))
    assert found["status"] == {"diverged": 1, "completed": 1}
    rows = {row["learning_rate"]: row for row in found["settings"]}
    assert rows[1e30]["final"] is None
    assert rows[0.001]["final"] > 0
    assert json_of(capsys, "show", tmp_path) == found
    (lost,) = [r for r in json_of(capsys, "list", tmp_path) if r["state"] == "diverged"]
    assert lost["final"]["train_loss"] is None


def test_all_lanes_diverged(capsys, tmp_path):
    found = json_of(capsys, *diverging(tmp_path, "1e30,1e31"))
    assert found["status"] == {"diverged": 2}
    assert [row["final"] for row in found["settings"]] == [None, None]
