# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""How far one input pixel reaches, measured: the output with and without it."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from splus_srgan.models.weights import load_card, load_generator

generator = load_generator(load_card("splus-any")).eval()
reach = generator.receptive_field_radius
n = 2 * reach + 21
y, x = np.mgrid[:n, :n] - n // 2
disc = 0.3 * np.exp(-np.hypot(y, x) / 12)
image = torch.from_numpy(disc[None, None].astype(np.float32))
changed = image.clone()
changed[0, 0, n // 2, n // 2] += 0.02
with torch.inference_mode():
    difference = (generator(changed) - generator(image))[0, 0].abs().numpy()
difference /= difference.max()
half = (np.arange(2 * n) - n + 0.5) / 2
figure, (image_ax, profile) = plt.subplots(1, 2, figsize=(8, 3.3))
shown = image_ax.imshow(
    np.log10(difference + 1e-9),
    origin="lower",
    extent=(half[0], half[-1], half[0], half[-1]),
    vmin=-7,
    vmax=0,
    cmap="magma",
)
figure.colorbar(shown, ax=image_ax, label="log10 of the relative change")
image_ax.set(
    xlabel="input pixels", ylabel="input pixels", title="change of the output by one pixel"
)
profile.semilogy(half, np.median(difference[n - 5 : n + 5], axis=0) + 1e-9)
for side in (-1, 1):
    profile.axvline(side * reach, color="0.6", ls="--")
profile.set(xlabel="distance (input pixels)", ylabel="relative change", ylim=(1e-7, 2))
profile.set_title(f"dashed: reach of {reach} pixels")
