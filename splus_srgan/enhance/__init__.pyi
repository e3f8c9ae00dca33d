# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
from .batch import enhance_batch as enhance_batch
from .batch_list import BatchField as BatchField
from .batch_list import list_fields as list_fields
from .enhancer import SRGANEnhancer as SRGANEnhancer
from .flux_anchor import anchor_flux as anchor_flux
from .flux_anchor import moffat_matching_kernel as moffat_matching_kernel
from .guard import Finding as Finding
from .guard import InputReport as InputReport
from .guard import check_input as check_input
from .restart import clean as clean
from .tiles import generate_blocks as generate_blocks
