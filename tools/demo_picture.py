# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Draw docs/_static/demo.png, the picture of README and index: a simulated field, before and after.

    python tools/demo_picture.py
"""

import warnings
from pathlib import Path

import numpy as np
from astropy.visualization import ManualInterval, make_rgb
from astropy.visualization.stretch import AsinhStretch
from matplotlib.figure import Figure
from PIL import Image

from splus_srgan import SRGANEnhancer, simulate_field

PICTURE = Path(__file__).parents[1] / "docs" / "_static" / "demo.png"
USUAL_COLOR = {"g": 0.6, "r": 1.0, "z": 1.6}  # relative fluxes that come out white


def color(field, images):
    """A color picture; ``images`` per band, in ADU per pixel of the input's size."""
    planes = [
        (images[b] - field.sky[b]) / field.conditions[b].adu_per_nmgy / USUAL_COLOR[b]
        for b in ("z", "r", "g")
    ]
    noise = np.mean([field.conditions[b].sigma / USUAL_COLOR[b] for b in "grz"])
    interval = ManualInterval(-1.5 * noise, 60 * noise)
    return make_rgb(*planes, interval=interval, stretch=AsinhStretch(0.06))


def main():
    """Simulate, enhance and draw."""
    field = simulate_field((7, 1), shape=(160, 160), kind="cluster")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sharp = SRGANEnhancer(device="cpu", precision="float32")(field.observed)
    panels = {
        "as S-PLUS sees it, 0.55\u2033 pixels": {b: field.observed[b].data for b in "grz"},
        "enhanced, 0.275\u2033 pixels": {b: 4 * sharp[b].data for b in "grz"},
        "truth": {b: 4 * field.target[b].data for b in "grz"},
    }
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for ax, (title, images) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        ax.imshow(color(field, images), origin="lower", interpolation="nearest")
        ax.set_title(title, fontsize=10)
        ax.set_axis_off()
    figure.savefig(PICTURE, dpi=110)
    with Image.open(PICTURE) as picture:
        picture.convert("RGB").quantize(128).save(PICTURE, optimize=True)
    print(f"wrote {PICTURE}: {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
