# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What the flux anchor multiplies by, and the fluxes with and without it."""

import warnings

import matplotlib.pyplot as plt
import numpy as np

from splus_srgan import SRGANEnhancer, simulate_field

field = simulate_field((7, 1), shape=(112, 112), kind="cluster", bands=("r",))
made = {}
for anchor in (0, 1):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        enhancer = SRGANEnhancer(device="cpu", precision="float32", flux_anchor=anchor)
        made[anchor] = enhancer(field.observed)["r"]
sky, sigma = field.sky["r"] / 4, field.sigma["r"] / 4
flux = made[0].data - sky
factor = np.where(np.abs(flux) > 2 * sigma, (made[1].data - sky) / flux, 1.0)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
left.imshow(np.arcsinh(flux / sigma), origin="lower", cmap="gray")
left.set_title("enhanced, without the anchor")
shown = right.imshow(factor, origin="lower", cmap="RdBu_r", vmin=0.95, vmax=1.05)
right.set_title("factor of the anchor")
figure.colorbar(shown, ax=right, shrink=0.8)
for ax in (left, right):
    ax.set_axis_off()
