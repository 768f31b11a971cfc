"""Equations as pictures inside of the page: drawn while the site is built, by ziamath.

The page then needs no script, no font and no network for them. They are scalable, take
the colour of the text, and have their LaTeX as the text that a reader program speaks.
"""

import html
from typing import Any

import ziamath
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
ziamath.config.svg2 = False  # no names of shapes, which two pictures might share
SIZE = 16  # pixels of the body text


def svg(latex: str, *, inline: bool) -> str:
    """An equation as an ``<svg>`` element with a label."""
    drawing = ziamath.Latex(" ".join(latex.split()), size=SIZE, inline=inline)
    text = drawing.svg().replace(' fill="black"', "")  # the style sheet has the colour
    label = html.escape(" ".join(latex.split()))
    style = f"vertical-align: {drawing.getyofst():.2f}px" if inline else ""
    attributes = f'class="equation" role="img" aria-label="{label}" style="{style}"'
    return text.replace("<svg ", f"<svg {attributes} ", 1)


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Put an equation into the line."""
    translator.body.append(_drawn_or_told(node, inline=True))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """Put an equation into a row of its own, which scrolls where it is too wide."""
    picture = _drawn_or_told(node, inline=False)
    translator.body.append(f'<div class="equation-row" tabindex="0">{picture}</div>\n')
    raise nodes.SkipNode


def _drawn_or_told(node: nodes.Element, *, inline: bool) -> str:
    latex = node.astext()
    try:
        return svg(latex, inline=inline)
    except Exception as error:  # whatever the parser stumbles over is in the page
        logger.warning("cannot draw the equation %s: %r", latex, error, location=node)
        return ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("ziamath", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "ziamath"
    return {"parallel_read_safe": True, "parallel_write_safe": False}
