"""How numbers are shown: one form for tables, labels and pictures."""

from typing import Any

NOTHING = "–"
"""What is shown where there is no value."""


def short(value: Any) -> str:
    """A value in few characters.

    Example:
      >>> short(0.00123456), short(12345.6), short(12), short(None)
      ('0.001235', '12,346', '12', '–')
    """
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.4g}"
    return str(value)
