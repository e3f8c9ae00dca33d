# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
from ._version import __citation__ as __citation__
from ._version import __version__ as __version__
from .enhance.enhancer import SRGANEnhancer as SRGANEnhancer
from .images.io.fields import read_bands as read_bands
from .images.io.fields import write_bands as write_bands
from .images.quality import Quality as Quality
from .images.wcs import upsample_wcs as upsample_wcs
from .pairs.match import match_pair as match_pair
from .pairs.match import match_to_grid as match_to_grid
from .pixels.background import measure_background as measure_background
from .pixels.stretch import (
    AsinhStretch as AsinhStretch,
)
from .pixels.stretch import (
    MinMaxStretch as MinMaxStretch,
)
from .pixels.stretch import (
    NoiseAsinhStretch as NoiseAsinhStretch,
)
from .simulate.field import simulate_field as simulate_field
