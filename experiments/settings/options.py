"""Groups of options: frozen dataclasses that check their values, and are pytrees.

A field is an :func:`option`, which sets shapes or code: runs that differ in one are
compiled apart. Or it is :func:`traced`, a number that enters the compiled program as an
argument: runs that differ in such fields alone share one compilation, and may be lanes
of one program. The traced fields are the leaves of the group as a pytree; under
``jit`` they are tracers, and all else is known.
"""

import dataclasses
import math
import operator
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

LARGEST_COUNTER = 2**31 - 1

T = TypeVar("T")


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    needs: tuple[Callable[[Any], bool], str] | None = None,
) -> Any:
    """A static field.

    Args:
      default: its default.
      help: what it is, for the command line.
      minimum: smallest value; ``above`` for the strict inequality.
      above: see ``minimum``.
      maximum: largest value; ``below`` for the strict inequality.
      below: see ``maximum``.
      choices: the only values, if there are any.
      needs: a function of the group that tells whether the option has an effect beside
        the others, and in words when it has not. Without effect it is its default.
    """
    metadata = {
        "help": help,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
        "below": below,
        "choices": choices,
        "needs": needs,
        "traced": False,
    }
    return dataclasses.field(default=default, metadata=metadata)


def traced(default: float, help: str, **bounds: float) -> Any:
    """A number that compiled programs take as an argument; bounds as of an option."""
    field = option(default, help, **bounds)  # type: ignore[arg-type]
    metadata = {**field.metadata, "traced": True}
    return dataclasses.field(default=default, metadata=metadata)


@typing.dataclass_transform(frozen_default=True)
def options(cls: type[T]) -> type[T]:
    """Decorator: a frozen dataclass whose traced fields are its leaves as a pytree."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    return jax.tree_util.register_dataclass(
        cls,
        data_fields=[f.name for f in fields if f.metadata["traced"]],
        meta_fields=[f.name for f in fields if not f.metadata["traced"]],
    )


class Options:
    """Base of all groups of options.

    Raises:
      TypeError: a value of another type than its field's.
      ValueError: a value out of its range.
    """

    def __post_init__(self) -> None:
        for field in self.fields():
            value = checked(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        for field in self.fields():
            if not self.matters(field):
                object.__setattr__(self, field.name, field.default)

    @classmethod
    def fields(cls) -> tuple[dataclasses.Field, ...]:
        """The fields, in order."""
        return dataclasses.fields(cls)  # type: ignore[arg-type]

    def matters(self, field: dataclasses.Field) -> bool:
        """Whether a field has an effect beside the others."""
        needs = field.metadata["needs"]
        return needs is None or needs[0](self)

    def in_effect(self) -> dict[str, Any]:
        """Names and values of the fields that have an effect."""
        return {f.name: getattr(self, f.name) for f in self.fields() if self.matters(f)}


def python_types(field: dataclasses.Field) -> tuple[type, ...]:
    """The types of a field's values; None's type is the last one, if it is one."""
    if isinstance(field.type, types.UnionType):
        return typing.get_args(field.type)
    return (field.type,)  # type: ignore[return-value]


def checked(field: dataclasses.Field, value: Any) -> Any:
    """A field's value in its type: an integer is a float too, NumPy's are Python's.

    What JAX puts into a pytree of options (tracers, arrays, placeholders) passes.

    Raises:
      TypeError: another type.
      ValueError: out of its range.
    """
    kinds = python_types(field)
    if isinstance(value, np.generic):
        value = value.item()
    refused = (bool, int, float, str, list, tuple, dict)
    if field.metadata["traced"] and not isinstance(value, refused):
        return value
    if type(value) is int and float in kinds:
        value = float(value)
    if isinstance(value, str) and Path in kinds:
        value = Path(value)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        words = " or ".join(_WORDS[kind] for kind in kinds)
        raise TypeError(f"{field.name} must be {words}, got {value!r}.")
    if value is not None and (problem := _out_of_range(field, value)):
        raise ValueError(f"{field.name} {problem}, got {value!r}.")
    return value


_WORDS = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "a string",
    Path: "a path",
    types.NoneType: "None",
}


def _out_of_range(field: dataclasses.Field, value: Any) -> str:
    meta = field.metadata
    if meta["choices"]:
        if value not in meta["choices"]:
            return f"must be one of {', '.join(meta['choices'])}"
        return ""
    if isinstance(value, (bool, str, Path)):
        return ""
    if isinstance(value, float):
        value = _in_float32(value)
        if not math.isfinite(value):
            return "must be finite (in float32)"
    for name, (holds, sign) in _BOUNDS.items():
        bound = meta[name]
        if bound is not None and not holds(value, bound):
            return f"must be {sign} {bound:g}"
    return ""


_BOUNDS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "minimum": (operator.ge, "≥"),
    "above": (operator.gt, ">"),
    "maximum": (operator.le, "≤"),
    "below": (operator.lt, "<"),
}


def _in_float32(value: float) -> float:
    """The value that the compiled program will see."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))
