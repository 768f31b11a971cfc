"""The command line: ``python -m experiments VERB …``.

Exit codes: 0 done, 1 stopped by an error of the system (such as a full disk),
2 unusable arguments, 3 the run diverged, 130 interrupted.
"""

import importlib
import sys

import click
import jax

from experiments.data.source import DataError
from experiments.host.signals import sigterm_as_interrupt
from experiments.records.run import RecordError
from experiments.records.status import Exit

_VERBS = {
    "train": "train:train",
    "sweep": "sweep:sweep",
    "list": "read:list_runs",
    "show": "read:show",
    "plot": "read:plot",
    "compare": "read:compare",
    "response": "filters:show_response",
    "spectrum": "filters:show_spectrum",
    "grok": "studies:grok",
    "parity": "studies:parity",
    "reproduce": "studies:reproduce",
}
"""Module and function of every verb; imported when it is called, or shown in help."""


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        del ctx
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Reading records, for example, waits for no model library."""
        del ctx
        if cmd_name not in _VERBS:
            return None
        module, function = _VERBS[cmd_name].split(":")
        return getattr(
            importlib.import_module(f"experiments.commands.{module}"), function
        )


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def cli() -> None:
    """Train the tasks on which grokking is studied, with and without Grokfast.

    Start with: train modular --filter ema --weight-decay 0.005
    """


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; errors become one line on stderr and an exit code."""
    try:
        arguments = sys.argv[1:] if arguments is None else arguments
        with sigterm_as_interrupt():
            code = cli.main(
                arguments, "python -m experiments", standalone_mode=False, obj=arguments
            )
        return code or Exit.DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return Exit.USAGE_ERROR
    except click.ClickException as error:
        message = " ".join(error.format_message().split())
        click.echo(f"error: {message}", err=True)
        return Exit.USAGE_ERROR
    except (DataError, RecordError) as error:
        click.echo(f"error: {error}", err=True)
        return Exit.USAGE_ERROR
    except (OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        message = str(error).splitlines()[0] if str(error) else "out of memory"
        click.echo(f"error: {message}", err=True)
        return Exit.SYSTEM_ERROR
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted: the same command, without --force, goes on.", err=True)
        return Exit.INTERRUPTED
