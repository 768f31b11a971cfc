"""What a sweep leaves behind: which runs are its lanes, their table, its pictures."""

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from experiments.files import read_json, write_json, write_whole
from experiments.records.run import RecordError, RunDirectory


class SweepDirectory:
    """The files of a sweep.

    ``sweep.json`` tells which lanes belong to it; ``lanes/`` holds a run directory for
    each; ``lanes.parquet`` is the table; the pictures are ``curves.png``,
    ``survival.png`` and ``heat_map.png``.

    Args:
      path: the directory; need not exist.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.plan_file = self.path / "sweep.json"
        self.lanes_directory = self.path / "lanes"
        self.table_file = self.path / "lanes.parquet"

    def write_plan(self, lanes: Sequence[RunDirectory], command: str) -> None:
        """Write which lanes belong to the sweep; its lock must be held."""
        self.path.mkdir(parents=True, exist_ok=True)
        names = [run.path.name for run in lanes]
        write_json(self.plan_file, {"command": command, "lanes": names})

    def lanes(self) -> list[RunDirectory]:
        """The lanes' run directories, as far as they are there yet.

        Raises:
          RecordError: this is no sweep, or none of its lanes is there.
        """
        if not self.plan_file.exists():
            raise RecordError(f"{self.path} holds no sweep: no sweep.json.")
        names = read_json(self.plan_file)["lanes"]
        lanes = [RunDirectory(self.lanes_directory / name) for name in names]
        lanes = [lane for lane in lanes if lane.config_file.exists()]
        if not lanes:
            raise RecordError(f"{self.path} has no lane yet.")
        return lanes

    def write_table(self, frame: pl.DataFrame) -> None:
        """Write ``lanes.parquet``."""
        contents = io.BytesIO()
        frame.write_parquet(contents)
        write_whole(self.table_file, contents.getvalue())
