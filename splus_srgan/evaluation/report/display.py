# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Images for the eye: one stretch and one color balance for all panels of a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import block_replicate

from splus_srgan.pixels.fine_grid import FACTOR
from splus_srgan.pixels.picture import color_picture
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.utils.types import FloatArray, Images

__all__ = ["Panels", "color_weights", "field_panels", "picture", "white_level"]

_BLACK = -1.0  # sky units
_BRIGHT = 5.0  # sky units, of pixels that tell the usual color
_FEWEST = 20  # of them


@dataclass
class Panels:
    """
    A field as the panels of a figure show it, in sky units.

    Parameters
    ----------
    name : str
        Name of the field.
    images : dict of str to `~numpy.ndarray`, shape (n_band, ny, nx)
        Label to image, all on the output's grid.
    pixel_scale : float or None
        Arcsec per pixel; `None` where it is not known.
    flux : `~numpy.ndarray` or None, shape (n_band,)
        Nanomaggies of 1 sky unit; `None` where they are not known.
    bands : tuple of str, optional
        Names of the bands, for fields that differ in them.
    """

    name: str
    images: dict
    pixel_scale: float | None = None
    flux: np.ndarray | None = None
    bands: tuple[str, ...] = ()


def field_panels(pair: EvaluationPair, output: Images, *, labels: Sequence[str]) -> Panels:
    """
    Bring input, output and target of a field to one unit and one grid.

    Parameters
    ----------
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Field.
    output : mapping of str to `~astropy.nddata.CCDData`
        Its enhanced image.
    labels : tuple of str
        Labels of input, output and target.

    Returns
    -------
    panels : `Panels`
        Without a target, two images.
    """
    from splus_srgan.evaluation.comparison import compare_field

    bands = list(compare_field(pair, output).bands.values())
    images = {
        labels[0]: [
            block_replicate(present(b.input) / b.sigma, FACTOR, conserve_sum=False) for b in bands
        ],
        labels[1]: [FACTOR**2 * b.output / b.sigma for b in bands],
    }
    if pair.target is not None:
        images[labels[2]] = [FACTOR**2 * present(b.target) / b.sigma for b in bands]
    known = next(iter(pair.input.values())).wcs is not None
    scale = bands[0].fine_scale if known else None
    panels = {label: np.array(one) for label, one in images.items()}
    return Panels(pair.name, panels, scale, _flux(bands), tuple(band.name for band in bands))


def color_weights(panels: Sequence[Panels]) -> list[FloatArray]:
    """
    Factors per band for each field, which make the usual bright pixel white.

    Where the flux scale of all fields of the same bands is known, one balance serves them all, and
    colors can be compared between fields; otherwise each field has its own.
    """
    weights: dict[int, FloatArray] = {}
    for bands in dict.fromkeys(one.bands for one in panels):
        places = [k for k, one in enumerate(panels) if one.bands == bands]
        weights |= zip(places, _weights_of_bands([panels[k] for k in places]), strict=True)
    return [weights[k] for k in range(len(panels))]


def _weights_of_bands(panels: Sequence[Panels]) -> list[FloatArray]:
    """`color_weights` of fields with the same bands."""
    # The last image is the reference, which knows best.
    images = [list(one.images.values())[-1] for one in panels]
    known = [one.flux for one in panels if one.flux is not None]
    if len(known) == len(panels):
        flux = [scale / scale.mean() for scale in known]
        usual = [_usual_color(i * f[:, None, None]) for i, f in zip(images, flux, strict=True)]
        common = np.nanmedian([c for c in usual if c is not None] or [np.ones(len(flux[0]))], 0)
        weights = [f / common for f in flux]
    else:
        usual = [_usual_color(image) for image in images]
        weights = [
            np.ones(len(i)) if c is None else 1 / c for i, c in zip(images, usual, strict=True)
        ]
    return [one / one.mean() for one in weights]


def _usual_color(image: FloatArray) -> FloatArray | None:
    """Median share of each band in bright pixels; `None` where there are few."""
    bright = image.min(axis=0) > _BRIGHT
    if bright.sum() < _FEWEST:
        return None
    values = image[:, bright]
    return np.maximum(np.median(values / values.mean(axis=0), axis=1), 0.05)


def _flux(bands: Any) -> FloatArray | None:
    """Nanomaggies of 1 sky unit per band; `None` where not known for all."""
    scales = [band.sigma * 10 ** (-0.4 * (band.zero_point - 22.5)) for band in bands]
    return np.array(scales) if np.isfinite(scales).all() else None


def picture(
    image: FloatArray, *, weights: FloatArray, white: float | None = None, softening: float = 3.0
) -> FloatArray:
    """
    Gray or color picture of an image in sky units.

    The brightness is stretched with an inverse hyperbolic sine and the ratios of the bands
    are kept, see `~splus_srgan.pixels.picture.color_picture`.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (n_band, ny, nx)
        From blue to red.
    weights : `~numpy.ndarray`, shape (n_band,)
        Factors of the bands.
    white : float, optional
        Brightness shown as white, sky units.
    softening : float, optional
        Brightness, in sky units, at which linear turns into logarithmic.

    Returns
    -------
    picture : `~numpy.ndarray`, shape (ny, nx, 3)
        0 to 1; NaN pixels are gray.
    """
    image = image * weights[:, None, None]
    # Red, green, blue are the last, the middle and the first band.
    order = np.rint(np.linspace(len(image) - 1, 0, 3)).astype(int)
    white = white_level([image]) if white is None else white
    return color_picture(*image[order], black=_BLACK, white=white, softening=softening)


def white_level(images: Sequence[FloatArray]) -> float:
    """Brightness (sky units) that few pixels of the images exceed."""
    tops = [np.nanquantile(np.nanmean(image, axis=0), 0.998) for image in images]
    return float(np.clip(max(tops), 30.0, 3e3))
