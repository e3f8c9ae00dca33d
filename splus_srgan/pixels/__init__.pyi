# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
from .background import Background as Background
from .background import measure_background as measure_background
from .background import sky_of_enhanced as sky_of_enhanced
from .psf import coma_transfer as coma_transfer
from .psf import core_profile as core_profile
from .psf import matching_transfer as matching_transfer
from .psf import moffat_transfer as moffat_transfer
from .psf import psf_image as psf_image
from .psf import psf_profile as psf_profile
from .psf import psf_transfer as psf_transfer
from .psf import wing_transfer as wing_transfer
from .stretch import AsinhStretch as AsinhStretch
from .stretch import ChainedStretch as ChainedStretch
from .stretch import InverseStretch as InverseStretch
from .stretch import MinMaxStretch as MinMaxStretch
from .stretch import NoiseAsinhStretch as NoiseAsinhStretch
from .stretch import stretch_from_dict as stretch_from_dict
