"""The verb ``sample``: text from a run of a language model."""

from pathlib import Path
from typing import Any

import click

from experiments.commands.options import Maker, decorated, files_of
from experiments.commands.shared import json_option
from experiments.files import json_text
from experiments.records.run import RecordError, RunDirectory
from experiments.screen import console
from experiments.settings.files import Files
from experiments.studies.sampling import PromptError
from experiments.studies.sampling import sample as sample_from


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--prompt", default="\n", help="Text to go on with. [default: a new line]"
)
@click.option(
    "--tokens",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="How many to add: characters, unless the run has a tokenizer.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, min_open=True),
    default=0.8,
    show_default=True,
    help="That logits are divided by.",
)
@click.option(
    "--top-k",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Draw from so many tokens, the likeliest.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the draws.",
)
@decorated(Maker().group("Text of the run", Files))
@json_option
def sample(run: Path, prompt: str, as_json: bool, **values: Any) -> None:
    """Print text from the newest checkpoint of a RUN of the task gpt.

    \b
        python -m experiments train gpt --run-dir runs/gpt
        python -m experiments sample runs/gpt --prompt ROMEO: --seed 1
    """  # noqa: D301
    record, files = RunDirectory(run), files_of(values)
    if not record.is_run():
        raise RecordError(f"{run} holds no run: no config.json of one.")
    try:
        found = sample_from(record, prompt, files=files, **values)
    except PromptError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print(json_text({"run": str(run), **found._asdict()}))
    else:
        console.say(found.text)
