"""Command-line options made from the groups of settings and the tables of methods."""

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from experiments.commands.grouped import GroupedOption
from experiments.commands.shared import Decorator
from experiments.commands.values import MethodText, NearestChoice, NumberOrText
from experiments.methods.named import (
    FILTERS,
    MEASURES_TABLE,
    OPTIMIZERS,
    every_setting,
    idle,
)
from experiments.settings.config import Budget, Settings, Training
from experiments.settings.files import Files
from experiments.settings.flat import MEASURES, NO_FILTER, OPTIMIZER, default_of
from experiments.settings.method import Method, ScheduledOptimizer
from experiments.settings.options import Options, python_types
from experiments.settings.presets import PRESETS
from experiments.settings.task import Task


class Maker:
    """Makes options of fields.

    Args:
      task: whose runs they are for.
      of: makes another type of each option's own, a list of values for example.
    """

    def __init__(
        self, task: type[Task] | None = None, of: Callable[[Any], Any] | None = None
    ):
        self.defaults: Mapping[str, Any] = task.defaults if task else {}
        self._task, self._of = task, of

    def group(self, heading: str, group: type[Options]) -> list[Decorator]:
        """An option for every field of a group."""
        return [
            self._option(
                heading,
                field,
                field.metadata["help"],
                self.defaults.get(field.name, field.default),
            )
            for field in group.fields()
        ]

    def methods(
        self, heading: str, table: Mapping[str, type[Method]]
    ) -> list[Decorator]:
        """An option for every field of any of the methods: one where names agree."""
        owners: dict[str, list[type[Method]]] = {}
        for cls in table.values():
            for field in cls.fields():
                owners.setdefault(field.name, []).append(cls)
        made = []
        for name, classes in owners.items():
            fields = [next(f for f in c.fields() if f.name == name) for c in classes]
            help = _help_of(classes, fields, is_common=len(classes) == len(table))
            defaults = {c.name: self._default(c, name) for c in classes}
            if "[default" not in help:
                help += f" [default: {_defaults_in_words(defaults)}]"
            made.append(self._option(heading, fields[0], help, None))
        return made

    def text(
        self, heading: str, kind: str, default: str | None, help: str
    ) -> Decorator:
        """An option for methods by their names."""
        return self._of_type(heading, kind, MethodText(kind), help, default)

    def _default(self, cls: type[Method], name: str) -> Any:
        if self._task is None:
            return next(f.default for f in cls.fields() if f.name == name)
        return default_of(self._task, cls, name, cls.name)

    def _option(
        self, heading: str, field: dataclasses.Field, help: str, default: Any
    ) -> Decorator:
        return self._of_type(heading, field.name, option_type(field), help, default)

    def _of_type(
        self, heading: str, name: str, kind: Any, help: str, default: Any
    ) -> Decorator:
        flag = name.replace("_", "-")
        if self._of is not None:
            kind = self._of(kind)
        decorator = click.option(
            f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}",
            name,
            cls=GroupedOption,
            type=None if kind is bool else kind,
            default=default,
            show_default=default is not None,
            help=help,
        )

        def decorate(function: Any) -> Any:
            function = decorator(function)
            function.__click_params__[-1].heading = heading
            return function

        return decorate


def _help_of(
    classes: Sequence[type[Method]], fields: Sequence[Any], *, is_common: bool
) -> str:
    """Help of an option of several methods: each text with those that it is of."""
    owners: dict[str, list[str]] = {}
    for cls, field in zip(classes, fields, strict=True):
        owners.setdefault(field.metadata["help"], []).append(cls.name)
    if is_common and len(owners) == 1:
        return next(iter(owners))
    return " ".join(f"{', '.join(names)}: {help}" for help, names in owners.items())


def _defaults_in_words(defaults: Mapping[str, Any]) -> str:
    """``2 for ema, 5 for ma``, or what all have."""
    if len(set(defaults.values())) == 1:
        return _shown(next(iter(defaults.values())))
    by_value: dict[Any, list[str]] = {}
    for name, value in defaults.items():
        by_value.setdefault(value, []).append(name)
    return ", ".join(f"{_shown(v)} for {'/'.join(n)}" for v, n in by_value.items())


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def method_options(make: Maker) -> list[Decorator]:
    """Options of the filter and the optimizer."""
    return [
        make.text(
            "Filter",
            "filter",
            NO_FILTER,
            f"Gradient filter: {NO_FILTER}, {_in_words(FILTERS)} With values of its "
            "own: ema:alpha=0.9:lamb=1; several in a chain: ema+ma.",
        ),
        *make.methods("Filter", FILTERS),
        make.text(
            "Optimizer",
            "optimizer",
            make.defaults.get("optimizer", OPTIMIZER),
            _in_words(OPTIMIZERS),
        ),
        *make.methods("Optimizer", OPTIMIZERS),
    ]


def _in_words(table: Mapping[str, type[Any]]) -> str:
    lines = {n: (cls.__doc__ or "").splitlines()[0] for n, cls in table.items()}
    return (
        "; ".join(f"{name}: {line.rstrip('.')}" for name, line in lines.items()) + "."
    )


def task_options(task: type[Task], of: Callable[[Any], Any] | None = None) -> Decorator:
    """Decorator: an option for every setting of a task's runs, and ``--preset``.

    ``of`` makes another type of each option's own, a list of values for example.
    """
    make = Maker(task, of)
    made = [
        *make.group("Task", task),
        *(Maker().group("Task", Files) if task.reads_files else []),
        *method_options(make),
        *make.group("Training", Training),
        *make.group("Training", Budget),
        make.text(
            "Training",
            "measures",
            MEASURES,
            f"What to measure at evaluations: {_in_words(MEASURES_TABLE)} Less often: "
            "weight_norm:every=10.",
        ),
        _preset_option(task.name),
    ]
    return decorated(made)


def decorated(made: Sequence[Decorator]) -> Decorator:
    """One decorator of several, in their order."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(made):
            function = decorator(function)
        return function

    return decorate


def _preset_option(task_name: str) -> Decorator:
    """Decorator: ``--preset``, whose settings any other option overrides."""
    presets = PRESETS.get(task_name, {})

    def apply(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
        del param
        if name is not None:
            ctx.default_map = presets[name]() | dict(ctx.default_map or {})

    return click.option(
        "--preset",
        type=NearestChoice(tuple(presets)),
        is_eager=True,
        expose_value=False,
        callback=apply,
        help="Start from the settings of a published run (below); any other option "
        "overrides them.",
    )


def build(task: type[Task], rows: Iterable[Mapping[str, Any]]) -> list[Settings]:
    """Settings from the values of all options, of one run or several."""
    try:
        return every_setting(task, rows)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None


def files_of(values: dict[str, Any]) -> Files:
    """Where the data are; taken out of the values of all options."""
    names = [field.name for field in Files.fields() if field.name in values]
    return Files(**{name: values.pop(name) for name in names})


def tell_idle(ctx: click.Context, settings: Sequence[Settings]) -> None:
    """Say on stderr which options of the command line have no effect."""
    given = click.core.ParameterSource.COMMANDLINE
    known = {name for each in settings for name in _names(each)}
    values = {
        name: value
        for name, value in ctx.params.items()
        if name in known and ctx.get_parameter_source(name) == given
    }
    for message in [*idle(values, settings), *_cut_off(settings)]:
        click.echo(f"note: {message}", err=True)


def _cut_off(settings: Sequence[Settings]) -> list[str]:
    """What is said of a learning rate that has not fallen to its end."""
    for each in settings:
        optimizer, steps = each.config.optimizer, each.budget.steps
        if not isinstance(optimizer, ScheduledOptimizer):
            continue
        ends = optimizer.warmup_steps + optimizer.schedule_steps
        published = each.config.task.defaults  # CIFAR's end before their schedule
        chosen = (optimizer.warmup_steps, optimizer.schedule_steps, steps) != tuple(
            published.get(name) for name in ("warmup_steps", "schedule_steps", "steps")
        )
        if optimizer.schedule != "constant" and ends > steps and chosen:
            return [
                f"the learning rate's schedule ends at step {ends:,}, the run at "
                f"{steps:,}: --schedule-steps"
            ]
    return []


def _names(settings: Settings) -> set[str]:
    groups: list[Any] = [*FILTERS.values(), *OPTIMIZERS.values()]
    groups.append(settings.config.task)
    return {field.name for group in groups for field in group.fields()}


def option_type(field: dataclasses.Field) -> Any:
    """Click's type of a field's values, with their range."""
    meta = field.metadata
    kinds = [kind for kind in python_types(field) if kind is not types.NoneType]
    if meta["choices"]:
        return NearestChoice(meta["choices"])
    if len(kinds) > 1:
        return NumberOrText()
    if kinds in ([bool], [str]):
        return kinds[0]
    if kinds == [Path]:
        return click.Path(path_type=Path)  # what it must be is the data's to say
    low = meta["above"] if meta["above"] is not None else meta["minimum"]
    high = meta["below"] if meta["below"] is not None else meta["maximum"]
    range_type = click.IntRange if kinds == [int] else click.FloatRange
    return range_type(
        min=low,
        max=high,
        min_open=meta["above"] is not None,
        max_open=meta["below"] is not None,
    )
