"""Configuration of the site; see ``build.py``."""

import sys
from pathlib import Path
from typing import Any

from IPython.lib.lexers import IPython3Lexer

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # equations, public_names; the library

import grokfast_jax  # noqa: E402

project = "grokfast_jax"
author = "the grokfast_jax contributors"
release = version = grokfast_jax.__version__
html_title = f"grokfast_jax {release}"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "equations",
    "public_names",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["docs/upstream"]
templates_path = [str(HERE / "templates")]  # Autosummary looks beside the pages

autosummary_generate = True
autodoc_typehints = "none"  # docstrings say them in words, unions of arrays included
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False
nitpick_ignore_regex = [("py:.*", r"(jax|optax|numpy)\..*")]  # sites of their own
add_module_names = False
python_maximum_signature_line_length = 76

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # tests run notebooks; pages show them as committed

html_theme = "pydata_sphinx_theme"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/icon.svg"
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_theme_options = {
    "logo": {
        "text": "grokfast_jax",
        "image_light": "_static/icon.svg",
        "image_dark": "_static/icon.svg",
        "alt_text": "",
    },
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}


def setup(app: Any) -> None:
    """What has no option of its own."""
    app.add_lexer("python", IPython3Lexer)  # the notebooks' cells, with ! and %
