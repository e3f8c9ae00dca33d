"""
A whole field, and many fields
==============================

A field of a survey is larger than the memory, and there are thousands.  One field goes from file to
file, section by section; many go one after the other, each whole or not there.
"""

# %%
# Files of a field
# ----------------
# A field of 11000 x 11000 pixels would work in the same way; this one is small, to be quick.

import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits

from splus_srgan import SRGANEnhancer, read_bands, simulate_field

folder = Path(tempfile.mkdtemp())
for name, seed in (("field_1", 11), ("field_2", 12)):
    field = simulate_field((7, seed), shape=(150, 180), bands=("g", "r"), kind="cluster").observed
    for band, image in field.items():
        image.write(folder / f"{name}_{band}.fits")
print(sorted(path.name for path in folder.iterdir()))

# %%
# From file to file
# -----------------
# `~splus_srgan.enhance.enhancer.SRGANEnhancer.to_file` takes the space on the disk first, measures
# sky and noise on the whole field, and then writes section after section.  The file lies beside its
# place under another name until it is complete.

enhancer = SRGANEnhancer("splus-any", device="cpu")
for name in ("field_1", "field_2"):
    target = folder / f"{name}_sr.fits"
    if target.exists():  # a second run goes on with what is missing
        continue
    field = read_bands(sorted(folder.glob(f"{name}_?.fits")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        enhancer.to_file(field, target)
    print(target.name, f"{target.stat().st_size / 1e6:.1f} MB")

# %%
# The loop is all that it takes for many fields on one machine; on several, give each its own part
# of the list.  On the command line a field is ``splus-srgan enhance G.fits R.fits -o out/``.

with fits.open(folder / "field_1_sr.fits") as file:
    for hdu in file[1:]:
        print(hdu.name, hdu.ver, hdu.shape)

# %%
# Blocks give the result of the whole image
# -----------------------------------------
# Each block is computed with as much around it as has a say in it.  In float32 and without the flux
# anchor, the size of the blocks does not change a bit:

image = read_bands(folder / "field_1_r.fits")["r"]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    options = {"device": "cpu", "precision": "float32", "engine": "torch", "flux_anchor": 0}
    whole = SRGANEnhancer("splus-any", block_size=180, **options)(image)
    blocks = SRGANEnhancer("splus-any", block_size=96, **options)(image)
print("largest difference:", np.abs(whole.data - blocks.data).max())

# %%

sharp = read_bands(folder / "field_1_sr.fits")["r"]
level, sigma = sharp.meta["SRSKY"], sharp.meta["SRSIGMA"]
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for ax, data, title in zip(axes, (image.data, 4 * sharp.data), ("input", "output"), strict=True):
    ax.imshow((data - level) / sigma, norm="asinh", vmin=-3, vmax=300, cmap="gray", origin="lower")
    ax.set_title(f"{title}: {data.shape[0]} x {data.shape[1]}")
    ax.set_axis_off()

# %%
# Next
# ----
# :doc:`/getting_started/what_it_costs` says what large fields take.
