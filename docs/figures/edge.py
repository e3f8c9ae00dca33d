# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Flags of a small image with a hole in it."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from splus_srgan import Quality, SRGANEnhancer, simulate_field

image = simulate_field((7, 1), shape=(256, 256), kind="cluster", bands=("r",)).observed["r"]
image.data[120:126, 120:126] = np.nan
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sharp = SRGANEnhancer(device="cpu", precision="float32")(image)
flags = np.asarray(sharp.flags)
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.6))
sigma = sharp.header["SRSIGMA"] / 4
left.imshow(
    np.arcsinh((sharp.data - np.nanmedian(sharp.data)) / sigma), origin="lower", cmap="gray"
)
left.set_title("enhanced image")
shown = np.zeros(flags.shape)
for level, bit in enumerate((Quality.EDGE, Quality.NEAR_MISSING, Quality.MISSING), 1):
    shown[(flags & bit) != 0] = level
colors = ["#f2f2f2", "#7fb3d5", "#f0b27a", "#b03a2e"]
right.imshow(shown, origin="lower", cmap=ListedColormap(colors), vmin=-0.5, vmax=3.5)
right.set_title("QUALITY")
names = ("no remark", "EDGE", "NEAR_MISSING", "MISSING")
for color, name in zip(colors, names, strict=True):
    right.plot([], [], "s", color=color, markeredgecolor="0.4", label=name)
right.legend(fontsize=8, loc="upper right")
for ax in (left, right):
    ax.set_axis_off()
