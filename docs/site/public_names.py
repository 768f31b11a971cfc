"""No public name of the library without its page and its docstring."""

import inspect

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import grokfast_jax
from grokfast_jax import linesearch

logger = logging.getLogger(__name__)
TABLE = "docs/site/reference/index.rst"
PLACE = "reference/generated/grokfast_jax."
PUBLIC = {name: getattr(grokfast_jax, name) for name in grokfast_jax.__all__}
PUBLIC |= {f"linesearch.{n}": getattr(linesearch, n) for n in linesearch.__all__}


def check(app: Sphinx, environment: BuildEnvironment) -> None:
    """Warn of names without a page, and of pages without a name."""
    pages = {
        name.removeprefix(PLACE)
        for name in environment.found_docs
        if name.startswith(PLACE)
    }
    public = PUBLIC.keys()
    for name in sorted(public - pages):
        logger.warning("grokfast_jax.%s has no page: add it to %s", name, TABLE)
    for name in sorted(pages - public):
        logger.warning("%s names %s, which is not public", TABLE, name)
    for name, value in PUBLIC.items():
        if not inspect.getdoc(value):
            logger.warning("grokfast_jax.%s has no docstring", name)


def fields_alone(
    app: Sphinx, what: str, name: str, obj: object, options: object, *signature: str
) -> tuple[str, None] | None:
    """A class's signature without types: its docstring has them in words."""
    if what != "class":
        return None
    return f"({', '.join(inspect.signature(obj).parameters)})", None


def setup(app: Sphinx) -> dict[str, bool]:
    """Check when all pages are read."""
    app.connect("autodoc-process-signature", fields_alone)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
