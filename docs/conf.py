"""The documentation in HTML, by ``tox -e docs``; a reference that leads nowhere fails the build.

The API is made of docstrings, the pages of claims of the claims themselves and of the committed results.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

project = "lmc"
html_title = "lmc"
html_theme = "furo"
html_theme_options = {"navigation_with_keys": True}
html_show_copyright = False
extensions = ["myst_parser", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["api/modules.rst", "claims/*.svg"]
myst_heading_anchors = 3
apidoc_modules = [{"path": "../lmc", "destination": "api", "exclude_patterns": ["../lmc/commands/test_*.py"]}]
apidoc_automodule_options = {"members", "show-inheritance"}
apidoc_module_first = True
apidoc_separate_modules = True
autodoc_default_options = {"ignore-module-all": True}
autodoc_mock_imports = ["ray"]
autodoc_member_order = "bysource"
napoleon_custom_sections = ["Deviates"]
napoleon_use_rtype = False
default_role = "py:obj"
nitpicky = True
_OTHERS = "_pytest|collections|jinja2|msgspec|multiprocessing|nn|np|numpy|pathlib|pytest|torch|typer|types|typing"
nitpick_ignore_regex = [
    # Other projects' names are found by no build without a network,
    ("py:.*", rf"({_OTHERS})\..*"),
    # annotations that are only imported for type checking are not taken apart,
    ("py:class", r"Canvas|Environment|Role|Tensor|Verdict|\w+\[.*|.*\._\w+"),
    # type variables and the limits of numbers are annotations, too.
    ("py:class", r"1e\+100|lmc\.reporting\.curves\.(AtHome|AtWidth|Key|Row)|lmc\.results\.chances\.Key|lmc\..*\.[ST]"),
]
suppress_warnings = ["ref.python"]  # `bytes` is the builtin, whatever properties are called so


def _write_claims(app):
    from claim_pages import write_pages

    write_pages(Path(app.srcdir) / "claims")


def _link_claims(app, name, source):
    """On GitHub the pages of claims do not exist; here the ids in the matrix lead to them."""
    if name == "verdicts":
        from claim_pages import linked

        source[0] = linked(source[0], "claims/")


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", _write_claims)
    app.connect("source-read", _link_claims)
