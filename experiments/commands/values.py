"""Types of options: names, methods, numbers; and lists of them, as sweeps take."""

from typing import Any

import click

from experiments.methods.named import chain_of, did_you_mean
from experiments.settings.axes import Range
from experiments.settings.flat import NO_FILTER


class NearestChoice(click.Choice):
    """A choice that suggests the nearest name for an unknown one."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Click's message and the suggestion."""
        message = super().get_invalid_choice_message(value, ctx)
        return message + did_you_mean(str(value), self.choices)


class MethodText(click.ParamType):
    """Methods such as ``ema:alpha=0.9+ma``; see :mod:`experiments.methods.named`."""

    def __init__(self, kind: str):
        self.kind, self.name = kind, kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The text, if it can be read."""
        if value != NO_FILTER or self.kind == "optimizer":
            try:
                chain_of(self.kind, value, {}, {})
            except (TypeError, ValueError) as error:
                self.fail(str(error), param, ctx)
        return value


class NumberOrText(click.ParamType):
    """A number if it is one."""

    name = "number|text"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        """The value."""
        try:
            return float(value)
        except ValueError:
            return str(value)


class Values(click.ParamType):
    """Values of one kind, separated by commas, or a range ``LOW:HIGH[:log]``.

    Args:
      kind: Click's type of a value.
      ranges: whether a range will do.
    """

    def __init__(self, kind: Any, *, ranges: bool = True):
        self.kind, self.ranges = click.types.convert_type(kind), ranges
        self.name = f"{self.kind.name},…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """A tuple, each part as the kind converts it, or a :class:`Range`."""
        if isinstance(value, (tuple, Range)) or value is None:
            return value
        if isinstance(value, list):  # of a file
            return tuple(self.kind.convert(each, param, ctx) for each in value)
        if not isinstance(value, str):  # a default, or of a preset
            return (value,)
        is_number = isinstance(
            self.kind, (click.types.FloatParamType, click.types.IntParamType)
        )
        if self.ranges and is_number and ":" in value:
            return self._range(value, param, ctx)
        parts = value.split(",")
        if "" in parts:
            self.fail(f"{value!r} has an empty place between its commas.", param, ctx)
        return tuple(self.kind.convert(part, param, ctx) for part in parts)

    def _range(self, value: str, param: Any, ctx: Any) -> Range:
        low, high, *kind = value.split(":")
        if kind not in ([], ["log"]):
            self.fail(f"{value!r} is not LOW:HIGH or LOW:HIGH:log.", param, ctx)
        low, high = (self.kind.convert(end, param, ctx) for end in (low, high))
        whole = isinstance(self.kind, click.types.IntParamType)
        try:
            return Range(low, high, log=bool(kind), whole=whole)
        except ValueError as error:
            self.fail(str(error), param, ctx)
