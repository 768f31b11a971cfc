"""Verbs that show filters: response, of any settings; spectrum, of a run's gradient."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from experiments.commands.options import option_type
from experiments.commands.shared import json_option, picture_option
from experiments.commands.values import Values
from experiments.files import json_text
from experiments.methods.named import FILTERS, chain_of, filters_of
from experiments.pictures import response as response_picture
from experiments.pictures import spectrum as spectrum_picture
from experiments.pictures.save import save
from experiments.records.run import RunDirectory
from experiments.results import response, spectrum
from experiments.screen import console
from experiments.settings.method import Filter

_FIELDS = {f.name: f for cls in FILTERS.values() for f in cls.fields()}
_LISTED = ("alpha", "window_size", "filter_type", "lamb")


def _list_option(name: str, default: str | None, help: str) -> Any:
    kind = click.Choice(tuple(FILTERS))
    if name != "filter":
        kind = option_type(_FIELDS[name])
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        type=Values(kind, ranges=False),
        default=default,
        show_default=default is not None,
        help=help,
    )


@click.command("response")
@_list_option("filter", "ema", "Filters: ema, ma, or both.")
@_list_option("alpha", "0.98", "EMA: decay rates per step.")
@_list_option("window_size", "100", "MA: windows in steps.")
@_list_option("filter_type", "mean", "MA: mean or plain sum over the window.")
@_list_option("lamb", None, "Gains λ. [default: 2 for ema, 5 for ma]")
@click.option("--normalize", is_flag=True, help="Divide by the gain at DC, 1 + λ.")
@picture_option("responses.png")
@json_option
@click.pass_context
def show_response(
    ctx: click.Context, /, output: Path, as_json: bool, normalize: bool, **lists: Any
) -> None:
    """Measure what filters do to each frequency of the gradient, and draw it.

    Options take several values, separated by commas; every combination is shown:

        python -m experiments response --filter ema,ma --alpha 0.9,0.98 --lamb 2

    Gains are those of the filtered gradient against the gradient, 1 + λH; the other
    figures those of the low-pass H alone.
    """
    _tell_idle(ctx, lists["filter"])
    chosen = [f for name in lists["filter"] for f in _filters(name, lists, normalize)]
    responses = [_measured(filter) for filter in dict.fromkeys(chosen)]
    save(response_picture.figure_of(responses), output)
    if as_json:
        print(json_text({r.label: r.measures for r in responses}))
        return
    console.print_table(
        "Measured responses",
        ("", *(r.label for r in responses)),
        [
            [text, *(r.measures[name] for r in responses)]
            for name, text in response.MEASURES.items()
        ],
    )
    print(f"wrote {console.place(output)}")


def _tell_idle(ctx: click.Context, names: tuple[str, ...]) -> None:
    own = {field.name for name in names for field in FILTERS[name].fields()}
    for name in _LISTED:
        source = ctx.get_parameter_source(name)
        if source == click.core.ParameterSource.COMMANDLINE and name not in own:
            flag = name.replace("_", "-")
            chosen = ",".join(names)
            click.echo(f"note: --{flag} has no effect with --filter {chosen}", err=True)


def _filters(name: str, lists: dict[str, Any], normalize: bool) -> Iterator[Filter]:
    """A kind of filter with every combination of its options' values."""
    own = {field.name for field in FILTERS[name].fields()}
    listed = {n: lists[n] for n in _LISTED if n in own and lists[n] is not None}
    for values in itertools.product(*listed.values()):
        settings = dict(zip(listed, values, strict=True)) | {"normalize": normalize}
        with _usage_errors():
            yield from chain_of("filter", name, settings, {})


def _measured(filter: Filter) -> response.Response:
    shown = {n: v for n, v in filter.in_effect().items() if n in _LISTED[:-1]}
    flags = (f"--{n.replace('_', '-')} {value}" for n, value in shown.items())
    with _usage_errors(f"--filter {filter.name} {' '.join(flags)}: "):
        return response.measure(filter)


@contextlib.contextmanager
def _usage_errors(prefix: str = "") -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise click.UsageError(f"{prefix}{error}") from None


@click.command("spectrum")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@picture_option("spectrum.png")
@json_option
def show_spectrum(run: Path, output: Path, as_json: bool) -> None:
    """Power spectrum of a RUN's gradient, memorising and generalising.

    Of a run that never generalised, the second phase is all that came after fitting.
    The run must have been trained with --gradient-projections. The table tells which
    share of the gradient's power is slow, below the −3 dB frequency of the run's
    low-pass (without filter: of the EMA with α 0.98), before and after the filter.
    Beside it, what the same estimate gives for white noise and for a constant: less
    than 100 % of the latter, where the shorter phase is too short to tell slow from
    less slow.
    """
    record = RunDirectory(run)
    filters = filters_of(record.config())
    with _usage_errors(f"the filter of {run}: "):
        cutoff = spectrum.cutoff_of(filters)
    found = spectrum.phases(record, cutoff)
    references = spectrum.references(found[0].segment, cutoff)
    save(spectrum_picture.figure_of(found, cutoff, str(run)), output)
    rows = [
        {
            "phase": phase.name,
            "start": phase.start,
            "end": phase.end,
            "slow_share_before": phase.slow_share(cutoff)[0],
            "slow_share_after": phase.slow_share(cutoff)[1],
        }
        for phase in found
    ]
    if as_json:
        shown = {"cutoff": cutoff, "segment": found[0].segment}
        shown |= {f"slow_share_of_{name}": share for name, share in references.items()}
        print(json_text(shown | {"phases": rows}))
        return
    console.print_table(
        f"Share of the gradient's power below {cutoff:.3g} radians per update",
        ("phase", "from step", "to step", "before the filter", "after it"),
        [list(row.values()) for row in rows]
        + [
            [name.replace("_", " "), "", "", share, ""]
            for name, share in references.items()
        ],
    )
    print(f"estimated from segments of {found[0].segment} steps")
    print(f"wrote {console.place(output)}")
