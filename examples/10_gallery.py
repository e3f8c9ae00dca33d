"""
Successes and failures, with numbers
====================================

What the enhancer does well and what it does not, on simulated fields whose truth is known.  Each
picture shows input, enhanced image, truth, and the error in units of the noise of an input pixel.
"""

# %%

import warnings

import matplotlib.pyplot as plt
import numpy as np

from splus_srgan import SRGANEnhancer, simulate_field

enhancer = SRGANEnhancer(device="cpu")


def show(field, title, *, observed=None, band="r", **options):
    """Enhance a field, draw it, and say how far off it is."""
    observed = field.observed if observed is None else observed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sharp = enhancer(observed, **options)[band]
    truth, sigma = field.target[band].data, field.sigma[band] / 4
    error = (sharp.data - truth) / sigma
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
    panels = {"input": observed[band].data / 4, "enhanced": sharp.data, "truth": truth}
    for ax, (name, image) in zip(axes, panels.items(), strict=False):
        values = (np.asarray(image) - field.sky[band] / 4) / sigma
        ax.imshow(values, norm="asinh", vmin=-3, vmax=300, cmap="gray", origin="lower")
        ax.set_title(name)
    shown = axes[3].imshow(error, cmap="RdBu_r", vmin=-2, vmax=2, origin="lower")
    axes[3].set_title("enhanced - truth")
    figure.colorbar(shown, ax=axes[3], shrink=0.8)
    figure.suptitle(title)
    for ax in axes:
        ax.set_axis_off()
    rms = np.sqrt(np.nanmean(error**2))
    print(f"rms error {rms:.2f}, 99 % of the pixels within {np.nanquantile(abs(error), 0.99):.2f}")


# %%
# Success: galaxies with structure
# --------------------------------
# Arms and knots come back where the input has the signal.

show(simulate_field((7, 1), shape=(112, 112), kind="cluster"), "three bands, a group of galaxies")

# %%
# Success: nothing stays nothing
# ------------------------------
# Blank sky gives blank sky; sources too faint for the input are missing, not invented.

show(simulate_field((4, 2), shape=(96, 96), kind="blank"), "blank sky")

# %%
# Limit: faint stars
# ------------------
# Bright stars are off by little of their flux, but by many times the noise of a pixel in their
# cores.  Faint ones are smoother than they are, or missing.

crowd = simulate_field((5, 3), shape=(96, 96), kind="stars")
show(crowd, "a crowded field", sky=crowd.sky)

# %%
# Failure: a saturated star
# -------------------------
# What is cut off in the input does not come back.  The pixels are flagged ``SATURATED``.

star = simulate_field((7, 1), shape=(96, 96), kind="cluster")
cut = {}
for band, image in star.observed.items():
    cut[band] = image.copy()
    limit = np.quantile(image.data, 0.985)
    cut[band].data = np.minimum(image.data, limit)
    cut[band].header["SATURATE"] = float(limit)
show(star, "cores of galaxies cut off at a saturation level", observed=cut)

# %%
# Failure: a wrong level of the sky
# ---------------------------------
# Two sigma too high, given by hand: faint light is lost, or made.

wrong = simulate_field((7, 5), shape=(96, 96), kind="cluster")
show(
    wrong,
    "sky given 2 sigma too high",
    sky={band: wrong.sky[band] + 2 * wrong.sigma[band] for band in wrong.sky},
)

# %%
# Failure: noise that is not what it was trained for
# --------------------------------------------------
# Negative pixels set to zero, as in some public cutouts: half of the noise is gone, the rest is
# taken for sources.

clipped = {}
for band, image in wrong.observed.items():
    clipped[band] = image.copy()
    clipped[band].data = np.maximum(image.data, 0)
show(wrong, "negative pixels clipped to zero", observed=clipped)

# %%
# Next
# ----
# :doc:`/user_guide/when_not_to_use` draws the conclusions; the :doc:`model cards
# </model_cards/index>` have the numbers on many fields.
