# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Import of packages that only some features need."""

import importlib
import importlib.util

__all__ = ["has", "import_optional"]


def has(module):
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


def import_optional(module, extra):
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
            f"this needs {module}, which is not installed; "
            f'install it with: pip install "splus_srgan[{extra}]"'
        )
    return importlib.import_module(module)
