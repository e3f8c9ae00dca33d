# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Write a page of reference for each room of the package, from its face.

A room's face, ``splus_srgan/<room>/__init__.pyi``, says what is public and where it is defined.
The page shows the modules that it names, each with its own heading, so nothing can be missing from
the reference, and a module that moves takes its place in it along.
"""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "splus_srgan"

TITLES = {
    "enhance": "Enhancing",
    "images": "Images: FITS files, WCS, header, quality flags",
    "pixels": "Pixels: sky background, PSF, stretches",
    "models": "Models: generator, discriminator, weights, engines",
    "simulate": "Simulated fields",
    "surveys": "Surveys: S-PLUS and Legacy Surveys, zero points, catalogue",
    "pairs": "Matched pairs and registration",
    "evaluation": "Evaluation: metrics, photometry, artefacts, verdict",
    "training": "Training",
}

SECTION = """\
{title}
{rule}

.. automodapi:: {module}
    :no-heading:
    :headings: -^
    :include-all-objects:
    :allowed-package-names: {room}
{skip}"""


def module_path(room, name):
    """The file of a module of a room, or the ``__init__`` of a package."""
    path = PACKAGE / room / Path(*name.split("."))
    inside = path / "__init__.py"
    return inside if inside.is_file() else path.with_suffix(".py")


def face(room):
    """Modules that the face of a room names, and all names it takes from each."""
    modules = {}
    for node in ast.parse((PACKAGE / room / "__init__.pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            names = modules.setdefault(node.module, [])
            names += [alias.asname or alias.name for alias in node.names]
    return modules


def public_names(path):
    """What ``__all__`` of a module lists."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [one.value for one in node.value.elts if isinstance(one, ast.Constant)]
    return []


def elsewhere(room, module):
    """Names that a module passes on, and that the face takes from another one."""
    modules = face(room)
    others = {name for other in modules if other != module for name in modules[other]}
    return sorted(others.intersection(public_names(module_path(room, module))))


def heading(path):
    """First line of a module's docstring, up to a colon, as a heading."""
    line = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0].rstrip(".")
    return line.split(":")[0].replace("`", "").strip()


def page(room, title):
    """The text of the page of a room."""
    about = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
    parts = [f"{'*' * len(title)}\n{title}\n{'*' * len(title)}\n\n{about}\n"]
    parts.append(
        f"All names can be imported from the room: ``from splus_srgan.{room} import ...``.\n"
    )
    for module in face(room):
        text = heading(module_path(room, module))
        passed_on = ", ".join(elsewhere(room, module))
        parts.append(
            SECTION.format(
                title=text,
                rule="=" * len(text),
                module=f"splus_srgan.{room}.{module}",
                room=f"splus_srgan.{room}",
                skip=f"    :skip: {passed_on}\n" if passed_on else "",
            )
        )
    return "\n".join(parts)


@cache
def defined_names():
    """Names of all classes, functions and constants of the package, public or not."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names |= {node.targets[0].id} if node.targets[0].id.isupper() else set()
    return frozenset(names)


def write_pages(app, config):
    """Write all pages that are not there or not up to date."""
    folder = Path(app.srcdir) / "reference"
    for room in sorted(path.parent.name for path in PACKAGE.glob("*/__init__.pyi")):
        path, text = folder / f"{room}.rst", page(room, TITLES.get(room, room.capitalize()))
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


def setup(app):
    """Register the writer."""
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
