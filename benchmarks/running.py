"""Run the ordinary command line in this process, and take the record."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from experiments.cli import main
from experiments.recorder import DIVERGED
from experiments.records import RunDirectory


def train(arguments: Sequence[str], directory: Path) -> RunDirectory:
    """``train ARGUMENTS`` into that directory; at once if the run is finished there.

    A run that diverged is a result too.

    Raises:
      SystemExit: the run could not be made, or was interrupted.
    """
    command = ["train", *arguments, "--run-dir", str(directory)]
    print("python -m experiments", *command, flush=True)
    with contextlib.redirect_stdout(io.StringIO()):
        code = main([*command, "--json"])
    run = RunDirectory(directory)
    if code and not (run.summary_file.exists() and run.summary()["status"] == DIVERGED):
        raise SystemExit(code)
    return run
