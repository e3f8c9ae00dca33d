# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Configuration of the documentation, which ``tox -e build_docs`` builds."""

import os
import sys
from pathlib import Path

from sphinx.util.nodes import make_refnode
from sphinx_gallery.sorting import FileNameSortKey

import splus_srgan

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
import rooms

project = "splus_srgan"
author = "splus_srgan developers"
copyright = f"2026, {author}"
version = release = splus_srgan.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_automodapi.automodapi",
    "pytest_doctestplus.sphinx.doctestplus",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "rooms",
]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst"]
default_role = "py:obj"
nitpicky = True

# Links to other projects need their inventories from the network, and a build must not.
# Names of these projects are taken on trust elsewhere; names of this one never are.
if os.environ.get("READTHEDOCS") == "True":
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "astropy": ("https://docs.astropy.org/en/stable/", None),
        "photutils": ("https://photutils.readthedocs.io/en/stable/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }
_OTHERS = (
    "astropy|numpy|scipy|torch|dask|photutils|pathlib|jsonargparse|matplotlib|enum|fits|u|np|"
    "abc|threading|collections|lightning|typing|argparse|distributed"
)
_BUILTINS = (
    "None|True|False|bool|int|float|str|list|tuple|dict|object|"
    "[A-Za-z]+(Error|Warning)|KeyboardInterrupt"
)
nitpick_ignore_regex = [
    ("py:.*", rf"({_OTHERS})\..*"),
    ("py:.*", rf"({_BUILTINS})"),
    # Private bases, whose public members are shown with the classes that have them.
    ("py:class", r"splus_srgan\.(\w+\.)*_\w+"),
]

autodoc_typehints = "none"
automodapi_toctreedirnm = "reference/api"
automodapi_inheritance_diagram = False
automodsumm_inherited_members = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

plot_include_source = False
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 110)]
plot_rcparams = {"font.size": 9, "axes.titlesize": 10, "figure.constrained_layout.use": True}
plot_apply_rcparams = True

# Every tutorial is run at every build, and one that fails, or warns, fails the build.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "tutorials",
    "filename_pattern": r"/\d\d_",
    "ignore_pattern": r"/_",
    "within_subsection_order": FileNameSortKey,
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "image_scrapers": ("matplotlib",),
    "plot_gallery": "True",
    "min_reported_time": 60,
}
suppress_warnings = ["config.cache"]  # sphinx-gallery's options hold a class

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["splus_srgan.css"]
# Without the part that names the commit, which is wider than its place.
html_title = f"splus_srgan {release.partition('+')[0]}"
html_theme_options = {
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "show_nav_level": 1,
    "navigation_depth": 3,
    "use_edit_page_button": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
}
html_sidebars = {"index": []}
html_show_sourcelink = False


def resolve_short_name(app, env, node, contnode):
    """Let docstrings name our things as code does, without the module that defines them."""
    if node.get("refdomain") != "py":
        return None
    name = "." + node["reftarget"].removeprefix("splus_srgan.")
    objects = env.get_domain("py").objects
    found = [known for known in objects if known.endswith(name)]
    if len(found) != 1:
        # What exists and is not public is shown as it is named; what does not exist is an error.
        return contnode if not found and name.split(".")[-1] in rooms.defined_names() else None
    entry = objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode)


def setup(app):
    """Register what this configuration adds to Sphinx."""
    app.connect("missing-reference", resolve_short_name)
