# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Find out whether, and how, a WCS fails to describe its image."""

import numpy as np
from astropy.wcs.utils import pixel_to_pixel

from splus_srgan.exceptions import RegistrationError
from splus_srgan.images.grid import image_wcs, pixel_scale
from splus_srgan.pairs.registration.cross_correlation import make_picture
from splus_srgan.pairs.registration.measure import locate
from splus_srgan.pairs.registration.pixel_map import nearest_orientation

__all__ = ["check_described", "check_hemisphere"]

_NO_OVERLAP = 0.02  # of the fine grid
_ALIKE = 0.8  # correlation coefficient above which the match is beyond doubt
_COMMON = 0.2  # correlation coefficient below which a resemblance may be chance
_HEMISPHERE = 80.0  # degrees
_BETTER = 0.1  # in the correlation coefficient, for another orientation to be believed


def check_hemisphere(input, target):
    """
    Raise `RegistrationError` if two images are so far apart that no projection shows both.

    Parameters
    ----------
    input, target : `~astropy.nddata.CCDData`
        An image of each side.
    """
    places = []
    for image in (input, target):
        middle = (np.array(np.shape(image.data)[::-1]) - 1) / 2
        places.append(image_wcs(image.wcs).pixel_to_world(*middle).icrs)
    apart = places[0].separation(places[1]).deg
    if apart > _HEMISPHERE:
        there = " and ".join(f"({place.ra.deg:.4f}, {place.dec.deg:.4f})" for place in places)
        raise RegistrationError(
            "input and target must show the same sky; by their WCS they are "
            f"{apart:.1f} degrees apart, at {there}: correct the WCS of the wrong side; "
            "splus_srgan.pairs.registration.measure.register_images finds it by the images"
        )


def check_described(input, target, measured, covered, max_shift, missing):
    """
    Raise `RegistrationError` unless the images agree with their WCS.

    Parameters
    ----------
    input, target : dict of str to `~astropy.nddata.CCDData`
        Both sides.
    measured : dict of str to `~splus_srgan.pairs.registration.align.Alignment` or None
        Registration by the WCS.
    covered : dict of str to float
        Share of the field that both sides cover.
    max_shift : float
        Arcsec.
    missing : callable
        Gives the mask of an image.
    """
    found = {band: one for band, one in measured.items() if one is not None}
    best = max(found, key=lambda band: found[band].fit.significance, default=None)
    overlap = max(covered.values()) > _NO_OVERLAP
    scale = pixel_scale(image_wcs(next(iter(input.values())).wcs))
    if best is not None:
        shift = float(np.hypot(*found[best].values[:2])) * scale / 2
        if found[best].fit.correlation > _ALIKE and shift < max_shift:
            return
    band = best or _most_structured(input, missing)
    image, reference = (
        make_picture(side[band].data, missing(side[band])) for side in (input, target)
    )
    ratio = pixel_scale(image_wcs(target[band].wcs)) / scale
    by_image, _ = locate(image, reference, ratio)
    if by_image is None or by_image.fit.correlation < _COMMON:
        if not overlap:
            raise RegistrationError(
                "input and target must show the same sky; by their WCS they do not overlap, and "
                f"the images have nothing in common either ({band})"
            )
        if best is not None and shift >= max_shift:
            raise RegistrationError(_far(band, shift, max_shift))
        return
    story = _Story(input[band], target[band], by_image)
    known = found[best].fit.correlation if best else 0.0
    turned = story.turned != "as it is" and by_image.fit.correlation > known + _BETTER
    # One source lies well on another where the images overlap little.
    agreed = best is not None and shift < max_shift
    surer = not agreed or by_image.fit.significance > found[best].fit.significance
    if surer and (turned or story.offset > max_shift):
        raise RegistrationError(story.tell(band, overlap, max_shift))


def _most_structured(side, missing):
    def strength(band):
        picture = make_picture(side[band].data, missing(side[band]))
        return np.quantile(picture.data[~picture.mask], 0.99) / picture.sigma

    return max(side, key=strength)


def _far(band, shift, max_shift):
    return (
        f"input and target must lie within max_shift={max_shift:g} arcsec of each other; {band} is "
        f"{shift:.1f} arcsec off: raise max_shift if that is to be expected"
    )


class _Story:
    """Registration by the images, and by the WCS."""

    def __init__(self, input, target, by_image):
        self.input, self.by_image = input, by_image
        self.wcs = image_wcs(input.wcs)
        other = image_wcs(target.wcs)
        middle = (np.array(np.shape(target.data)) - 1) / 2
        # Three pixels of target give the linear map that the WCS imply, (y, x).
        y, x = middle[0] + np.array([0, 1, 0]), middle[1] + np.array([0, 0, 1])
        xs, ys = pixel_to_pixel(other, self.wcs, x, y)
        by_wcs = np.array([[ys[1] - ys[0], ys[2] - ys[0]], [xs[1] - xs[0], xs[2] - xs[0]]])
        self.lies = nearest_orientation(by_image.map.matrix)
        self.turned = nearest_orientation(by_image.map.matrix @ np.linalg.inv(by_wcs))
        self.off = by_image.map(middle) - (ys[0], xs[0])
        self.offset = float(np.hypot(*self.off)) * pixel_scale(self.wcs)

    def tell(self, band, overlap, max_shift):
        """Describe the fault, and how to mend it."""
        dy, dx = self.off
        crpix = self.wcs.wcs.crpix + np.array([dx, dy])
        parts = []
        if self.turned != "as it is":
            parts.append(
                f"the array of input is {self.turned} with respect to its WCS, so undo that first"
            )
        elif self.lies != "as it is":
            parts.append(f"the array of input is {self.lies} with respect to that of target")
        if self.offset > max_shift:
            where = "" if overlap else ", where they do not overlap"
            parts.append(
                f"its position is off by {self.offset:.1f} arcsec{where}"
                + (
                    f": CRPIX should be ({crpix[0]:.2f}, {crpix[1]:.2f}) instead of "
                    f"({self.wcs.wcs.crpix[0]:.2f}, {self.wcs.wcs.crpix[1]:.2f})"
                    if self.turned == "as it is"
                    else ""
                )
            )
        return (
            "the WCS of input or target must describe its image; it does not. By the images "
            f"themselves ({band}, all eight orientations tried, correlation coefficient "
            f"{self.by_image.fit.correlation:.2f}), both show the same field, but "
            f"{'; and '.join(parts)}. Repair the WCS of the wrong side, say input, with "
            "splus_srgan.pairs.register_images(input[band], target[band]), which finds it for the "
            "array as it is"
        )
