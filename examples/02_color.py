"""
A color picture, before and after
==================================

Three bands become red, green and blue with `astropy.visualization.make_rgb`, on one scale for the
input and the enhanced image, so that what differs is the image and not the picture.
"""

# %%
# Enhance
# -------

import matplotlib.pyplot as plt
import numpy as np
from astropy.visualization import ManualInterval, make_rgb
from astropy.visualization.stretch import AsinhStretch

from splus_srgan import SRGANEnhancer, simulate_field

simulated = simulate_field((7, 1), shape=(160, 160), kind="cluster")
field = simulated.observed
sharp = SRGANEnhancer(device="cpu")(field)

# %%
# One scale for all
# -----------------
# Surface brightness is what a picture shows: flux per *input* pixel, so the output is multiplied by
# 4.  The zero points bring all bands to nanomaggies; a galaxy of usual color is brighter in z than
# in g, and dividing by that makes it white.

USUAL = {"g": 0.6, "r": 1.0, "z": 1.6}


def planes(images, factor):
    """Red, green and blue, in nanomaggies per input pixel above the sky."""
    made = []
    for band in "zrg":
        sky = sharp[band].header["SRSKY"]
        zero_point = simulated.conditions[band].zero_point
        scale = 10 ** (0.4 * (22.5 - zero_point)) / USUAL[band]
        made.append(scale * (factor * np.asarray(images[band].data, float) - sky))
    return made


before, after = planes(field, 1), planes(sharp, 4)
noise = np.mean([np.std(plane[:20, -20:]) for plane in before])
options = {"interval": ManualInterval(-2 * noise, 80 * noise), "stretch": AsinhStretch(0.06)}

figure, axes = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
for ax, image, title in zip(axes, (before, after), ("input", "enhanced"), strict=True):
    ax.imshow(make_rgb(*image, **options), origin="lower", interpolation="nearest")
    ax.set_title(title)
    ax.set_axis_off()

# %%
# Colors of faint things
# -----------------------
# A softer stretch and a lower white point bring out the arms.  The noise of the input takes part
# in that; the sky of the enhanced image stays dark.  That it is dark does not mean that nothing
# is there: what is too faint to be seen in the input is missing, not measured to be zero.

options = {"interval": ManualInterval(-1 * noise, 20 * noise), "stretch": AsinhStretch(0.15)}
figure, axes = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
for ax, image, title in zip(axes, (before, after), ("input", "enhanced"), strict=True):
    ax.imshow(make_rgb(*image, **options), origin="lower", interpolation="nearest")
    ax.set_title(title)
    ax.set_axis_off()

# %%
# Are the colors right?
# ----------------------
# Where the image is bright, the ratio of two bands can be compared with the truth, pixel by pixel.

truth = planes(simulated.target, 4)
bright = truth[1] > 20 * noise
for name, red, blue in (("g - r", 1, 2), ("r - z", 0, 1)):
    made = -2.5 * np.log10(after[blue][bright] / after[red][bright])
    known = -2.5 * np.log10(truth[blue][bright] / truth[red][bright])
    off = made - known
    print(f"{name}: median off by {np.median(off):+.3f} mag, scatter {np.std(off):.3f} mag")

# %%
# Next
# ----
# Colors for a paper come from apertures: :doc:`03_photometry`.  What goes wrong, and how it looks:
# :doc:`10_gallery`.
