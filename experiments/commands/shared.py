"""Options that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from experiments.files import expanded
from experiments.pictures import FORMATS

Decorator = Callable[[Any], Any]

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, nothing else."
)
force_option = click.option(
    "--force", is_flag=True, help="Start over, removing the record that is there."
)
checkpoint_seconds_option = click.option(
    "--checkpoint-seconds",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Wall time between checkpoints, in seconds.",
)


def run_dir_option(default: str) -> Decorator:
    """Decorator: ``--run-dir``; ``default`` is what the help says of its default."""
    return click.option(
        "--run-dir",
        type=click.Path(path_type=Path, file_okay=False),
        callback=lambda ctx, param, path: path and expanded(path),
        help=f"Where to record. [default: {default}]",
    )


def picture_option(default: str) -> Decorator:
    """Decorator: ``--output``, a picture of one of three formats."""

    def check(ctx: click.Context, param: click.Parameter, path: Path) -> Path:
        del ctx, param
        if path.suffix not in FORMATS:
            raise click.UsageError(
                f"--output must end in {', '.join(FORMATS)}, got {path}."
            )
        return expanded(path)

    return click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path(default),
        show_default=True,
        callback=check,
        help=f"The picture, {', '.join(FORMATS)}.",
    )
