# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Write the lower bounds of ``pyproject.toml`` as pip constraints.

The bounds are read where they are declared, so that the versions tested as the
oldest ones cannot drift away from them.
"""

import argparse
import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

# "name[extra]>=1.2,<3; marker" -> name, extras, version
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?(?:.*?>=\s*([0-9][^,;\s]*))?")


def collect(requirements, extras):
    """Return ``{name: oldest version}`` of requirements, following our own extras."""
    oldest = {}
    for requirement in requirements:
        name, wanted, version = REQUIREMENT.match(requirement).groups()
        if name == "splus_srgan":
            for extra in wanted.split(","):
                oldest |= collect(extras[extra.strip()], extras)
        elif version is None:
            raise SystemExit(f"{PYPROJECT.name}: {requirement!r} has no lower bound")
        else:
            oldest[name] = version
    return oldest


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", action="append", default=[], help="include this extra")
    parser.add_argument("--output", type=Path, required=True, help="constraints file to write")
    options = parser.parse_args()
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = project["dependencies"] + [f"splus_srgan[{extra}]" for extra in options.extra]
    oldest = collect(requirements, extras)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name}=={version}\n" for name, version in sorted(oldest.items())]
    options.output.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
