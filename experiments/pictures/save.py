"""Figures to files: whole or not at all, in the format that the name says."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from experiments.files import write_whole


def save(figure: Figure, path: Path) -> None:
    """Write a figure; its format is that of the path's suffix."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format=path.suffix[1:])
    write_whole(path, picture.getvalue())
