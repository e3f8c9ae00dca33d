# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A bright star as observed, generated, fitted, and in truth, and what is left of each."""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from splus_srgan import SRGANEnhancer, simulate_field

field = simulate_field((7, 4), shape=(96, 96), kind="stars", bands=("r",))
image, truth = field.observed["r"], field.target["r"].data
made = {}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for name, fitted in (("generated", False), ("fitted", True)):
        enhancer = SRGANEnhancer(device="cpu", precision="float32", fit_stars=fitted)
        made[name] = enhancer(image, sky=field.sky["r"])
shown = (made["fitted"].flags & 128) != 0
y, x = np.unravel_index(np.argmax(np.where(shown, truth, 0)), truth.shape)
y, x = (int(np.clip(value, 20, 171)) for value in (y, x))
cut = np.s_[y - 20 : y + 21, x - 20 : x + 21]
sigma = field.sigma["r"] / 4
images = {name: one.data - field.sky["r"] / 4 for name, one in made.items()} | {"truth": truth}
figure, axes = plt.subplots(2, 3, figsize=(7.5, 5.2))
for column, (name, one) in enumerate(images.items()):
    axes[0, column].imshow(np.arcsinh(one[cut] / sigma), origin="lower", cmap="gray")
    axes[0, column].set_title(name)
    if name != "truth":
        off = (one - truth)[cut] / truth[cut].max()
        axes[1, column].imshow(off, origin="lower", cmap="RdBu", vmin=-0.05, vmax=0.05)
        axes[1, column].set_title(f"{name} - truth\n(blue and red: 5 % of the peak)", fontsize=9)
axes[1, 2].imshow(
    (made["fitted"].flags[cut] & 128) != 0, origin="lower", cmap="gray_r", vmin=0, vmax=2
)
axes[1, 2].set_title("FITTED_STAR", fontsize=9)
for ax in axes.ravel():
    ax.set_axis_off()
