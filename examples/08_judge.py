"""
Judge one image: accept or reject
=================================

May this image be measured on?  The answer for one image, with its input and without a truth, and
what it looks like when something is wrong.
"""

# %%
# An image that was enhanced
# --------------------------

import copy
import warnings

import matplotlib.pyplot as plt
import numpy as np

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.evaluation import EvaluationPair, evaluate_images

field = simulate_field((5, 3), shape=(128, 128), kind="cluster", bands=("r",))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sharp = SRGANEnhancer(device="cpu")(field.observed)


def judge(output):
    """What the checks say without a truth."""
    pair = EvaluationPair("image", field.observed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluate_images(output, pair=pair)


good = judge(sharp)
print(good.summary())

# %%
# *Not measured* is no praise: one image has few stars, and what cannot be judged is not called
# safe.
#
# The same image, damaged
# -----------------------
# A quarter of it is 8 % too bright.

data = np.array(sharp["r"].data)
half = data.shape[0] // 2
sigma = sharp["r"].header["SRSIGMA"] / 4
data[:half, :half] *= 1.08
damaged = {"r": copy.deepcopy(sharp["r"])}
damaged["r"].data = data.astype(np.float32)
bad = judge(damaged)
print(bad.headline)
for verdict in bad.verdict.values():
    for check in verdict.failed:
        print(f"  {verdict.topic}: {check.name} = {check.value:.3g}, limit {check.limit}")

# %%
# By eye there is nothing to see, which is why it is measured:

figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
level = sharp["r"].header["SRSKY"] / 4
for ax, image, title in zip(
    axes[:2], (sharp["r"].data, data), ("as it came", "damaged"), strict=True
):
    ax.imshow((image - level) / sigma, norm="asinh", vmin=-3, vmax=300, cmap="gray", origin="lower")
    ax.set_title(title)
shown = axes[2].imshow(
    (data - sharp["r"].data) / sigma, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower"
)
axes[2].set_title("difference (noise of the input)")
figure.colorbar(shown, ax=axes[2], shrink=0.8)
for ax in axes:
    ax.set_axis_off()

# %%
# The rule
# --------
# - *Safe for photometry* or *for astrometry* is a statement about the input's accuracy: fluxes
#   agree within 0.01 mag in the median, stars lie within 0.05 pixels.
# - What fails says why; see :doc:`/user_guide/evaluate` for each check.
# - The same from the command line, with a page to look at::
#
#       splus-srgan evaluate tile_sr.fits --input tile_g.fits tile_r.fits -o report
#
# Next
# ----
# :doc:`10_gallery` shows where the enhancer fails.
