"""The API in HTML, made of the docstrings by ``tox -e docs``; a reference that leads nowhere fails the build."""

project = "lmc"
extensions = ["sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["api/modules.rst"]
apidoc_modules = [{"path": "../lmc", "destination": "api", "exclude_patterns": ["../lmc/commands/test_*.py"]}]
apidoc_automodule_options = {"members", "show-inheritance"}
apidoc_module_first = True
apidoc_separate_modules = True
autodoc_default_options = {"ignore-module-all": True}
autodoc_mock_imports = ["ray"]
autodoc_member_order = "bysource"
napoleon_custom_sections = ["Deviates"]
napoleon_use_rtype = False
html_show_copyright = False
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
