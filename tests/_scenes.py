# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Scenes drawn with GalSim, whose truth is known, and ways to break an output."""

import numpy as np
import pytest
from astropy.table import Table
from scipy import ndimage

from splus_srgan.evaluation.compared import ComparedBand, ComparedField
from splus_srgan.images.header import wing_share_from_header
from splus_srgan.pixels.psf import psf_image

PSF, SHARP = (1.4, 3.0), (1.0, 3.0)
SCALE = 0.55


def draw(shape, sources, psf, *, factor=1):
    """Stars and exponential discs by GalSim, on the coarse or the fine grid."""
    galsim = pytest.importorskip("galsim")
    scale = SCALE / factor
    image = galsim.ImageD(factor * shape[1], factor * shape[0], scale=scale)
    center = image.true_center
    for row in sources:
        model = galsim.Moffat(beta=psf[1], fwhm=psf[0], flux=float(row["flux_r"]))
        if row["kind"] != "star":
            disc = galsim.Exponential(half_light_radius=float(row["size"]))
            model = galsim.Convolve(disc.shear(g1=0.2, g2=0.1), model)
        offset = (factor - 1) / 2
        # GalSim counts from 1 and from the center of the image.
        x = factor * row["x"] + offset + 1 - center.x
        y = factor * row["y"] + offset + 1 - center.y
        # The PSF holds the response of the pixel.
        model.drawImage(image, offset=(x, y), method="no_pixel", add_to_image=True)
    return image.array


def star_list(shape=(138, 138), *, spacing=44, flux=2000.0, seed=1, kind="star"):
    """Isolated sources on a wide raster, at random fractions of a pixel."""
    rng = np.random.default_rng(seed)
    first = 25  # the annulus against the input needs 12.6 arcsec
    y, x = np.mgrid[first : shape[0] : spacing, first : shape[1] : spacing].astype(float)
    n = x.size
    table = Table({"x": x.ravel() + rng.uniform(-0.5, 0.5, n)})
    table["y"] = y.ravel() + rng.uniform(-0.5, 0.5, n)
    table["kind"] = np.full(n, kind, "U8")
    table["size"] = np.zeros(n) if kind == "star" else np.full(n, 1.2)
    table["flux_r"] = flux * rng.uniform(1.0, 3.0, n)
    return table


def scene(sources, *, shape=(138, 138), sigma=1.0, seed=2, electrons=0.0, **keywords):
    """A band whose output is the truth."""
    truth = draw(shape, sources, SHARP, factor=2)
    seen = draw(shape, sources, PSF)
    rng = np.random.default_rng(seed)
    noise = np.sqrt(sigma**2 + (seen.clip(0) / electrons if electrons else 0))
    image = seen + noise * rng.standard_normal(shape)
    band = ComparedBand(
        "r",
        image,
        truth.copy(),
        sigma,
        target=truth,
        psf=PSF,
        electrons=electrons,
        mask=seen > 2.5 * sigma,
    )
    for name, value in keywords.items():
        setattr(band, name, value)
    return band


def broken(band, how):
    """The band with a deliberately broken output."""
    output = np.array(band.target)
    if how == "flux":
        output *= 1.02
    elif how == "shift":
        output = np.fft.irfft2(
            ndimage.fourier_shift(np.fft.rfft2(output), (0, 0.2), n=output.shape[1]),
            s=output.shape,
        )
    elif how == "blurred":
        output = ndimage.gaussian_filter(output, 1.2)
    elif how == "invented":
        output += star(output.shape, 94, 138, 150 * band.sigma)
    elif how == "removed":
        output[:94, :94] = 0
    elif how != "clean":
        raise ValueError(how)
    return replaced(band, output)


def replaced(band, output):
    """The band with another output."""
    return ComparedBand(
        band.name,
        band.input,
        output,
        band.sigma,
        target=band.target,
        noise_free=band.noise_free,
        electrons=band.electrons,
        bad=band.bad,
        mask=band.mask,
        psf=band.psf,
        output_psf=band.output_psf,
        target_psf=band.target_psf,
    )


def world(bands, sources=None, *, name="scene"):
    """A field of bands, or of a single one, with its sources."""
    bands = bands if isinstance(bands, dict) else {bands.name: bands}
    field = ComparedField(name, bands)
    if sources is not None:
        field.sources = sources
    return field


def only(table):
    """The single row of a table, as plain numbers by name."""
    (row,) = table
    return {name: row[name] for name in table.colnames}


def star(shape, x, y, flux):
    """A star on the fine grid, in fine pixels."""
    yy, xx = np.indices(shape)
    alpha = SHARP[0] / (SCALE / 2) / (2 * np.sqrt(2 ** (1 / SHARP[1]) - 1))
    profile = (1 + ((xx - x) ** 2 + (yy - y) ** 2) / alpha**2) ** -SHARP[1]
    return flux * profile / profile.sum()


def verdicts(checks):
    """Name of each check -> whether it passed."""
    return {check.name: check.passed for check in checks}


def upsampled(image):
    """An image on the grid that is twice as fine, by splines; flux per pixel is shared."""
    return ndimage.zoom(np.asarray(image, float), 2, order=3, grid_mode=True, mode="nearest") / 4


def oracle(pair, change=None):
    """
    An enhanced image that is the target of a simulated pair, with the cards of an enhancer.

    ``change`` takes the pixels of a band, its sigma per fine pixel, and its name.
    """
    output = {}
    for band, target in pair.target.items():
        image = target.copy()
        if change is not None:
            image.data = np.array(change(np.array(image.data, float), pair.sigma[band] / 4, band))
        image.meta = dict(pair.input[band].meta)
        image.meta |= {"SRSKY": 0.0, "SRSIGMA": pair.sigma[band], "SRMODEL": "oracle"}
        psf = (*SHARP, wing_share_from_header(image.meta))
        image.psf = psf_image(psf, pixel_scale=SCALE / 2, radius=40)
        output[band] = image
    return output
