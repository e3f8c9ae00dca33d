# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Check that a wheel and a source archive hold what they must, and nothing else.

    python -m build --outdir DIST && python tools/check_dist.py DIST
"""

import sys
import tarfile
import zipfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
DATA = (".pyi", ".typed", ".json", ".safetensors", ".ecsv", ".jinja", ".css", ".js", ".npz", ".csv")
ARCHIVE_ONLY = ("CHANGES.rst", "CITATION.cff", "README.rst", "pyproject.toml", "tox.ini")
LARGEST = 20e6  # bytes of a wheel


def package_files():
    """Files of the package that an installation needs, as the repository has them."""
    return {
        path.relative_to(SOURCE).as_posix()
        for path in (SOURCE / "splus_srgan").rglob("*")
        if path.suffix in (".py", *DATA) and "__pycache__" not in path.parts
    }


def problems_of_wheel(path):
    """What is wrong with a wheel, as lines of text."""
    with zipfile.ZipFile(path) as file:
        names = set(file.namelist())
    lines = [f"{path.name} lacks {name}" for name in sorted(package_files() - names)]
    stray = {name for name in names if not name.startswith("splus_srgan")}
    lines += [
        f"{path.name} holds {name}, which is no part of the package" for name in sorted(stray)
    ]
    if not any(name.endswith("licenses/LICENSE.rst") for name in names):
        lines.append(f"{path.name} lacks the licence")
    if path.stat().st_size > LARGEST:
        lines.append(f"{path.name} has {path.stat().st_size / 1e6:.0f} MB")
    return lines


def problems_of_archive(path):
    """What is wrong with a source archive, as lines of text."""
    with tarfile.open(path) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    wanted = package_files() | set(ARCHIVE_ONLY) | {"tests/test_package.py", "docs/conf.py"}
    return [f"{path.name} lacks {name}" for name in sorted(wanted - names)]


def main(folder):
    """Check the newest wheel and archive of a folder; the exit status."""
    wheels, archives = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if not wheels or not archives:
        print(f"{folder} must hold a wheel and a source archive")
        return 1
    lines = problems_of_wheel(wheels[-1]) + problems_of_archive(archives[-1])
    print("\n".join(lines) or f"{wheels[-1].name} and {archives[-1].name} are complete")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
