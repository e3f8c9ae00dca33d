# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The order of the rooms: who may import whom, read off the code itself."""

import ast
from pathlib import Path

import pytest

import splus_srgan

PACKAGE = Path(splus_srgan.__file__).parent

# A room imports from lower floors alone.
FLOORS = {
    "splus": 1,
    "exceptions": 1,
    "_version": 1,
    "utils": 2,
    "pixels": 3,
    "models": 4,
    "images": 4,
    "enhance": 5,
    "simulate": 5,
    "surveys": 5,
    "evaluation": 6,
    "pairs": 6,
    "training": 7,
    "cli": 8,
    "__main__": 9,
}


def name_of(path, root):
    """Dotted name of a file, of the folder for an ``__init__``."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(root, *, types=True):
    """
    All imports within a package, also those inside functions.

    Parameters
    ----------
    root : `~pathlib.Path`
        Folder of the package.
    types : bool, optional
        Whether those count that serve annotations alone, and are not made when the code runs.

    Returns
    -------
    imports : dict of str to set of tuple
        Module to what it imports: module, and the name taken from it (or `None`).
    """
    files = {name_of(path, root): path for path in sorted(root.rglob("*.py"))}
    found = {name: set() for name in files}
    for importer, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree if types else _WithoutTypes().visit(tree)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(root.name):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    taken = (whole, None) if whole in files else (node.module, alias.name)
                    found[importer].add(taken)
            elif isinstance(node, ast.Import):
                found[importer] |= {(a.name, None) for a in node.names if a.name in files}
    return found


class _WithoutTypes(ast.NodeTransformer):
    """Takes out what is there ``if TYPE_CHECKING:``."""

    def visit_If(self, node):
        return None if getattr(node.test, "id", "") == "TYPE_CHECKING" else node


def room_of(module):
    """First part of a module's name below the package; empty for the package itself."""
    return [*module.split("."), ""][1]


def circles(graph):
    """Sets of nodes from each of which one comes back to it; none in a sound graph."""
    # What nothing left imports, or what imports nothing left, is in no circle.
    graph = {node: set(ends) & set(graph) - {node} for node, ends in graph.items()}
    while True:
        loose = {node for node, ends in graph.items() if not ends}
        loose |= set(graph) - {end for ends in graph.values() for end in ends}
        if not loose:
            return sorted(graph)
        graph = {node: ends - loose for node, ends in graph.items() if node not in loose}


def faults(root, floors):
    """What breaks the order of a package, in words."""
    found = imports(root)
    told = []
    for importer, taken in found.items():
        for module, name in taken:
            here, there = room_of(importer), room_of(module)
            if importer == root.name or here == there:
                continue
            if module == root.name:
                told.append(f"{importer} imports {name} from the face of the package")
            elif floors[there] >= floors[here]:
                told.append(f"{importer} imports {module}, which is not below it")
            hidden = f"{module}.{name or ''}".split(".")[2:]
            if any(part.startswith("_") and not part.startswith("__") for part in hidden):
                told.append(f"{importer} imports the private {module}.{name or ''}")
    # An annotation may name a class of a module that imports this one: neither waits for the other.
    run = imports(root, types=False)
    graph = {importer: {module for module, _ in taken} for importer, taken in run.items()}
    told += [f"circle of files: {name}" for name in circles(graph)]
    for folder in {name.rpartition(".")[0] for name in graph} - {""}:
        told += [f"circle in {folder}: {name}" for name in circles(inside(graph, folder))]
    return sorted(told)


def inside(graph, folder):
    """Imports between what lies directly in a folder: its files, and its folders as wholes."""
    depth = folder.count(".") + 1
    part = {}
    for importer, modules in graph.items():
        if not importer.startswith(f"{folder}."):
            continue
        ends = part.setdefault(importer.split(".")[depth], set())
        ends |= {m.split(".")[depth] for m in modules if m.startswith(f"{folder}.")}
    return part


def test_rooms_are_in_order():
    assert faults(PACKAGE, FLOORS) == []


def test_every_room_has_a_floor():
    assert {room_of(name) for name in imports(PACKAGE)} - {""} == set(FLOORS)
    assert max(FLOORS.values()) <= 9


def test_top_of_the_package_holds_rooms_alone():
    files = {path.stem for path in PACKAGE.glob("*.py")}
    assert files == {"__init__", "__main__", "_version", "exceptions", "splus"}


@pytest.mark.parametrize(
    ("path", "line", "told"),
    [
        ("low/one.py", "from house.high import two", "which is not below it"),
        ("low/one.py", "def f():\n    from house.high.two import thing", "which is not below it"),
        ("low/one.py", "if TYPE_CHECKING:\n    from house.high import two", "is not below it"),
        ("high/two.py", "from house import thing", "from the face of the package"),
        ("high/two.py", "from house.low.one import _secret", "imports the private"),
        ("high/two.py", "from house.low import _hidden", "imports the private"),
        ("low/other.py", "import house.low.one", "circle of files"),
        ("low/sub/deep.py", "from house.low.one import thing", "circle in house.low"),
    ],
)
def test_what_breaks_the_order_is_told(tmp_path, path, line, told):
    """The check is worth something: it finds each fault in a small house."""
    root = tmp_path / "house"
    sound = {
        "__init__.py": "",
        "low/__init__.py": "",
        "low/_hidden.py": "",
        "low/one.py": "from house.low import other\nfrom house.low.sub import deep",
        "low/other.py": "if TYPE_CHECKING:\n    from house.low.one import thing",
        "low/sub/__init__.py": "",
        "low/sub/deep.py": "",
        "high/__init__.py": "",
        "high/two.py": "from house.low.one import thing",
    }
    for name, text in sound.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    floors = {"low": 1, "high": 2}
    assert faults(root, floors) == []
    (root / path).write_text(f"{sound[path]}\n{line}\n")
    assert told in "; ".join(faults(root, floors))
