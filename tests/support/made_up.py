"""Records that nobody trained: rows of metrics as a test wants them."""

import numpy as np

from experiments.files import write_json
from experiments.records.run import RunDirectory
from experiments.records.sweep import SweepDirectory


def record(path, settings, curves, **summary):
    """A record with these columns of metrics, a row every ``eval_every`` steps.

    It has a summary if any of its contents are given.
    """
    run = RunDirectory(path)
    every = settings.budget.eval_every
    with run.lock():
        assert run.prepare(settings)
        columns = run.columns(["step", *curves])
        for index, values in enumerate(zip(*curves.values(), strict=True)):
            values = map(np.float32, values)
            row = dict(zip(curves, values, strict=True)) | {"step": every * index}
            run.append(columns, row, float(index))
    if summary:
        run.write_summary({"status": "completed", "steps": row["step"]} | summary)
    return run


def sweep(path, lanes):
    """A sweep of such records: settings and curves of every lane, or None."""
    directory = SweepDirectory(path)
    for index, (settings, curves) in enumerate(lanes):
        run = RunDirectory(directory.lanes_directory / str(index))
        if curves is None:
            run.path.mkdir(parents=True)
            run.prepare(settings)
        else:
            record(run.path, settings, curves, diverged_at_step=None)
    names = [str(index) for index in range(len(lanes))]
    write_json(directory.plan_file, {"command": "", "lanes": names})
    return directory
