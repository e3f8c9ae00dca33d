# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The stretch of the shipped weights, and a field seen through it."""

import matplotlib.pyplot as plt
import numpy as np

from splus_srgan import NoiseAsinhStretch, simulate_field

field = simulate_field((7, 1), shape=(96, 96), kind="cluster", bands=("r",))
image, sky, sigma = field.observed["r"].data, field.sky["r"], field.sigma["r"]
stretch = NoiseAsinhStretch(sky=sky, sigma=sigma, softening=3.0, range=8.0)
figure, (curve, linear, shown) = plt.subplots(1, 3, figsize=(9, 3), width_ratios=(1.2, 1, 1))
snr = np.concatenate([-np.geomspace(30, 0.1, 100), np.geomspace(0.1, 1e4, 200)])
curve.plot(snr, stretch(sky + sigma * snr))
curve.plot(snr, snr / 24, "--", color="0.6")
curve.set_xscale("symlog", linthresh=10)
curve.set_xticks([-10, 0, 10, 100, 1000, 10000])
curve.set(xlabel="(x - sky) / sigma", ylabel="stretched value y", ylim=(-0.6, 1.2))
for ax, shown_image, title in (
    (linear, image, "linear"),
    (shown, stretch(image), "stretched"),
):
    ax.imshow(shown_image, origin="lower", cmap="gray")
    ax.set_title(title)
    ax.set_axis_off()
