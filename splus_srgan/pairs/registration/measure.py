# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
How far two images of one field lie apart: shift, rotation and scale, with their errors.

The images themselves are compared, pixel by pixel, so a single galaxy will do.  Their
noise, PSFs, zero points and sky may differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import NDData
from astropy.wcs import WCS

from splus_srgan.exceptions import RegistrationError
from splus_srgan.images.grid import image_wcs, pixel_scale
from splus_srgan.images.units import pixels_for_pixel
from splus_srgan.pairs.registration.align import align, centered_map, find_orientation
from splus_srgan.pairs.registration.cross_correlation import make_picture
from splus_srgan.pairs.registration.pixel_map import mapped_fits_wcs, nearest_orientation
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.validate import check_positive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["Registration", "approximate_wcs", "measure_registration", "register_images"]

_NAN = float("nan")


@dataclass(frozen=True)
class Registration:
    """
    Where an image lies with respect to a reference.

    Parameters
    ----------
    shift : tuple of float
        ``(dy, dx)``, in pixels of the image: actual minus expected position, at the center
        of the image.
    shift_error : tuple of float
        Standard errors of the shift, pixels.
    rotation, rotation_error : float
        Angle by which the image is turned, degrees from x to y.
    scale, scale_error : float
        How many times too large the image is: 1.01 if sources are 101 pixels apart that should
        be 100 pixels apart.
    rms : float
        Residual of the fit, in units of the expected noise.
    center : tuple of float
        ``(y, x)`` of the center of the image, about which rotation and scale are.
    correlation : float
        Correlation coefficient of the images after the fit.
    flux_ratio, flux_ratio_error : float
        Flux of the image over that of the reference, in the same area of the sky and at the
        same PSF.
    orientation : str
        ``"as it is"``, or how the array of the image lies on that of the reference, such as
        ``"transposed"``.
    significant : bool
        Whether rotation or scale differ from 0 and 1 by more than 5 standard errors (3
        in `register_images`).

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.pairs.registration.measure import measure_registration
    >>> field = simulate_field(1, shape=(64, 64), kind="cluster", psf="moffat")
    >>> found = measure_registration(field.target["r"], field.observed["r"])
    >>> found.measured, max(abs(s) for s in found.shift) < 0.1
    (True, True)
    """

    shift: tuple[float, float]
    shift_error: tuple[float, float]
    rotation: float
    rotation_error: float
    scale: float
    scale_error: float
    rms: float
    center: tuple[float, float] = (0.0, 0.0)
    correlation: float = _NAN
    flux_ratio: float = _NAN
    flux_ratio_error: float = _NAN
    orientation: str = "as it is"
    significant: bool = False

    @property
    def measured(self) -> bool:
        """Whether the images have enough in common; otherwise the numbers are NaN."""
        return not math.isnan(self.shift[0])

    @classmethod
    def none(cls, center: tuple[float, float] = (0.0, 0.0)) -> Registration:
        """A registration that could not be measured."""
        two = (_NAN, _NAN)
        return cls(two, two, _NAN, _NAN, _NAN, _NAN, _NAN, (float(center[0]), float(center[1])))

    def __str__(self):
        if not self.measured:
            return "not measured: the images have too little in common"
        (dy, dx), (ey, ex) = self.shift, self.shift_error
        return (
            f"dy {dy:+.3f} ± {ey:.3f}, dx {dx:+.3f} ± {ex:.3f} px, rotation {self.rotation:+.3f} ± "
            f"{self.rotation_error:.3f} deg, scale {self.scale:.4f} ± {self.scale_error:.4f}"
        )


@numpy_defaults
def measure_registration(
    image: NDData | ArrayLike,
    reference: NDData | ArrayLike,
    *,
    mask: ArrayLike | None = None,
    reference_mask: ArrayLike | None = None,
    max_shift: float = 20.0,
) -> Registration:
    r"""
    Measure how far an image lies off a reference that covers the same sky.

    Parameters
    ----------
    image : `~astropy.nddata.CCDData` or array_like, shape (ny, nx)
        Image. Its WCS, if it has one, is ignored.
    reference : `~astropy.nddata.CCDData` or array_like
        Image of the same shape, or of a shape that is a whole fraction of it: then its pixels
        are that much larger, and both begin at the same edge.
    mask, reference_mask : array_like of bool, optional
        `True` is missing, in addition to the masks that the images have.
    max_shift : float, optional
        Largest shift to look for, in pixels of the image.

    Returns
    -------
    registration : `Registration`
        Result, in pixels of the image; not ``measured`` if they have too little in common.

    Raises
    ------
    ValueError
        If the shapes do not match, or an image has fewer than 64 valid pixels.

    Notes
    -----
    After a cross-correlation has found the whole pixels, shift, rotation and scale are
    fitted (Lucas and Kanade 1981). The sharper image is sampled at the pixels of the other,
    which is never resampled, and brought to its PSF by a sum of Gaussians (Alard and Lupton
    1998), so that no PSF has to be known. Errors account for noise that is correlated over 3
    pixels, and for residuals that are larger on sources. For the shift,
    rotation and scale are held at 0 and 1 where they are below 5 standard errors; the measured
    values are given all the same.

    The fit takes the sharper image to have no noise.  If it is only as deep as the other, the
    flux ratio comes out 1 to 2 % too large.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import ndimage
    >>> from splus_srgan.pairs.registration.measure import measure_registration
    >>> rng = np.random.default_rng(1)
    >>> scene = np.zeros((64, 64))
    >>> scene[rng.integers(8, 56, 12), rng.integers(8, 56, 12)] = 1000
    >>> reference = ndimage.gaussian_filter(scene, 2.0) + rng.normal(0, 0.1, (64, 64))
    >>> image = ndimage.shift(ndimage.gaussian_filter(scene, 1.5), (0.4, -1.2))
    >>> found = measure_registration(image, reference)
    >>> bool(np.allclose(found.shift, (0.4, -1.2), atol=0.02))
    True
    """
    one, two = _picture("image", image, mask), _picture("reference", reference, reference_mask)
    factor = _factor(one.data.shape, two.data.shape)
    prior = centered_map(two.data.shape, one.data.shape, factor * np.eye(2))
    reach = check_positive("max_shift", max_shift) / factor
    found = align(one, two, prior, reach=reach)
    if found is None:
        ny, nx = one.data.shape
        return Registration.none(((ny - 1) / 2, (nx - 1) / 2))
    return from_alignment(found, area=_area(image, factor**2))


def _area(image, area):
    """Number of pixels of the image that cover one of the reference; 1 for a surface brightness."""
    return pixels_for_pixel(getattr(image, "unit", None), area)


def from_alignment(found, *, area=1.0, orientation="as it is"):
    """
    Put an `~splus_srgan.pairs.registration.align.Alignment` into a `Registration`.

    ``area`` is the number of pixels of the image that cover one of the reference.
    """
    values, errors = found.values, found.errors
    return Registration(
        (float(values[0]), float(values[1])),
        (float(errors[0]), float(errors[1])),
        *(float(number) for pair in zip(values[2:], errors[2:], strict=True) for number in pair),
        found.fit.rms,
        tuple(map(float, found.center)),
        found.fit.correlation,
        float(found.ratio * area),
        float(found.ratio_error * area),
        orientation,
        not found.held,
    )


@numpy_defaults
def register_images(
    image: NDData | ArrayLike,
    reference: NDData,
    *,
    scale: float | None = None,
    mask: ArrayLike | None = None,
    reference_mask: ArrayLike | None = None,
) -> tuple[WCS, Registration]:
    """
    Find where an image without a usable WCS lies on one that has one.

    All eight orientations of the array are tried: as it is, transposed, flipped, rotated
    by right angles.

    Parameters
    ----------
    image : `~astropy.nddata.CCDData` or array_like, shape (ny, nx)
        Image, of which at least a quarter is also on the reference, or the other way around.
    reference : `~astropy.nddata.CCDData`
        Image with a celestial WCS; `approximate_wcs` makes one where none is known.
    scale : float, optional
        Pixel scale of the image, arcsec, good to 6 %. By default that of the image's WCS,
        whose position and orientation are not used.
    mask, reference_mask : array_like of bool, optional
        `True` is missing, in addition to the masks that the images have.

    Returns
    -------
    wcs : `~astropy.wcs.WCS`
        WCS of the image.
    registration : `Registration`
        Where it was found: shift, rotation and scale are relative to a placement with the
        centers of both on each other, in the orientation that it names.

    Raises
    ------
    TypeError
        If the reference is no `~astropy.nddata.CCDData` or other NDData.
    ValueError
        If the reference has no celestial WCS, or no pixel scale is known.
    RegistrationError
        If the image is not found on the reference.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.pairs.registration.measure import register_images
    >>> field = simulate_field(4, shape=(64, 64), kind="stars")
    >>> reference = field.target["r"]
    >>> wcs, found = register_images(field.observed["r"].data.T, reference, scale=0.55)
    >>> found.orientation
    'transposed'
    """
    if not isinstance(reference, NDData):
        raise TypeError(
            "reference must be a CCDData or another NDData with a WCS; got "
            f"{type(reference).__name__}"
        )
    wcs = image_wcs(reference.wcs, name="wcs of reference")
    if wcs is None:
        raise ValueError(
            "reference must have a celestial WCS; got None: where none is known, give it "
            "approximate_wcs(shape, pixel_scale)"
        )
    scale = image_scale(image) if scale is None else check_positive("scale", scale)
    if scale is None:
        raise ValueError("scale must be given (arcsec per pixel), since the image has no WCS")
    one, two = _picture("image", image, mask), _picture("reference", reference, reference_mask)
    found, peaks = locate(one, two, pixel_scale(wcs) / scale)
    if found is None:
        raise RegistrationError(
            f"image must show the same sky as reference; none of the eight orientations fits at "
            f"{scale:.4g} arcsec per pixel (best correlation coefficient {max(peaks.values()):.2f})"
        )
    orientation = nearest_orientation(found.map.matrix)
    area = _area(image, abs(np.linalg.det(found.map.matrix)))
    registration = from_alignment(found, area=area, orientation=orientation)
    return mapped_fits_wcs(wcs, found.map.inverse, one.data.shape), registration


def locate(image, reference, ratio):
    """Find one `Picture` on another: `Alignment` or None, and the correlation coefficients."""
    peaks, prior = find_orientation(image, reference, ratio)
    # The prior is good to a bin, and contains the shift, which is to be reported.
    reach = 4 + 2 * max(1, max(*image.data.shape, *reference.data.shape) // 128)
    found = align(image, reference, prior, reach=reach, significance=3)
    if found is None:
        return None, peaks
    matrix = np.array(prior.matrix) / np.sqrt(abs(np.linalg.det(prior.matrix))) * ratio
    nominal = centered_map(reference.data.shape, image.data.shape, matrix)
    return found.relative_to(nominal), peaks


def approximate_wcs(
    shape: tuple[int, int], pixel_scale: float, *, position: tuple[float, float] = (0.0, 0.0)
) -> WCS:
    """
    Make a WCS for an image of which only the pixel scale is known.

    North is up and east is left; the center is at ``position``.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)``.
    pixel_scale : float
        Arcsec per pixel.
    position : tuple of float, optional
        Right ascension and declination, degrees.

    Returns
    -------
    wcs : `~astropy.wcs.WCS`
        Gnomonic projection.

    Examples
    --------
    >>> from splus_srgan.pairs.registration.measure import approximate_wcs
    >>> approximate_wcs((100, 120), 0.2).wcs.crpix.tolist()
    [60.5, 50.5]
    """
    step = check_positive("pixel_scale", pixel_scale) / 3600
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = position
    wcs.wcs.crpix = [(n + 1) / 2 for n in shape[::-1]]
    wcs.wcs.cd = np.diag([-step, step])
    wcs.wcs.set()
    wcs.array_shape = tuple(shape)
    return wcs


def image_scale(image):
    """Arcsec per pixel by the WCS of an image, None where it has none."""
    wcs = image_wcs(image.wcs) if isinstance(image, NDData) else None
    return None if wcs is None else pixel_scale(wcs)


def _picture(name, image, mask=None):
    data, own = (image.data, image.mask) if isinstance(image, NDData) else (image, None)
    data, own = np.ma.getdata(data), _either(own, np.ma.getmask(data))
    if data.ndim != 2:
        raise ValueError(f"{name} must have shape (ny, nx); got {data.shape}")
    missing = np.zeros(data.shape, bool)
    for part in (own, mask):
        if part is not None:
            missing = missing | np.asarray(part, bool)
    try:
        return make_picture(data, missing)
    except ValueError as error:
        raise ValueError(str(error).replace("image", name, 1)) from None


def _either(one, two):
    """Union of two masks, the second one that of a masked array."""
    if two is np.ma.nomask:
        return one
    return two if one is None else np.asarray(one, bool) | two


def _factor(shape, reference):
    factor = max(1, round(shape[0] / reference[0]))
    if tuple(factor * n for n in reference) != tuple(shape):
        raise ValueError(
            "reference must have the shape of image, or a whole fraction of it; got "
            f"{tuple(reference)} and {tuple(shape)}: bring one to the grid of the other with "
            "match_to_grid, or use register_images"
        )
    return factor
