"""
Enhance a field
===============

From images of one field, one per band, to sharper ones on a grid of half the pixel size, and what
comes out with them: WCS, PSF, flags and a header that says how they were made.
"""

# %%
# A field
# -------
# `~splus_srgan.simulate.field.simulate_field` makes images as S-PLUS takes them, and knows the
# truth behind them.  With files of your own, `~splus_srgan.images.io.fields.read_bands` gives the
# same: a dictionary of band to `~astropy.nddata.CCDData`.

from splus_srgan import simulate_field

simulated = simulate_field((7, 1), shape=(160, 160), kind="cluster")
field = simulated.observed
for band, image in field.items():
    print(band, image.shape, image.unit, f"seeing {simulated.conditions[band].fwhm:.2f} arcsec")

# %%
# Enhance it
# ----------
# The enhancer is set up once and called as often as needed.  ``"auto"`` weights are those that fit
# the bands.

from splus_srgan import SRGANEnhancer

enhancer = SRGANEnhancer(device="cpu")
sharp = enhancer(field)
print({band: image.shape for band, image in sharp.items()})

# %%
# Look at it
# ----------
# A pixel holds flux, so a pixel of the output holds a quarter of the flux of an input pixel:
# multiplied by 4 both can be shown alike.  In units of the noise of an input pixel one stretch
# serves all three.

import matplotlib.pyplot as plt

sky, sigma = sharp["r"].header["SRSKY"], sharp["r"].header["SRSIGMA"]
panels = {
    "input": field["r"].data,
    "enhanced": 4 * sharp["r"].data,
    "truth": 4 * simulated.target["r"].data,
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for ax, (title, image) in zip(axes, panels.items(), strict=True):
    shown = ax.imshow(
        (image - sky) / sigma, norm="asinh", vmin=-3, vmax=300, cmap="gray", origin="lower"
    )
    ax.set_title(title)
    ax.set_axis_off()
figure.colorbar(shown, ax=axes, shrink=0.8, ticks=[0, 1, 10, 100], label="input noise")

# %%
# A closer look at the centre of the spiral:

figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
for ax, (title, image) in zip(axes, panels.items(), strict=True):
    step = image.shape[0] // 160
    cut = image[70 * step : 115 * step, 40 * step : 85 * step]
    ax.imshow((cut - sky) / sigma, norm="asinh", vmin=-3, vmax=200, cmap="gray", origin="lower")
    ax.set_title(title)
    ax.set_axis_off()

# %%
# What came with it
# -----------------
# The WCS shows the same sky, whatever the pixel: input pixel (x, y) lies at (2 x + 0.5, 2 y + 0.5).

before = field["r"].wcs.pixel_to_world(80, 90)
after = sharp["r"].wcs.pixel_to_world(160.5, 180.5)
print(f"{before.separation(after).arcsec:.1e} arcsec apart")

# %%
# Flux is where it was.  Of the whole frame:

ratio = (sharp["r"].data - sky / 4).sum() / (field["r"].data - sky).sum()
print(f"flux of the output over flux of the input: {ratio:.3f}")

# %%
# The header says how the image was made, and ``flags`` which pixels to be careful with.

from splus_srgan import Quality

for key in ("SRMODEL", "SRMODVER", "SRPREC", "SRANCHOR", "SRSIGMA"):
    print(f"{key:8} = {sharp['r'].header[key]}")
for bit in Quality:
    share = ((sharp["r"].flags & bit) != 0).mean()
    print(f"{bit.name:15} {100 * share:5.1f} % of the pixels")

# %%
# Keep it
# -------
# ``write_bands("field_sr.fits", sharp)`` writes one file with all bands, their masks, flags and
# PSFs.
# On the command line all of this is ``splus-srgan enhance G.fits R.fits Z.fits -o out/``.
#
# Next
# ----
# :doc:`02_color` makes a color picture, and :doc:`03_photometry` measures.
