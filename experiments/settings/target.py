"""A value of a column at which a run may stop."""

import math
import re
from typing import NamedTuple

ACCURACY = "validation_accuracy"


class Target(NamedTuple):
    """``column ≥ value``, or ``≤`` where lower is better."""

    column: str
    value: float
    lower_is_better: bool = False

    def is_met(self, value: float) -> bool:
        """Whether a value of the column meets it; NaN does not."""
        return value <= self.value if self.lower_is_better else value >= self.value

    def text(self) -> float | str:
        """As :meth:`parse` reads it, always in the same way."""
        if self.column == ACCURACY and not self.lower_is_better:
            return self.value
        return f"{self.column}{'<=' if self.lower_is_better else '>='}{self.value!r}"

    def words(self) -> str:
        """As a person would say it.

        Example:
          >>> Target("validation_loss", 0.5, lower_is_better=True).words()
          'validation loss ≤ 0.5'
        """
        sign = "≤" if self.lower_is_better else "≥"
        return f"{self.column.replace('_', ' ')} {sign} {self.value:g}"

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Of ``0.99``, a validation accuracy, or ``COLUMN>=VALUE``, ``COLUMN<=VALUE``.

        Raises:
          ValueError: it is neither.

        Example:
          >>> Target.parse("validation_loss<=0.5")
          Target(column='validation_loss', value=0.5, lower_is_better=True)
        """
        match = re.fullmatch(r"(?:(\w+)\s*(>=|<=))?\s*(\S+)", text.strip())
        try:
            column, sign, value = match.groups()  # type: ignore[union-attr]
            target = cls(column or ACCURACY, float(value), sign == "<=")
        except (AttributeError, ValueError):
            raise ValueError(
                "stop_at must be an accuracy such as 0.99, or COLUMN>=VALUE or "
                f"COLUMN<=VALUE, got {text!r}."
            ) from None
        if not math.isfinite(target.value):
            raise ValueError(f"stop_at must be finite, got {text!r}.")
        if column is None and not 0 < target.value <= 1:
            raise ValueError(
                f"stop_at, an accuracy, must be > 0 and ≤ 1, got {target.value:g}."
            )
        return target
