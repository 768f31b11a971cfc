"""A report's contents to HTML: one file that asks no network for anything."""

import base64
import hashlib
import html
import string
from collections.abc import Mapping
from importlib import resources
from typing import Any

from experiments.files import json_text
from experiments.records.run import RecordError

_SCRIPTS = (
    "text.js",
    "choices.js",
    "fold.js",
    "search.js",
    "filters.js",
    "looks.js",
    "tip.js",
    "records.js",
    "keys.js",
    "curves.js",
    "zoom.js",
    "milestones.js",
    "map.js",
    "table.js",
    "age.js",
    "page.js",
)
"""In this order: each knows those before it."""


def plotly_js() -> str:
    """Plotly's script, as its package has it.

    Raises:
      RecordError: Plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise RecordError(
            "the report needs Plotly: pip install -e '.[report]' in the clone, or "
            "pip install plotly."
        ) from None
    return get_plotlyjs()


def page(contents: Mapping[str, Any], title: str, plotly: str) -> str:
    """The page: template, style, data and scripts in one.

    Names of runs are data, within JSON in which no ``<`` is left. The browser is told
    to run these scripts alone, by their hashes, and to fetch nothing.

    Args:
      contents: what the page shows, as its scripts read it.
      title: of the page; any text.
      plotly: Plotly's script.
    """
    script = "".join(_file(name) for name in _SCRIPTS)
    policy = (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        f"script-src {_hash_of(plotly)} {_hash_of(script)}"
    )
    return string.Template(_file("page.html")).substitute(
        policy=policy,
        title=html.escape(title),
        style=_file("report.css"),
        data=json_text(contents).replace("<", "\\u003c"),
        plotly=plotly,
        script=script,
    )


def _hash_of(script: str) -> str:
    """As the policy names it; the template has a line's end before and after."""
    digest = hashlib.sha256(f"\n{script}\n".encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
