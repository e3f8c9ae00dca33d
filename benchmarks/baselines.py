# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Classical ways to a finer, less noisy image, as strong as we can make them.

Each takes a stack ``(n_band, ny, nx)`` with its **true** sky and sigma, denoises it
and interpolates it with cubic splines onto the 2x grid.  Denoising works in noise
units, ``y = arcsinh((x - sky) / (3 sigma))``, where the sky has a standard deviation
of 1/3 and bright sources keep their contrast.  Strength and variant are chosen on
validation fields (`GRIDS`, `TUNED`), by the mean PSNR.
"""

from functools import partial
from itertools import product

import numpy as np
from scipy import ndimage

SOFTENING = 3.0
SIGMA = 1 / SOFTENING  # standard deviation of the sky in noise units


def _grid(**values):
    return [dict(zip(values, row, strict=True)) for row in product(*values.values())]


GRIDS = {
    "bicubic": [{}],
    "Gaussian": _grid(width=(0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5), space=("linear", "noise")),
    "wavelet": _grid(
        rule=("BayesShrink", "VisuShrink"), strength=(0.5, 0.75, 1.0, 1.3), basis=("db2", "sym4")
    ),
    "NL-means": _grid(strength=(0.5, 0.65, 0.8, 1.0), patch=(3, 5)),
    "NL-means, joint": _grid(strength=(0.5, 0.65, 0.8, 1.0), patch=(3, 5)),
    "BM3D": _grid(strength=(1.0, 1.2, 1.4, 1.7)),
    "BM3D, joint": _grid(strength=(1.0, 1.2, 1.4, 1.7)),
}
"""What ``quality.py --tune N`` tries on validation fields."""

TUNED = {
    "bicubic": {},
    "Gaussian": {"width": 0.85, "space": "noise"},
    "wavelet": {"rule": "BayesShrink", "strength": 1.0, "basis": "db2"},
    "NL-means": {"strength": 0.8, "patch": 3},
    "NL-means, joint": {"strength": 0.8, "patch": 3},
    "BM3D": {"strength": 1.2},
    "BM3D, joint": {"strength": 1.2},
}
"""The best of `GRIDS` on validation fields."""

JOINT = ("NL-means, joint", "BM3D, joint")
"""Methods that look at all bands at once, as a three-band card does."""


def upsample(image):
    """Cubic spline interpolation: output ``2 i + 0.5`` is at the centre of input pixel ``i``."""
    return ndimage.zoom(image, (1, 2, 2), order=3, mode="nearest", grid_mode=True)


def gaussian(image, *, width):
    """Blur with a Gaussian of a standard deviation of ``width`` pixels."""
    return ndimage.gaussian_filter(image, (0, width, width))


def wavelet(image, *, rule, strength, basis):
    """Soft thresholds of wavelets (skimage), averaged over 4 x 4 shifts against artefacts."""
    from skimage.restoration import denoise_wavelet

    run = partial(
        denoise_wavelet,
        sigma=strength * SIGMA,
        method=rule,
        wavelet=basis,
        mode="soft",
        rescale_sigma=False,
    )
    total = np.zeros_like(image)
    for plane, out in zip(image, total, strict=True):
        padded = np.pad(plane, 4, mode="symmetric")
        for dy, dx in product(range(4), repeat=2):
            clean = np.roll(run(np.roll(padded, (dy, dx), (0, 1))), (-dy, -dx), (0, 1))
            out += clean[4:-4, 4:-4] / 16
    return total


def nl_means(image, *, strength, patch, joint=False):
    """Non-local means (skimage); ``joint`` compares the patches of all bands at once."""
    from skimage.restoration import denoise_nl_means

    run = partial(
        denoise_nl_means,
        patch_size=patch,
        patch_distance=8,
        h=strength * SIGMA,
        sigma=SIGMA,
        fast_mode=True,
    )
    if joint:
        return run(image, channel_axis=0)
    return np.stack([run(plane) for plane in image])


def bm3d(image, *, strength, joint=False):
    """BM3D; ``joint`` matches blocks of three bands in their mean, as for color images."""
    import bm3d as package

    if joint:
        result = package.bm3d_rgb(np.moveaxis(image, 0, -1), strength * SIGMA)
        return np.moveaxis(result, -1, 0)
    return np.stack([package.bm3d(plane, strength * SIGMA) for plane in image])


_DENOISERS = {
    "wavelet": wavelet,
    "NL-means": nl_means,
    "NL-means, joint": partial(nl_means, joint=True),
    "BM3D": bm3d,
    "BM3D, joint": partial(bm3d, joint=True),
}


def run(method, images, sky, sigma, **parameters):
    """
    Denoise and interpolate.

    Parameters
    ----------
    method : str
        One of `GRIDS`.
    images : `~numpy.ndarray`, shape (n_band, ny, nx)
        Flux per pixel.
    sky, sigma : array-like, shape (n_band,)
        True sky and its noise, in the unit of the images.
    **parameters
        An entry of `GRIDS`.

    Returns
    -------
    fine : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        Flux per finer pixel (a quarter), without the sky.
    """
    sky, sigma = (np.asarray(v, float)[:, None, None] for v in (sky, sigma))
    flux = np.asarray(images, float) - sky
    if method == "bicubic":
        return upsample(flux) / 4
    if method == "Gaussian" and parameters["space"] == "linear":
        return upsample(gaussian(flux, width=parameters["width"])) / 4
    noise_units = np.arcsinh(flux / (SOFTENING * sigma))
    if method == "Gaussian":
        clean = gaussian(noise_units, width=parameters["width"])
    else:
        clean = _DENOISERS[method](noise_units, **parameters)
    # Interpolated in noise units, splines do not ring around stars.
    return SOFTENING * sigma * np.sinh(upsample(clean)) / 4
