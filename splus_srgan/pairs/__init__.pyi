# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
from .folder.pairs import PairFolder as PairFolder
from .folder.pairs import fetch_pairs as fetch_pairs
from .folder.pairs import match_files as match_files
from .match import MatchedPair as MatchedPair
from .match import match_pair as match_pair
from .match import match_to_grid as match_to_grid
from .quality.pair import BandQuality as BandQuality
from .quality.pair import PairLimits as PairLimits
from .quality.pair import PairReport as PairReport
from .quality.pair import assess_pair as assess_pair
from .quality.pair import contact_sheet as contact_sheet
from .registration.measure import Registration as Registration
from .registration.measure import approximate_wcs as approximate_wcs
from .registration.measure import measure_registration as measure_registration
from .registration.measure import register_images as register_images
