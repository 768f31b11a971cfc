"""Where a task's files are on this machine; no part of what a run is."""

from pathlib import Path

from experiments.settings.options import Options, option, options

DATA_VARIABLE = "GROKFAST_DATA"
"""Environment variable that names the data directory."""


@options
class Files(Options):
    """Where the files of a data set are, and whether to fetch those that are not."""

    data_dir: Path | None = option(
        None,
        "Directory of the data sets. "
        f"[default: that of {DATA_VARIABLE}, else the user's cache]",
    )
    download: bool = option(False, "Fetch missing files (needs tensorflow-datasets).")
