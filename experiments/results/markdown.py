"""Markdown tables, and their places between marks in a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown.

    Example:
      >>> print(table(("filter", "steps"), [("none", 3)]))
      | filter | steps |
      |---|---|
      | none | 3 |
    """
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (columns, *rows)]
    lines.insert(1, "|" + "---|" * len(columns))
    return "\n".join(lines)


def folded(title: str, text: str) -> str:
    """A text behind its title, to be opened by whoever wants it.

    Example:
      >>> print(folded("All runs", "none"))
      <details>
      <summary>All runs</summary>
      <BLANKLINE>
      none
      <BLANKLINE>
      </details>
    """
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def put(file: Path, name: str, text: str) -> None:
    """Put a text between the marks of that name; at the end if there are none."""
    whole = file.read_text(encoding="utf-8") if file.exists() else "# Results\n"
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    block = f"{begin}\n{text}\n{end}"
    if begin in whole:
        before, after = whole.split(begin)[0], whole.split(end)[1]
        whole = before + block + after
    else:
        whole += f"\n{block}\n"
    file.write_text(whole, encoding="utf-8")
