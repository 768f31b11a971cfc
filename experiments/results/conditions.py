"""Which runs are asked for: ``KEY=VALUE``, and comparisons."""

import math
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

_CONDITION = re.compile(r"\s*([\w. ]*\w)\s*(<=|>=|!=|==?|<|>)\s*(.*?)\s*")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
NOTHING = "none"


class Condition(NamedTuple):
    """What a value is to be: one of some, none of some, or on one side of a number."""

    name: str
    sign: str
    text: str

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Of ``NAME=VALUE``, ``NAME=VALUE,VALUE``, ``NAME!=VALUE`` or ``NAME<NUMBER``.

        Raises:
          ValueError: it is none of them.

        Example:
          >>> Condition.parse("lamb >= 2")
          Condition(name='lamb', sign='>=', text='2')
        """
        if (match := _CONDITION.fullmatch(text)) is None or not match[3]:
            raise ValueError(
                f"{text!r} must be KEY=VALUE, KEY!=VALUE, KEY<NUMBER, KEY<=NUMBER, "
                "KEY>NUMBER or KEY>=NUMBER, such as 'lamb=2' or 'steps>=1000'."
            )
        name, sign, value = match.groups()
        if sign in _SIGNS and _number(value) is None:
            raise ValueError(f"{text!r}: {sign} needs a number, got {value!r}.")
        return cls(name, sign.replace("==", "="), value)

    def holds(self, value: Any) -> bool:
        """Whether a value meets it; what is not there, None, has no place in order.

        Example:
          >>> [Condition.parse("lamb=1,2").holds(lamb) for lamb in (2.0, 3.0, None)]
          [True, False, False]
          >>> Condition.parse("clip_norm=none").holds(None)
          True
        """
        if self.sign in _SIGNS:
            is_number = isinstance(value, (int, float))
            return is_number and _SIGNS[self.sign](value, float(self.text))
        is_one = any(_is_same(value, text) for text in self.text.split(","))
        return is_one == (self.sign == "=")


def _is_same(value: Any, text: str) -> bool:
    text = text.strip()
    if value is None:
        return text.lower() == NOTHING
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value == _number(text)
    return str(value).lower() == text.lower()


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
