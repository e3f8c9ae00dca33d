# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command line: one module a command."""
