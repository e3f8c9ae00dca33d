# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
from .header import psf_from_header as psf_from_header
from .header import states_own_unit as states_own_unit
from .header import wing_share_from_header as wing_share_from_header
from .header import winged_psf_from_header as winged_psf_from_header
from .io.fields import add_provenance as add_provenance
from .io.fields import check_writable as check_writable
from .io.fields import provenance_cards as provenance_cards
from .io.fields import read_bands as read_bands
from .io.fields import stated_sky as stated_sky
from .io.fields import write_bands as write_bands
from .quality import Quality as Quality
from .quality import describe as describe
from .quality import quality_plane as quality_plane
from .wcs import upsample_header as upsample_header
from .wcs import upsample_wcs as upsample_wcs
