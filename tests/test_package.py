# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The package as a whole: what importing it costs, what it offers, who imports whom."""

import ast
import importlib
import inspect
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import splus_srgan

PACKAGE = Path(splus_srgan.__file__).parent
MODULES = {path: path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))}
ENGINES = ("torch", "torchvision", "openvino", "lightning")
FACES = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.pyi"))
HEAVY = (*ENGINES, "matplotlib", "photutils", "skimage")


def modules(*, outside=(), public=False):
    """Parametrize a test over the modules that are not in the given folders."""
    chosen = [
        path
        for path, name in MODULES.items()
        if not name.startswith(tuple(outside))
        and not (public and path.name.startswith("_") and path.name != "__init__.py")
    ]
    return pytest.mark.parametrize("path", chosen, ids=MODULES.get)


def imports_of(path, *, top_level=False):
    """Return the names of all modules that a file imports (from the package: in full)."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if top_level:
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def run_python(code):
    """Run code in a fresh interpreter, isolated from this one's imports."""
    return subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    ).stdout.strip()


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import splus_srgan", HEAVY),
        ("import splus_srgan.cli.main; splus_srgan.cli.main.build_parser()", HEAVY),
        ("from splus_srgan import read_bands, write_bands, upsample_wcs", HEAVY),
        # astropy.visualization, which the stretches stand on, imports matplotlib itself.
        ("from splus_srgan import AsinhStretch, measure_background, simulate_field", ENGINES),
    ],
)
def test_import_loads_nothing_heavy(statement, unwanted):
    """Nobody waits for PyTorch who does not enhance."""
    loaded = run_python(
        f"import sys; {statement}; print(*[name for name in {unwanted!r} if name in sys.modules])"
    )
    assert loaded == ""


def test_import_loads_no_submodule():
    """The public names are imported on first use."""
    loaded = run_python(
        "import sys, splus_srgan; print(*[n for n in sys.modules if n.startswith('splus_srgan.')])"
    )
    assert loaded == "splus_srgan._version"


def test_version_is_that_of_the_distribution():
    assert splus_srgan.__version__ == version("splus_srgan")


@pytest.mark.parametrize("name", [n for n in splus_srgan.__all__ if not n.startswith("__")])
def test_public_name_resolves_and_has_a_docstring(name):
    thing = getattr(splus_srgan, name)
    assert thing.__name__ == name
    assert thing.__module__.startswith("splus_srgan.")
    assert len(inspect.getdoc(thing)) > 40


def test_public_names_are_listed():
    assert set(splus_srgan.__all__) <= set(dir(splus_srgan))


def face_of(folder):
    """Public names of a room, and the modules that its face names as their homes."""
    tree = ast.parse((folder / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("room", FACES)
def test_face_shows_what_its_modules_call_public(room):
    """A name that a face offers exists, is public at home, and is no module of the room."""
    face = face_of(PACKAGE / room)
    module = importlib.import_module(f"splus_srgan.{room}")
    assert set(module.__all__) == set(face)
    for name, home in face.items():
        home = importlib.import_module(f"splus_srgan.{room}.{home}")
        assert name in home.__all__
        assert getattr(module, name) is getattr(home, name)
        assert inspect.ismodule(getattr(module, name)) is False
    assert set(face) <= set(dir(module))


def functions_of(thing):
    """A function itself; of a class what is public and its own, with what makes and calls it."""
    if not inspect.isclass(thing):
        return {thing.__name__: thing} if inspect.isfunction(inspect.unwrap(thing)) else {}
    found = {}
    for name, one in vars(thing).items():
        one = getattr(one, "fget", None) or getattr(one, "__func__", one)
        own = inspect.isfunction(one) and one.__module__ == thing.__module__
        if own and (not name.startswith("_") or name in ("__init__", "__call__")):
            found[f"{thing.__name__}.{name}"] = one
    return found


def unannotated(thing):
    """Parameters of a public name, and what it returns, that have no type."""
    told = []
    for name, function in functions_of(thing).items():
        signature = inspect.signature(function)
        told += [
            f"{name}({one.name})"
            for one in signature.parameters.values()
            if one.annotation is one.empty and one.name not in ("self", "cls")
        ]
        told += [f"{name} ->"] if signature.return_annotation is signature.empty else []
    return told


@pytest.mark.parametrize("face", ["", *FACES])
def test_what_is_public_is_annotated(face):
    """The package says that it is typed: see ``tox -e typing`` for whether the types are true."""
    module = importlib.import_module(f"splus_srgan.{face}".rstrip("."))
    public = [name for name in module.__all__ if not name.startswith("__")]
    assert [told for name in public for told in unannotated(getattr(module, name))] == []
    assert (PACKAGE / "py.typed").is_file()


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="splus_srgan attribute Enhancer"):
        splus_srgan.Enhancer  # noqa: B018


def test_the_command_imports_training_only_when_it_runs():
    uses = imports_of(PACKAGE / "cli" / "train.py", top_level=True)
    assert not [name for name in uses if name.startswith("splus_srgan.training")]


@modules(outside=["models/", "training/"])
def test_torch_stays_in_its_folders(path):
    """Only the networks and their training import PyTorch at their top."""
    roots = {name.split(".")[0] for name in imports_of(path, top_level=True)}
    assert not roots & set(ENGINES)


@modules(public=True)
def test_module_names_its_public_things(path):
    """Every public module has a docstring, and ``__all__`` names things that have one."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    documented = {
        node.name: ast.get_docstring(node)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    exported = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        # That of the package adds to what its face lists.
        if path != PACKAGE / "__init__.py"
    ]
    for name in exported[0] if exported else []:
        if name in documented:
            assert documented[name], f"{name} has no docstring"


def test_weights_files_are_declared_as_package_data():
    """A wheel has what the source tree has."""
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    data = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert data["package-data"]["splus_srgan.models"] == [
        "weights/*.safetensors",
        "weights/*.json",
    ]
