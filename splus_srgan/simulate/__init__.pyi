# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
from .field import BandConditions as BandConditions
from .field import SimulatedField as SimulatedField
from .field import correlated_noise as correlated_noise
from .field import draw_conditions as draw_conditions
from .field import noise_variance as noise_variance
from .field import simulate_field as simulate_field
from .reference import reference_images as reference_images
from .reference import reference_noise as reference_noise
