# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Import of packages that only some features need."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = ["has", "import_optional"]


def has(module: str) -> bool:
    """
    Tell whether a module can be found, without importing it.

    Parameters
    ----------
    module : str
        Dotted name.

    Returns
    -------
    found : bool
        `True` where it is installed.
    """
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        return False


def import_optional(module: str, extra: str) -> Any:
    """
    Import a module, or say how to install it.

    Parameters
    ----------
    module : str
        Dotted name.
    extra : str
        The extra of this package that brings it.

    Returns
    -------
    module : module
        The imported module.

    Raises
    ------
    ImportError
        If it is not installed. A module that is there but broken raises its own error.
    """
    if not has(module):
        raise ImportError(
            f"this needs {module}, which is not installed; install what the extra {extra!r} of "
            f"splus_srgan brings: pip install {' '.join(_packages(extra)) or module}"
        )
    return importlib.import_module(module)


def _packages(extra: str) -> list[str]:
    """
    Packages that an extra of this package asks for, as pip takes them.

    They work whether or not the package itself was installed from an index.
    """
    try:
        requirements = importlib.metadata.requires("splus_srgan") or []
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        requirements = []
    found = []
    for requirement in requirements:
        package, _, marker = requirement.partition(";")
        if re.search(rf"extra\s*==\s*['\"]{re.escape(extra)}['\"]", marker):
            found.append(f'"{package.strip()}"')
    return found
