"""Command-line options made from the configuration's dataclasses, and back."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from experiments.settings.config import (
    Config,
    FilterOptions,
    OptimizerOptions,
    TrainingOptions,
)
from experiments.settings.presets import PRESETS

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


def run_dir_option(default: str) -> Callable[[Any], Any]:
    """Decorator: ``--run-dir``; ``default`` is what the help says of its default."""
    return click.option(
        "--run-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help=f"Where to record. [default: {default}]",
    )


def picture_option(default: str) -> Callable[[Any], Any]:
    """Decorator: ``--output``, a picture of one of three formats."""

    def check(ctx: click.Context, param: click.Parameter, path: Path) -> Path:
        del ctx, param
        if path.suffix not in (".png", ".pdf", ".svg"):
            raise click.UsageError(
                f"--output must end in .png, .pdf or .svg, got {path}."
            )
        return path

    return click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        default=Path(default),
        show_default=True,
        callback=check,
        help="The picture, .png, .pdf or .svg.",
    )


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """`` Did you mean …?`` for an unknown name, or nothing if none is near."""
    nearest = difflib.get_close_matches(value, list(known), n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


class NearestChoice(click.Choice):
    """A choice that suggests the nearest name for an unknown one."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Click's message and the suggestion."""
        message = super().get_invalid_choice_message(value, ctx)
        return message + did_you_mean(str(value), self.choices)


class GroupedOption(click.Option):
    """An option that knows under which heading ``--help`` shows it."""

    heading = "Options"


class GroupedCommand(click.Command):
    """A command whose ``--help`` shows options under their headings."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write one section per heading, in the order of the options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                heading = getattr(param, "heading", "Options")
                sections.setdefault(heading, []).append(record)
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)
        if presets := PRESETS.get(self.name or "", {}):
            with formatter.section("Presets"):
                formatter.write_dl([(n, p.__doc__ or "") for n, p in presets.items()])


def add_options(
    *groups: tuple[str, type],
    defaults: Mapping[str, Any] = types.MappingProxyType({}),
    of: Callable[[Any], Any] | None = None,
) -> Callable[[Any], Any]:
    """Decorator: an option for every field of the dataclasses, under a heading each.

    ``defaults`` replaces those of the fields that it names; ``of`` makes another type
    of each option's own, a list of values for example.
    """

    def decorate(function: Any) -> Any:
        for heading, group in reversed(groups):
            for field in reversed(dataclasses.fields(group)):
                default = defaults.get(field.name, field.default)
                function = _option(heading, field, default, of)(function)
        return function

    return decorate


def task_options(
    task: type, of: Callable[[Any], Any] | None = None
) -> Callable[[Any], Any]:
    """Decorator: an option for every setting of a task's runs, and ``--preset``.

    ``of`` as for :func:`add_options`.
    """

    def decorate(function: Any) -> Any:
        return add_options(
            ("Task", task),
            ("Filter", FilterOptions),
            ("Optimizer", OptimizerOptions),
            ("Training", TrainingOptions),
            defaults=task.defaults,
            of=of,
        )(_preset_option(task.name)(function))

    return decorate


def _preset_option(task_name: str) -> Callable[[Any], Any]:
    """Decorator: ``--preset``, whose settings any other option overrides."""
    presets = PRESETS.get(task_name, {})

    def apply(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
        del param
        if name is not None:
            ctx.default_map = presets[name]() | (ctx.default_map or {})

    return click.option(
        "--preset",
        type=NearestChoice(tuple(presets)),
        is_eager=True,
        expose_value=False,
        callback=apply,
        help="Start from the settings of a published run (below); any other option "
        "overrides them.",
    )


def build_config(task: type, values: dict[str, Any]) -> Config:
    """The configuration from the values of all options."""
    names = [field.name for field in dataclasses.fields(task)]
    try:
        own = task(**{name: values.pop(name) for name in names})
        return Config.of(own, **values)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


WITHOUT_EFFECT = {
    "alpha": ("filter", ("ema",)),
    "filter_init": ("filter", ("ema",)),
    "window_size": ("filter", ("ma",)),
    "filter_type": ("filter", ("ma",)),
    "filter_warmup": ("filter", ("ma",)),
    "lamb": ("filter", ("ema", "ma")),
    "start_step": ("filter", ("ema", "ma")),
    "normalize": ("filter", ("ema", "ma")),
    "beta1": ("optimizer", ("adam", "adamw")),
    "beta2": ("optimizer", ("adam", "adamw")),
    "epsilon": ("optimizer", ("adam", "adamw")),
    "momentum": ("optimizer", ("sgd",)),
    "nesterov": ("optimizer", ("sgd",)),
}
"""Options that matter with some values of another option alone."""


def idle_options(ctx: click.Context) -> list[str]:
    """Options given on the command line that the others leave without effect."""
    chosen = {}
    for name in ("filter", "optimizer"):
        value = ctx.params.get(name)
        chosen[name] = value if isinstance(value, tuple) else (value,)
    given = click.core.ParameterSource.COMMANDLINE
    return [
        f"--{name.replace('_', '-')} has no effect with --{key} {','.join(chosen[key])}"
        for name, (key, values) in WITHOUT_EFFECT.items()
        if ctx.get_parameter_source(name) == given
        and not set(chosen[key]) & set(values)
    ] + (
        ["--clip-position has no effect without --clip-norm"]
        if ctx.get_parameter_source("clip_position") == given
        and ctx.params["clip_norm"] is None
        else []
    )


def warn_of_idle_options(ctx: click.Context) -> None:
    """Say on stderr which options have no effect."""
    for message in idle_options(ctx):
        click.echo(f"note: {message}", err=True)


def _option(
    heading: str,
    field: dataclasses.Field,
    default: Any,
    of: Callable[[Any], Any] | None,
) -> Callable[[Any], Any]:
    name = field.name.replace("_", "-")
    kind = option_type(field)
    if of is not None and field.metadata["kind"] != "local":
        kind = of(kind)
    decorator = click.option(
        f"--{name}/--no-{name}" if kind is bool else f"--{name}",
        field.name,
        cls=GroupedOption,
        type=None if kind is bool else kind,
        default=default,
        show_default=default is not None,
        help=field.metadata["help"],
    )

    def decorate(function: Any) -> Any:
        function = decorator(function)
        function.__click_params__[-1].heading = heading
        return function

    return decorate


def option_type(field: dataclasses.Field) -> Any:
    """Click's type of a field's values, with their range."""
    meta, python_type = field.metadata, field.type
    if isinstance(python_type, types.UnionType):  # X | None
        python_type = typing.get_args(python_type)[0]
    if meta["choices"]:
        return NearestChoice(meta["choices"])
    if python_type is bool:
        return bool
    if python_type is Path:
        return click.Path(path_type=Path, file_okay=False)
    low = meta["above"] if meta["above"] is not None else meta["minimum"]
    high = meta["below"] if meta["below"] is not None else meta["maximum"]
    range_type = click.IntRange if python_type is int else click.FloatRange
    return range_type(
        min=low,
        max=high,
        min_open=meta["above"] is not None,
        max_open=meta["below"] is not None,
    )
