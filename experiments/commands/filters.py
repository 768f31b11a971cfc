"""Verbs that show filters: response, of any settings; spectrum, of a run's gradient."""

import contextlib
import dataclasses
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from experiments.commands.options import (
    json_option,
    option_type,
    picture_option,
    warn_of_idle_options,
)
from experiments.files import write_whole
from experiments.records.run import RunDirectory
from experiments.results import response, spectrum
from experiments.screen import console
from experiments.settings.axes import Values
from experiments.settings.config import FilterOptions

_FIELDS = {field.name: field for field in dataclasses.fields(FilterOptions)}
_OWN = {"ema": ("alpha", "lamb"), "ma": ("window_size", "lamb", "filter_type")}


def _list_option(name: str, default: str | None, help: str) -> Any:
    kind = (
        click.Choice(("ema", "ma")) if name == "filter" else option_type(_FIELDS[name])
    )
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
    ctx: click.Context, output: Path, as_json: bool, normalize: bool, **lists: Any
) -> None:
    """Measure what filters do to each frequency of the gradient, and draw it.

    Options take several values, separated by commas; every combination is shown:

        python -m experiments response --filter ema,ma --alpha 0.9,0.98 --lamb 2

    Gains are those of the filtered gradient against the gradient, 1 + λH; the other
    figures those of the low-pass H alone.
    """
    warn_of_idle_options(ctx)
    lists["lamb"] = lists["lamb"] or (None,)
    chosen = []
    for name in lists["filter"]:
        for values in itertools.product(*(lists[own] for own in _OWN[name])):
            settings = dict(zip(_OWN[name], values, strict=True))
            chosen.append(_options(filter=name, normalize=normalize, **settings))
    responses = [_measured(options) for options in dict.fromkeys(chosen)]
    _save(response.figure_of(responses), output)
    if as_json:
        print(json.dumps({r.label: r.measures for r in responses}))
        return
    console.print_table(
        "Measured responses",
        ("", *(r.label for r in responses)),
        [
            [text, *(_text(r.measures[name]) for r in responses)]
            for name, text in response.MEASURES.items()
        ],
    )
    print(f"wrote {output}")


def _options(**settings: Any) -> FilterOptions:
    with _usage_errors():
        return FilterOptions(**settings)


def _measured(options: FilterOptions) -> response.Response:
    own = [name for name in _OWN[options.filter] if name != "lamb"]  # as slow for all λ
    shown = (f"--{name.replace('_', '-')} {getattr(options, name)}" for name in own)
    with _usage_errors(f"--filter {options.filter} {' '.join(shown)}: "):
        return response.measure(options)


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

    The run must have been trained with --gradient-projections. The table tells which
    share of the gradient's power is slow, below the −3 dB frequency of the run's
    low-pass (without filter: of the EMA with α 0.98), before and after the filter.
    Beside it, what the same estimate gives for white noise and for a constant: less
    than 100 % of the latter, where the shorter phase is too short to tell slow from
    less slow.
    """
    record = RunDirectory(run)
    options = spectrum.filter_of(record.config())
    with _usage_errors(f"the filter of {run}: "):
        cutoff = spectrum.cutoff_of(options)
    found = spectrum.phases(record, cutoff)
    references = spectrum.references(found[0].segment, cutoff)
    _save(spectrum.figure_of(found, cutoff, str(run)), output)
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
        print(json.dumps(shown | {"phases": rows}))
        return
    console.print_table(
        f"Share of the gradient's power below {cutoff:.3g} radians per update",
        ("phase", "from step", "to step", "before the filter", "after it"),
        [[_text(value) for value in row.values()] for row in rows]
        + [
            [name.replace("_", " "), "", "", _text(share), ""]
            for name, share in references.items()
        ],
    )
    print(f"estimated from segments of {found[0].segment} steps")
    print(f"wrote {output}")


def _save(figure: Figure, path: Path) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format=path.suffix[1:])
    write_whole(path, picture.getvalue())


def _text(value: Any) -> Any:
    return f"{value:.5g}" if isinstance(value, float) else value
