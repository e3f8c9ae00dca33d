# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Profiles of a star: in the input, in the output, and without wings."""

import matplotlib.pyplot as plt
import numpy as np

from splus_srgan.pixels.psf import psf_image

STEP = 0.1  # arcsec
radius = 120
r = np.arange(radius) * STEP
figure, (core, growth) = plt.subplots(1, 2, figsize=(8, 3.2))
for label, fwhm, beta, wings, style in (
    ("input: FWHM 1.5\u2033, with wings", 1.5, 3.0, 0.28, "C0-"),
    ("output: FWHM 1.0\u2033, the same wings", 1.0, 3.0, 0.28, "C3-"),
    ("Moffat of 1.0\u2033 alone", 1.0, 3.0, 0.0, "C7--"),
):
    image = psf_image((fwhm, beta, wings), pixel_scale=STEP, radius=radius)
    y, x = np.indices(image.shape) - radius
    distance = np.hypot(y, x) * STEP
    core.semilogy(r, image[radius, radius:][: len(r)] / image.max(), style, label=label)
    growth.plot(r, [image[distance <= one].sum() for one in r], style, label=label)
core.set(xlabel="radius (arcsec)", ylabel="surface brightness, peak = 1", ylim=(1e-4, 1.5))
growth.set(xlabel="aperture radius (arcsec)", ylabel="share of the light", ylim=(0, 1.02))
growth.axvline(3, color="0.7", lw=1)
growth.axvline(6, color="0.7", lw=1)
growth.legend(fontsize=8, loc="lower right")
