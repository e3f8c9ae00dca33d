"""
From a twelve-band cube to a map of H-alpha
===========================================

The narrow band J0660 has the line H-alpha and the continuum under it; r and i tell what the
continuum is.  The difference of the three is a map of the gas, if the bands have one PSF.  Of the
inputs that means the worst of the three.  Enhanced bands have it already, and it is sharper.
"""

# %%
# A cube
# ------
# All twelve bands of a simulated spiral galaxy.  Cubes of real galaxies are read in the same way:
# ``read_bands("NGC3312_cube.fits")``.

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.nddata import CCDData
from scipy import fft

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.evaluation import line_map
from splus_srgan.images import read_bands, write_cube
from splus_srgan.pixels.psf import core_profile, matching_transfer
from splus_srgan.simulate import pivot
from splus_srgan.splus import BANDS, PIXEL_SCALE

simulated = simulate_field((3, 1048), shape=(128, 128), bands=tuple(BANDS), kind="galaxy")


AB_NMGY = 3.631 * u.uJy  # a nanomaggie of the AB system
DENSITY = u.erg / u.s / u.cm**2 / u.AA


def flux_density(images, sky=None):
    """Sky-subtracted images in erg / (s cm2 Angstrom) instead of counts."""
    result = {}
    for band, image in images.items():
        per_nmgy = simulated.conditions[band].adu_per_nmgy
        fluxes = (image.data - (sky or {}).get(band, 0)) / per_nmgy * AB_NMGY
        density = fluxes.to(DENSITY, u.spectral_density(pivot(band) * u.AA))
        result[band] = CCDData(density, wcs=image.wcs, meta=image.meta)
    return result


folder = TemporaryDirectory()
path = write_cube(
    flux_density(simulated.observed, simulated.sky), Path(folder.name) / "spiral_cube.fits"
)
cube = read_bands(path)
print(list(cube))

# %%
# Enhance it
# ----------
# Any bands can be given, and help each other.  A line map is a difference of bands and gains less
# from that than the bands themselves, but it does gain (:doc:`/user_guide/weights`, which also says
# what to mind of sources that shine in one band alone).

needed = {band: cube[band] for band in ("r", "J0660", "i")}
sharp = SRGANEnhancer(device="cpu")(needed, sky=0.0)
for band, image in sharp.items():
    fwhm = image.header["SRPSFFWH"], image.header["SRFWHM"]
    print(f"{band}: FWHM {fwhm[0]:.2f} -> {fwhm[1]:.2f} arcsec")

# %%
# Three maps
# ----------
# Of the inputs, brought to the worst of their PSFs; of the enhanced bands; and the truth.


def at_worst_psf(images):
    """The inputs with the PSF of the band with the worst seeing."""
    profiles = {}
    for band in images:
        seen = simulated.conditions[band]
        profiles[band] = (*core_profile(seen.fwhm, seen.beta, seen.wings), seen.wings)
    worst = max(profiles.values())
    result = {}
    for band, image in images.items():
        ny, nx = image.shape
        fy, fx = fft.fftfreq(ny, PIXEL_SCALE)[:, None], fft.rfftfreq(nx, PIXEL_SCALE)[None]
        kernel = matching_transfer(fy, fx, profiles[band], worst)
        data = fft.irfft2(fft.rfft2(image.data) * kernel, s=image.shape)
        result[band] = CCDData(data, unit=image.unit, wcs=image.wcs)
    return result


maps = {
    "inputs at the worst PSF": line_map(at_worst_psf(needed)),
    "enhanced": line_map(sharp),
    "truth": line_map(flux_density(simulated.target)),
}

# %%
# Flux per area, so that maps of different pixels compare.

figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
top = np.percentile(maps["truth"].data, 99.8) / (PIXEL_SCALE / 2) ** 2
for axis, (name, flux) in zip(axes, maps.items(), strict=True):
    side = PIXEL_SCALE * 128 / flux.shape[0]
    shown = axis.imshow(
        flux.data / side**2, vmin=-0.1 * top, vmax=top, cmap="magma", origin="lower"
    )
    axis.set_title(name)
    axis.set_axis_off()
bar = figure.colorbar(shown, ax=axes, shrink=0.8)
bar.set_label("erg / (s cm2 arcsec2)")

# %%
# How right they are
# ------------------
# The error per area against the truth, and the flux of the whole line within the pixels where the
# truth is bright.

truth = maps["truth"].data
bright = truth > 0.05 * truth.max()
for name in ("inputs at the worst PSF", "enhanced"):
    flux = maps[name].data
    if flux.shape != truth.shape:
        flux = np.kron(flux, np.full((2, 2), 0.25))
    rms = np.sqrt(np.mean((flux - truth) ** 2)) / np.sqrt(np.mean(truth**2))
    print(
        f"{name}: rms error {100 * rms:.0f} % of the rms of the map, "
        f"flux {100 * (flux[bright].sum() / truth[bright].sum() - 1):+.1f} %"
    )

# %%
# The enhanced cube goes to a file of the same layout, with the new PSF in its table.

path = write_cube(sharp, Path(folder.name) / "spiral_sharp.fits")
print(path.name, {band: image.shape for band, image in read_bands(path).items()})
folder.cleanup()

# %%
# What to mind
# ------------
# The map is a difference of three images, so errors of each count: see :doc:`08_judge` before any
# of them is believed, and :doc:`/user_guide/hallucination` for what a faint region may be made of.
# ``line_map`` gives a map of its error where the bands have uncertainties:
# ``SRGANEnhancer(uncertainty=True)``.  The error of a flux within an aperture is not their sum in
# quadrature: :doc:`/user_guide/photometry` shows how to get it.
#
# Next
# ----
# :doc:`05_pairs` gets real images of galaxies, and matches them.
