"""
Photometry with photutils on an enhanced image
==============================================

Fluxes of sources with photutils: find them, measure them in apertures, leave out what is flagged,
and take the errors from where they can be trusted.  The field is simulated, so each flux can be
compared with the true one.
"""

# %%
# A crowded field
# ---------------

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import QTable
from photutils.aperture import CircularAnnulus, CircularAperture, aperture_photometry
from photutils.segmentation import SourceCatalog, SourceFinder
from scipy.spatial import KDTree

from splus_srgan import Quality, SRGANEnhancer, simulate_field

simulated = simulate_field((5, 3), shape=(192, 192), bands=("r",), kind="stars")
image = simulated.observed["r"]

# %%
# Where stars are this close no piece of sky is blank, and its level has to be known from elsewhere,
# such as the whole tile that a cutout was taken from.

sharp = SRGANEnhancer(device="cpu")(image, sky=simulated.sky["r"])
header = sharp.header

# %%
# Find sources with the noise of the input
# ----------------------------------------
# The sky of an enhanced image is so smooth that its own scatter says nothing.  What decides is
# the noise that was there before: ``SRSIGMA``, per *input* pixel, a quarter of it per output
# pixel.  ``SRFSKY`` is the level of the sky, likewise per input pixel.

sky, sigma = header["SRFSKY"] / 4, header["SRSIGMA"] / 4
data = sharp.data - sky
finder = SourceFinder(n_pixels=8, progress_bar=False)
segments = finder(data, 3 * sigma)
found = SourceCatalog(data, segments)
x, y = found.x_centroid, found.y_centroid
print(len(x), "sources")

# %%
# Leave out what is flagged
# -------------------------
# ``EDGE`` says that what lies beyond the border of the image could change the value by more than a
# tenth of its uncertainty, ``SATURATED`` that the flux is lost, ``MISSING`` that there was none.
# For a measurement take none of the pixels of the last two within the aperture.

bad = (sharp.flags & (Quality.MISSING | Quality.SATURATED | Quality.EXTRAPOLATED)) != 0
edge = (sharp.flags & Quality.EDGE) != 0
print(f"bad: {100 * bad.mean():.2f} %, edge: {100 * edge.mean():.1f} % of the pixels")

# %%
# Measure
# -------
# The sharper image has more light within a small radius than the input, since its PSF is narrower:
# apertures of 3 arcsec (11 output pixels) compare with the truth, which has the same PSF.  The
# truth itself is measured in the same way, so that neighbours and sky count alike.

RADIUS = 3.0 / 0.275
near = KDTree(np.transpose([x, y])).query_ball_point(np.transpose([x, y]), 2 * RADIUS)
alone = np.array([len(one) == 1 for one in near])
inside = (x > 30) & (x < data.shape[1] - 30) & (y > 30) & (y < data.shape[0] - 30)
good = alone & inside
apertures = CircularAperture(np.transpose([x, y])[good], RADIUS)
rings = CircularAnnulus(apertures.positions, 5 / 0.275, 8 / 0.275)
hit = aperture_photometry(bad.astype(float), apertures)["aperture_sum"] > 0


def fluxes(pixels):
    """Sums in the apertures, less the median of a ring."""
    level = [np.median(m.get_values(pixels)) for m in rings.to_mask(method="center")]
    sums = aperture_photometry(pixels, apertures)["aperture_sum"]
    return np.asarray(sums - np.array(level) * apertures.area)


made, true = fluxes(data), fluxes(np.asarray(simulated.target["r"].data, float))

# %%
# Errors
# ------
# The scatter of enhanced pixels is not the error of their sum, for they are correlated.  What the
# input knows of a flux is in the input: the same apertures put on its empty sky scatter by this
# much.

from splus_srgan.evaluation import aperture_noise_curve

blank = simulate_field((5, 4), shape=(192, 192), bands=("r",), kind="blank").observed["r"].data
curve = aperture_noise_curve(blank - np.median(blank), [3.0 / 0.55])
error = float(curve["sigma"][0]) * simulated.sigma["r"] / np.std(blank)
table = QTable(
    {
        "x": x[good],
        "y": y[good],
        "flux": made,
        "true": true,
        "S/N": true / error,
        "offset (mag)": 2.5 * np.log10(np.maximum(made, 1e-9) / np.maximum(true, 1e-9)),
    }
)[~np.asarray(hit)]
table.sort("S/N", reverse=True)
for name in table.colnames:
    table[name].info.format = ".3f" if "mag" in name else ".1f"
table[:12].pprint()

# %%
# Of bright sources the offset is a small fraction of a magnitude; of faint ones it is the noise of
# the input that decides, which no enhancement undoes: the curves are one error of the input.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
left.imshow(data / sigma, norm="asinh", vmin=-3, vmax=300, cmap="gray", origin="lower")
left.contour(edge, levels=[0.5], colors="C0", linewidths=1)
apertures.plot(ax=left, color="C1")
left.set_title("isolated sources; blue: border of the EDGE flag")
left.set_axis_off()
right.semilogx(table["S/N"], table["offset (mag)"], "o", ms=4)
snr = np.geomspace(5, max(table["S/N"]), 50)
right.fill_between(snr, -1.086 / snr, 1.086 / snr, color="0.85")
right.set(xlabel="S/N in the input", ylabel="made - true (mag, positive is too bright)")
right.set_ylim(-0.3, 0.3)
right.axhline(0, color="0.5", lw=1)
bright = table[table["S/N"] > 20]
median = 1000 * np.median(bright["offset (mag)"])
print(f"{len(bright)} with S/N > 20: median offset {median:+.0f} mmag")

# %%
# What to state in a paper
# ------------------------
# - the version of the package, and name and version of the weights (``SRVERS``, ``SRMODEL``,
#   ``SRMODVER``);
# - that sources were detected on the input, or confirmed there;
# - the radius of the apertures, and to which PSF the images were brought;
# - the offset and the scatter that were measured (:doc:`/user_guide/weights`), beside your own
#   errors;
# - which flags were left out.

for key in ("SRVERS", "SRMODEL", "SRMODVER"):
    print(key, header[key])

# %%
# Next
# ----
# :doc:`08_judge` says whether one image is fit to be measured at all;
# :doc:`/user_guide/photometry` has ready-made comparisons.
