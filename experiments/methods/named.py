"""Settings from their names: the tables of methods and measures, and what reads them.

A method may be given with values of its own, ``ema:alpha=0.9:lamb=2``; methods joined
by ``+`` are a chain, the first one first. What is not said there has the value that was
given for the option by itself, else the task's default, else the method's.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from experiments.methods.adam import Adam, AdamW
from experiments.methods.batches import BatchQuotient, RandomBatch
from experiments.methods.ema import Ema
from experiments.methods.linesearch import AdamSls, Alsals, Salsa, Sls
from experiments.methods.lion import Lion
from experiments.methods.ma import Ma
from experiments.methods.measures import FilterEffect, StepSize, WeightNorm
from experiments.methods.muon import Muon
from experiments.methods.sgd import Sgd
from experiments.methods.sign_sgd import SignSgd
from experiments.settings.axes import Range
from experiments.settings.config import Budget, Config, Settings, Training
from experiments.settings.flat import MEASURES, NO_FILTER, OPTIMIZER, values_of
from experiments.settings.measure import Measure
from experiments.settings.method import Filter, Optimizer
from experiments.settings.options import Options, checked, python_types
from experiments.settings.task import Task

FILTERS: dict[str, type[Filter]] = {cls.name: cls for cls in (Ema, Ma)}
OPTIMIZERS: dict[str, type[Optimizer]] = {
    cls.name: cls
    for cls in (Adam, AdamW, Sgd, Lion, SignSgd, Muon, Sls, AdamSls, Alsals, Salsa)
}
MEASURES_TABLE: dict[str, type[Measure]] = {
    cls.name: cls
    for cls in (WeightNorm, FilterEffect, StepSize, BatchQuotient, RandomBatch)
}

M = TypeVar("M", bound=Options)


def settings_of(task: Task, **values: Any) -> Settings:
    """Settings by their names; what is not named has the task's own default.

    Args:
      task: the learning problem.
      **values: of options of the filter, the optimizer, the training and the budget,
        ``filter``, ``optimizer`` and ``measures`` as texts.

    Raises:
      TypeError: no option of that name, or a value of another type.
      ValueError: a value out of its range, or a method that there is not.

    Example:
      >>> from experiments.tasks.modular import ModularTask
      >>> settings = settings_of(ModularTask(), filter="ema:alpha=0.9", steps=100)
      >>> settings.config.filters[0].label()
      'EMA α = 0.9, λ = 2'
    """
    unknown = values.keys() - option_names()
    if unknown:
        name = sorted(unknown)[0]
        raise TypeError(
            f"no option of the name {name!r}.{did_you_mean(name, option_names())}"
        )
    defaults = task.defaults
    given = {name: value for name, value in values.items() if value is not None}
    plain = defaults | given
    filters = plain.get("filter", NO_FILTER)
    for name, value in given.items():
        _check_idle(name, value)
    config = Config(
        task,
        () if filters == NO_FILTER else chain_of("filter", filters, given, defaults),
        chain_of("optimizer", plain.get("optimizer", OPTIMIZER), given, defaults)[0],
        _group(Training, plain),
        _measures(plain.get("measures", MEASURES)),
    )
    return Settings(config, _group(Budget, plain))


def _check_idle(name: str, value: Any) -> None:
    """Check a value of a method's option, whether or not that method is chosen."""
    for cls in (*FILTERS.values(), *OPTIMIZERS.values()):
        for field in cls.fields():
            if field.name == name:
                checked(field, value)
                return


def _measures(text: str) -> tuple[Measure, ...]:
    chosen = () if text == NO_FILTER else chain_of("measures", text, {}, {})
    names = [measure.name for measure in chosen]
    if len(set(names)) < len(names):
        raise ValueError(f"measures must be different ones, got {text!r}.")
    return chosen


TABLES: dict[str, Mapping[str, type[Any]]] = {
    "filter": FILTERS,
    "optimizer": OPTIMIZERS,
    "measures": MEASURES_TABLE,
}
"""What may stand behind these options."""


def chain_of(
    kind: str,
    text: str,
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> tuple[Any, ...]:
    """The methods of a text such as ``ema:alpha=0.9+ma``.

    Args:
      kind: a key of :data:`TABLES`.
      text: the methods.
      given: values of options by themselves.
      defaults: the task's.

    Raises:
      ValueError: there is no such method, or several optimizers.
      TypeError: a method has no such option, or it takes other values.
    """
    if not isinstance(text, str):
        raise TypeError(f"{kind} must be a string, got {text!r}.")
    texts = re.split(r"(?<!\de)\+", text, flags=re.IGNORECASE)  # not that of 1e+16
    links = [_one(kind, link.strip(), given, defaults) for link in texts]
    if kind == "optimizer" and len(links) > 1:
        raise ValueError(f"optimizer must be one method, got {text!r}.")
    return tuple(links)


def _one(
    kind: str, text: str, given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Any:
    name, *pairs = (part.strip() for part in text.split(":"))
    table: Mapping[str, type[Any]] = TABLES[kind]
    if name == NO_FILTER and kind != "optimizer":
        raise ValueError(f"{kind} {NO_FILTER} stands alone, without + and values.")
    if name not in table:
        known = ", ".join(([NO_FILTER] if kind == "filter" else []) + list(table))
        raise ValueError(
            f"{kind} must be one of {known}, got {name!r}.{did_you_mean(name, table)}"
        )
    cls = table[name]
    types = {field.name: python_types(field) for field in cls.fields()}
    own = {}
    for pair in pairs:
        option, equals, value = pair.partition("=")
        option = option.strip().replace("-", "_")
        if option in types and (not equals or option in own):
            raise TypeError(
                f"{name}:{option} must be given as {option}=VALUE, once, got {text!r}."
            )
        if option not in types:
            raise TypeError(
                f"{name} has no option {option!r}: {name}:OPTION=VALUE with one of "
                f"{', '.join(types)}.{did_you_mean(option, types)}"
            )
        own[option] = _value(f"{name}:{option}", value.strip(), types[option])
    values = {}
    for option in types:
        for source, key in (
            (own, option),
            (given, option),
            (defaults, f"{name}.{option}"),
            (defaults, option),
        ):
            if key in source:
                values[option] = source[key]
                break
    return cls(**values)


def _value(name: str, text: str, types: tuple[type, ...]) -> Any:
    """A value of one of the types from its text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words and type(words[text.lower()]) in types:
        return words[text.lower()]
    for kind in (int, float, Path, str):
        if kind in types:
            try:
                return kind(text)
            except ValueError:
                continue
    raise TypeError(f"{name} cannot be {text!r}.")


def _group(cls: type[M], values: Mapping[str, Any]) -> M:
    names = [field.name for field in cls.fields()]
    return cls(**{name: values[name] for name in names if name in values})


def option_names() -> set[str]:
    """Names of all options but the tasks'."""
    groups: list[type[Options]] = [Training, Budget, *FILTERS.values()]
    groups += OPTIMIZERS.values()
    return {f.name for group in groups for f in group.fields()} | TABLES.keys()


def idle(given: Mapping[str, Any], settings: Sequence[Settings]) -> list[str]:
    """Which of the given options have no effect in any of the settings, and why.

    Args:
      given: their values by name; of a sweep tuples or ranges.
      settings: what became of them.

    Returns:
      Texts such as ``--alpha has no effect with --filter none``.
    """
    effective: dict[str, set[Any]] = {}
    for each in settings:
        methods = (*each.config.filters, each.config.optimizer)
        for values in (values_of(each), *(m.in_effect() for m in methods)):
            for name, value in values.items():
                effective.setdefault(name, set()).add(value)
    texts = []
    for name, values in given.items():
        flag = f"--{name.replace('_', '-')} has no effect"
        if name not in effective:
            texts.append(f"{flag} {_why(name, settings)}")
        elif not any(_is_of(value, values) for value in effective[name]):
            texts.append(f"{flag}: the methods have values of their own")
    return texts


def _is_of(value: Any, given: Any) -> bool:
    """Whether a value is the one that was given, or one of those."""
    if isinstance(given, Range):
        return given.low <= value <= given.high
    if isinstance(given, (tuple, list)):
        return value in given
    return bool(value == given)


def _why(name: str, settings: Sequence[Settings]) -> str:
    for each in settings:
        config = each.config
        for group in (config.task, *config.filters, config.optimizer):
            for field in group.fields():
                if field.name == name:
                    return field.metadata["needs"][1]
    kind = "filter" if any(_has(cls, name) for cls in FILTERS.values()) else "optimizer"
    chosen = dict.fromkeys(values_of(each)[kind] for each in settings)
    return f"with --{kind} {','.join(chosen)}"


def _has(cls: type[Options], name: str) -> bool:
    return any(field.name == name for field in cls.fields())


def filters_of(record: Mapping[str, Any]) -> tuple[Filter, ...]:
    """The filters among a run's recorded settings."""
    text = record["filter"]
    return () if text == NO_FILTER else chain_of("filter", text, record, {})


def in_effect(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run's recorded settings without those that have no effect.

    Records until November 2026 have the options of all methods.
    """
    idle = set()
    for kind, table in (("filter", FILTERS), ("optimizer", OPTIMIZERS)):
        chosen = table.get(record[kind])
        own = {field.name for field in chosen.fields()} if chosen else set()
        every = {field.name for cls in table.values() for field in cls.fields()}
        idle |= every - own
    if record.get("clip_norm") is None:
        idle.add("clip_position")
    return {name: value for name, value in record.items() if name not in idle}


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """`` Did you mean …?`` for an unknown name, or nothing if none is near."""
    nearest = difflib.get_close_matches(value, list(known), n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def every_setting(
    task: type[Task], rows: Iterable[Mapping[str, Any]]
) -> list[Settings]:
    """Settings for each of some combinations of values, in order, equal ones once.

    What has no effect makes no difference: without filter all values of α are one run.

    Raises:
      TypeError, ValueError: as :func:`settings_of`.
    """
    own = {field.name for field in task.fields()}
    found = []
    for row in rows:
        of_task = task(**{name: value for name, value in row.items() if name in own})
        others = {name: value for name, value in row.items() if name not in own}
        found.append(settings_of(of_task, **others))
    return list(dict.fromkeys(found))
