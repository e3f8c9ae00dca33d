# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
from .blocks import equal_parts as equal_parts
from .blocks import generate_blocks as generate_blocks
from .blocks import lazy_blocks as lazy_blocks
from .blocks import window as window
from .enhancer import SRGANEnhancer as SRGANEnhancer
from .flux_anchor import anchor_flux as anchor_flux
from .flux_anchor import matching_kernel as matching_kernel
