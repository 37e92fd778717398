"""Sphinx: the site that `make docs` builds of these pages and the docstrings.

Nothing that it shows is asked of the network: MathJax is a file beside the pages.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import site_parts  # noqa: E402

import reflfap  # noqa: E402

project = "reflfap"
author = "reflfap developers"
copyright = author
version = release = reflfap.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "site_parts",
]
# what is read by hand into generated pages, and what an index shows
exclude_patterns = ["*-reading.md", "index-description.md"]

myst_enable_extensions = ["dollarmath", "attrs_inline"]
myst_heading_anchors = 5

autodoc_default_options = {"members": True, "member-order": "bysource"}
viewcode_follow_imported_members = False  # each module documents its own
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
suppress_warnings = ["myst.header"]  # levels of generated pages: a matter of taste
nitpicky = True
# of other packages there is no index here, and of ours none of names of types
nitpick_ignore_regex = [("py:(class|data|exc)", ".*"), ("py:.*", r"(?!reflfap\.).*")]

highlight_language = "none"  # blocks without a language are commands and what they print

html_theme = "furo"
html_title = "reflfap"
html_static_path = ["_static", str(site_parts.mathjax())]
html_css_files = ["site.css"]
mathjax_path = site_parts.MATHJAX
mathjax3_config = {"svg": {"scale": 0.92}}  # to the size of the text beside it
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # it is fetched, which a browser does not do from files
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#a84300", "color-brand-content": "#a84300"},
    "dark_css_variables": {"color-brand-primary": "#ff9d5c", "color-brand-content": "#ff9d5c"},
}
