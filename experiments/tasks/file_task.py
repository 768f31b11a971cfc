"""Tasks whose data set is in files: the options that say where."""

import dataclasses
from pathlib import Path

from experiments.data.source import DATA_VARIABLE
from experiments.settings.config import option
from experiments.tasks.model_task import ModelTask


@dataclasses.dataclass(frozen=True)
class FileTask(ModelTask):
    """A task that reads files, and fetches them if that is wanted."""

    data_dir: Path | None = option(
        None,
        "Directory of the data sets. "
        f"[default: that of {DATA_VARIABLE}, else the user's cache]",
        kind="local",
    )
    download: bool = option(
        False, "Fetch missing files (needs tensorflow-datasets).", kind="local"
    )
