# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
from .bandpasses import band_weights as band_weights
from .bandpasses import bandpass as bandpass
from .bandpasses import pivot as pivot
from .conditions import BandConditions as BandConditions
from .conditions import draw_conditions as draw_conditions
from .field import SimulatedField as SimulatedField
from .field import simulate_field as simulate_field
from .reference import reference_images as reference_images
from .reference import reference_noise as reference_noise
from .spectra import add_lines as add_lines
from .spectra import fit_colors as fit_colors
from .spectra import line_fluxes as line_fluxes
from .spectra import population_spectrum as population_spectrum
from .spectra import star_spectrum as star_spectrum
from .spectra import star_temperature as star_temperature
