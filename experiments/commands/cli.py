"""The command line: ``python -m experiments VERB …``.

Exit codes: 0 done, 1 stopped by an error of the system (such as a full disk),
2 unusable arguments, 3 the run diverged, 130 interrupted.
"""

import importlib
import os
import sys

import click
import jax

from experiments.data.source import DataError
from experiments.host.signals import ends_as_interrupts
from experiments.records.run import RecordError
from experiments.records.status import Exit
from experiments.screen.outlet import outlets

_VERBS = {
    "train": "train:train",
    "sweep": "sweep:sweep",
    "list": "read:list_runs",
    "show": "read:show",
    "plot": "read:plot",
    "compare": "read:compare",
    "report": "report:report",
    "sample": "sample:sample",
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
    """Run the command line; errors become one line on stderr and an exit code.

    What cannot be shown changes nothing, nor does a reader who has seen enough. What
    cannot be written, to a full disk for example, is an error once all else is done.
    """
    with outlets() as output_error:
        code = _exit_code(sys.argv[1:] if arguments is None else arguments)
        if (error := output_error()) and code == Exit.DONE:
            _tell(f"the output is not whole: {error.strerror}")
            code = Exit.SYSTEM_ERROR
        return code


def _exit_code(arguments: list[str]) -> int:
    try:
        with ends_as_interrupts():
            code = cli.main(
                arguments, "python -m experiments", standalone_mode=False, obj=arguments
            )
        return code or Exit.DONE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return Exit.USAGE_ERROR
    except click.ClickException as error:
        _tell(" ".join(error.format_message().split()))
        return Exit.USAGE_ERROR
    except (DataError, RecordError) as error:
        _tell(str(error))
        return Exit.USAGE_ERROR
    except (OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        _tell(str(error).splitlines()[0] if str(error) else "out of memory")
        return Exit.SYSTEM_ERROR
    except (click.Abort, KeyboardInterrupt) as error:  # Click's is made of Python's
        notes = getattr(error.__cause__ or error, "__notes__", [])
        click.echo(": ".join(["Interrupted", *notes]), err=True)
        return Exit.INTERRUPTED
    except (RuntimeError, AssertionError):
        if (problem := _no_device()) is None:
            raise
        click.echo(f"error: {problem}", err=True)
        return Exit.SYSTEM_ERROR


def _no_device() -> str | None:
    """Why JAX has no device, if it has none: it says so wherever one is first used."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        why = (str(error).splitlines() or ["none of that kind is known here"])[0]
        platforms = os.environ.get("JAX_PLATFORMS") or "any platform"
        return f"JAX has no device of {platforms} (JAX_PLATFORMS): {why}"
    return None


def _tell(message: str) -> None:
    click.echo(f"error: {message}", err=True)
