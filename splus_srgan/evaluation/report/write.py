# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
An evaluation as one HTML page that needs nothing else: verdict, images, tables, figures.

The page has no address outside itself; its policy (a Content-Security-Policy with the
hash of its one script) forbids the browser to load or run anything else.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from splus_srgan.evaluation.checks import check_table
from splus_srgan.evaluation.report.context import page_context, remark
from splus_srgan.evaluation.report.figures import report_figures
from splus_srgan.evaluation.report.viewer import show_field, viewer_data
from splus_srgan.utils import files
from splus_srgan.utils.files import atomic_path, home_path, replace_file
from splus_srgan.utils.optional import import_optional

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.utils.types import FilePath

__all__ = ["FILES", "check_folder", "render_report", "write_report"]

FILES = {"table": "table.ecsv", "checks": "checks.ecsv", "report": "report.html"}
"""Names of the files of a report."""


def check_folder(folder: FilePath, *, overwrite: bool = False) -> dict[str, Path]:
    """
    Make sure, before any work is done, that a report can be written.

    Parameters
    ----------
    folder : path-like
        Folder of the report.
    overwrite : bool, optional
        Whether files of an earlier report may be replaced.

    Returns
    -------
    paths : dict of str to `~pathlib.Path`
        Files to be, by the keys of ``FILES``.

    Raises
    ------
    FileExistsError
        If one exists and ``overwrite`` is not set.
    OSError
        If the folder, or one above it, is a file, or one of the files cannot be written.
    """
    folder = home_path(folder)
    files.check_folder(folder)
    paths = {key: folder / name for key, name in FILES.items()}
    files.check_targets(paths.values(), overwrite=overwrite)
    return paths


def write_report(evaluation: Any, folder: FilePath, *, overwrite: bool = False) -> dict[str, Path]:
    """
    Write the report of an evaluation and its tables.

    Parameters
    ----------
    evaluation : `~splus_srgan.evaluation.result.Evaluation`
        What was measured.
    folder : path-like
        Folder to write to; made if needed.
    overwrite : bool, optional
        Whether files of an earlier report may be replaced.

    Returns
    -------
    paths : dict of str to `~pathlib.Path`
        The files, by the keys of ``FILES``.

    Raises
    ------
    FileExistsError
        If one exists and ``overwrite`` is not set.
    ImportError
        If jinja2 or matplotlib is not installed.
    """
    paths = check_folder(folder, overwrite=overwrite)
    page = render_report(evaluation)  # before anything is written
    files.make_folder(folder)

    tables = {"table": evaluation.table, "checks": check_table(evaluation.checks)}
    for key, table in tables.items():
        with atomic_path(paths[key], overwrite=overwrite) as temporary:
            table.write(temporary, format="ascii.ecsv", overwrite=True)
    # Last, so that a report which is there is complete.
    replace_file(paths["report"], page, overwrite=overwrite)
    return paths


def render_report(evaluation: Any) -> str:
    """
    Render the page.

    Parameters
    ----------
    evaluation : `~splus_srgan.evaluation.result.Evaluation`
        What was measured.

    Returns
    -------
    page : str
        HTML; everything that comes from data (names of fields, bands and weights) is
        escaped.

    Raises
    ------
    ImportError
        If jinja2 or matplotlib is not installed.
    """
    jinja2 = import_optional("jinja2", "plot")
    import_optional("matplotlib", "plot")
    from markupsafe import Markup

    files = resources.files("splus_srgan.evaluation.report") / "templates"
    texts = {
        name: (files / name).read_text(encoding="utf-8")
        for name in ("report.html.jinja", "report.css", "viewer.js")
    }
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False}
    shown = [show_field(one, remark=remark(evaluation, one)) for one in evaluation.fields]
    script = texts["viewer.js"]
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    context = page_context(evaluation) | {
        "css": Markup(texts["report.css"]),
        "javascript": Markup(script),
        "script_hash": base64.b64encode(digest).decode("ascii"),
        "fields": shown,
        "figures": report_figures(evaluation),
        "blocks": [
            {"id": f"px-{k}-{layer}-{band}", "text": text}
            for k, one in enumerate(shown)
            for (layer, band), text in one.blocks.items()
        ],
    }
    template = environment.from_string(texts["report.html.jinja"])
    return template.render(context, viewer=viewer_data(shown))
