"""
From coordinates to matched pairs
=================================

To train on real images, or to compare with a deeper survey, both have to show the same sky on the
same grid.  `~splus_srgan.pairs.folder.pairs.fetch_pairs` takes a list of positions, gets the images
of both surveys, registers and matches them, judges each pair, and goes on where it was stopped.

The two surveys are here a small server on this machine, which answers with simulated images.
"""

# %%
# A survey service on this machine
# --------------------------------
# It answers ``/input/NAME`` with an image as S-PLUS has it, and ``/target/NAME`` with a deeper and
# sharper one.

import io
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import matplotlib.pyplot as plt
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import Table

from splus_srgan import simulate_field
from splus_srgan.pairs import fetch_pairs

FIELDS = {
    name: simulate_field((7, seed), shape=(96, 96), kind="cluster", bands=("r",))
    for name, seed in {"one": 1, "two": 5, "three": 8}.items()
}


def as_fits(kind, name):
    """The bytes of an image; half of the target 'three' is missing."""
    field = FIELDS[name]
    image = (field.observed if kind == "input" else field.target)["r"]
    data = np.array(image.data, np.float32)
    if kind == "target":
        data += np.random.default_rng(1).normal(0, 0.02 * field.sigma["r"], data.shape)
        if name == "three":  # half of the frame is missing there
            data[: len(data) // 2] = np.nan
    stream = io.BytesIO()
    header = image.wcs.to_header() if kind == "target" else image.header
    fits.PrimaryHDU(data.astype(np.float32), header=fits.Header(header)).writeto(stream)
    return stream.getvalue()


class Service(BaseHTTPRequestHandler):
    """Answers with FITS files."""

    def do_GET(self):
        """One image."""
        content = as_fits(*self.path.strip("/").split("/"))
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Say nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"

# %%
# A list of positions, and a source for each survey
# -------------------------------------------------
# A source is any function that takes a position and gives the images of all bands.  For the real
# surveys they exist: ``splus-srgan fetch galaxies.ecsv -o pairs/`` puts them together, see
# :doc:`/user_guide/pairs`.

centers = {
    name: field.observed["r"].wcs.pixel_to_world(47.5, 47.5) for name, field in FIELDS.items()
}
galaxies = Table(
    {
        "name": list(centers),
        "ra": [center.ra.deg for center in centers.values()],
        "dec": [center.dec.deg for center in centers.values()],
    }
)


def source(kind):
    """A function from a position to images."""

    def fetch(position):
        nearest = min(centers, key=lambda name: SkyCoord(centers[name]).separation(position))
        with urlopen(f"{address}/{kind}/{nearest}", timeout=10) as answer:
            content = io.BytesIO(answer.read())
        image = CCDData.read(content, unit="adu")
        image.mask = ~np.isfinite(image.data)
        return {"r": image}

    return fetch


# %%
# Fetch, match, judge
# -------------------

folder = Path(tempfile.mkdtemp()) / "pairs"
pairs = fetch_pairs(galaxies, folder, input_source=source("input"), target_source=source("target"))
server.shutdown()
for row in pairs.index:
    print(f"{row['name']:6} {row['verdict']:7} {row['reasons']}")

# %%
# ``index.ecsv`` has all that was measured; a rejected pair stays in it with its reason and is not
# trained on.

pairs.index["name", "verdict", "shift_x_r", "shift_y_r", "flux_ratio_r"].pprint(max_width=-1)

# %%
# The pairs
# ---------

shown = [(name, *pairs.load(name)) for name in pairs.index["name"] if name in dict(pairs.items())]
figure, axes = plt.subplots(2, len(shown), figsize=(3.4 * len(shown), 6.6), layout="constrained")
for column, (name, image, target) in zip(axes.T, shown, strict=True):
    sigma = FIELDS[name].sigma["r"]
    for ax, one, factor in zip(column, (image["r"], target["r"]), (1, 4), strict=True):
        values = factor * one.data / sigma
        ax.imshow(
            values - np.nanmedian(values),
            norm="asinh", vmin=-3, vmax=300, cmap="gray", origin="lower",
        )  # fmt: skip
        ax.set_axis_off()
    column[0].set_title(f"{name}: input")
    column[1].set_title("target, on its grid")

# %%
# Next
# ----
# A folder of pairs is what ``splus-srgan train --data.source pairs/`` takes: :doc:`06_train`.
