# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The generator, its weights with their cards, and the engines that run it."""
