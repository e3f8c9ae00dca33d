# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The report: page, figures and viewer."""
