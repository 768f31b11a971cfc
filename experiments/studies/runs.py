"""Train runs and sweeps with all that a person sees of it: progress, then pictures."""

import contextlib
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.host import limits, loop
from experiments.host.data import DataSets
from experiments.host.groups import Lane, lanes_of, program_key
from experiments.host.loop import SaveEvery
from experiments.host.sweep import How, default_way, train_sweep
from experiments.methods.named import did_you_mean, every_setting
from experiments.pictures.curves import plot_curves
from experiments.records.checkpoint import has_checkpoint
from experiments.records.provenance import tree_sha256
from experiments.records.run import RunDirectory
from experiments.records.status import UNFINISHED
from experiments.records.sweep import SweepDirectory
from experiments.screen.progress import progress, sweep_progress
from experiments.settings.axes import combinations, options_of
from experiments.settings.config import Settings
from experiments.settings.files import Files
from experiments.settings.presets import PRESETS
from experiments.tasks import TASKS

GOES_ON = "the same command, without --force, goes on."


class Interrupted(Exception):
    """A study was interrupted; the same command goes on."""


@contextlib.contextmanager
def telling_if_it_goes_on(record: Path) -> Iterator[None]:
    """An interrupt within has a note, if there is a checkpoint to go on from."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if has_checkpoint(record):
            interrupt.add_note(GOES_ON)
        raise


def train_run(
    settings: Settings,
    run: RunDirectory,
    *,
    files: Files = Files(),
    label: str = "",
    force: bool = False,
    silent: bool = False,
    save_every: SaveEvery = SaveEvery(),
    arguments: Sequence[str] = (),
) -> bool:
    """Train a run, if it is not finished, and draw its curves.

    Args:
      settings: of the run.
      run: where to record it.
      files: where its data are.
      label: before the progress; by default the task.
      force: start over.
      silent: show nothing.
      save_every: time or steps between checkpoints.
      arguments: of the command line, for the summary.

    Returns:
      Whether there was anything to train.

    Raises:
      DataError: the data cannot be had; nothing has been recorded.
      RecordError: the run cannot go on, or its state does not fit into the memory.
      OSError: its checkpoints do not fit on the disk, before anything is recorded; or
        the record cannot be written.
    """
    if run.is_finished(settings) and not force:
        with run.lock():
            return run.prepare(settings)  # the settings are compared
    task = settings.config.task
    limits.check_place(run.path)
    data = task.load(files)
    limits.check_memory(settings.config, data)
    limits.check_target(settings, data)
    size = limits.state_bytes(settings.config, data)
    limits.check_disk(run.path, size.total + size.notes, [run.checkpoints])
    with run.lock(), telling_if_it_goes_on(run.path):
        if not run.prepare(settings, tree_sha256(data), force=force):
            return False
        steps = settings.budget.steps
        with progress(label or task.name, steps, silent=silent) as on_evaluation:
            loop.train(
                settings,
                run,
                data,
                on_evaluation=on_evaluation,
                save_every=save_every,
                arguments=arguments,
            )
        plot_curves(run)
    return True


def train_lanes(
    place: Path,
    settings: Sequence[Settings],
    *,
    files: Files = Files(),
    way: str | None = None,
    at_once: int | None = None,
    force: bool = False,
    silent: bool = False,
    save_every: SaveEvery = SaveEvery(),
    arguments: Sequence[str] = (),
) -> list[Lane]:
    """Train what is not finished of a sweep; its lanes, in the order of the settings.

    Args as for :func:`train_run` and :func:`experiments.host.sweep.train_sweep`.
    """
    data = DataSets(files)
    for each in {program_key(each): each for each in settings}.values():
        limits.check_memory(each.config, data.of(each.config.task))
        limits.check_target(each, data.of(each.config.task))
    lanes = lanes_of(place, settings)
    budgets = {lane.run.path.name: lane.settings.budget.steps for lane in lanes}
    with telling_if_it_goes_on(place), sweep_progress(budgets, silent=silent) as tell:
        train_sweep(
            SweepDirectory(place),
            lanes,
            How(tell, data, save_every, arguments),
            way=default_way() if way in (None, "auto") else way,
            command=shlex.join(["python", "-m", "experiments", *arguments]),
            at_once=at_once,
            force=force,
        )
    return lanes


def train_study(place: Path, settings: Sequence[Settings]) -> list[Lane]:
    """The lanes of a study. A run that diverged is a result too.

    Raises:
      Interrupted: called again, it goes on.
    """
    lanes = train_lanes(place, settings, arguments=("reproduce",))
    if any(lane.run.status() in UNFINISHED for lane in lanes):
        raise Interrupted
    return lanes


def read_options(path: Path, task: str | None = None) -> dict[str, Any]:
    """A sweep's file: names of options and their values, those of a preset first.

    Args:
      path: the file.
      task: whose presets, if the file does not say.

    Raises:
      ValueError: it cannot be read, or has another task or preset than there are.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    values = {name.replace("-", "_"): value for name, value in values.items()}
    task, preset = values.get("task", task), values.pop("preset", None)
    if preset is None:
        return values
    presets = PRESETS.get(str(task), {})
    if preset not in presets:
        guess = did_you_mean(str(preset), presets)
        raise ValueError(f"{path}: the task {task!r} has no preset {preset!r}.{guess}")
    return presets[preset]() | values


def read_sweep(path: Path) -> list[Settings]:
    """The runs of a committed file, which ``sweep --file`` trains too."""
    values = read_options(path)
    task, seeds = TASKS[values.pop("task")], values.pop("seeds", None)
    zipped = values.pop("zip", False)
    rows = combinations(options_of(values, seeds), zipped=zipped)
    return every_setting(task, rows)
