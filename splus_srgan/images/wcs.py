# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The same sky on a grid of finer pixels: world coordinates and header cards.

FITS centers the first pixel on 1, so the image begins at 0.5 and a position
``p`` becomes ``factor * (p - 0.5) + 0.5`` in pixels ``factor`` times finer.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, FITSFixedWarning, Sip

from splus_srgan.images.cards import finer, multiply, rescale_card
from splus_srgan.images.grid import kind_of_wcs
from splus_srgan.images.wcs_cards import (
    SEQUENT,
    alternates,
    check_wcs_cards,
    scale_physical_cards,
    scale_sip_cards,
    scale_wcs_cards,
)
from splus_srgan.utils.quiet import own_filters
from splus_srgan.utils.validate import check_integer, check_positive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.io.fits import Header

__all__ = ["upsample_header", "upsample_wcs"]


def upsample_wcs(wcs: WCS, *, factor: int = 2) -> WCS:
    r"""
    Describe the same sky on a grid of ``factor`` times more pixels per axis.

    Every input pixel becomes a block of ``factor`` x ``factor`` pixels.  The
    outer edges of the image stay where they are on the sky, pixel *centers*
    move: 0-based input pixel ``i`` is centered on ``factor * (i + 0.5) - 0.5``.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        WCS of at least two axes.  It is not modified.  The axes of the pixels
        are refined that the celestial axes depend on, in whatever place they
        are, and others (a band or spectral axis) stay as they are.  Of a WCS
        without celestial axes it is the first two, in FITS order.
    factor : int, optional
        Output pixels per input pixel along each refined axis, at least 1.

    Returns
    -------
    fine : `~astropy.wcs.WCS`
        New WCS of the same class, with ``array_shape`` and ``pixel_bounds``
        of the finer grid where the input has them.

    Raises
    ------
    TypeError
        If ``wcs`` is not a `~astropy.wcs.WCS` or ``factor`` not an integer.
    ValueError
        If ``factor`` is below 1, if it is unclear which two axes are the
        image, or if there is a distortion of pixel positions that astropy
        does not give access to (``CPDIS`` as polynomial or TPD).

    Notes
    -----
    With :math:`f` the factor, for each refined axis :math:`j`

    .. math::
        {\tt CRPIX}_j' = f \, ({\tt CRPIX}_j - 1/2) + 1/2, \quad
        {\tt CD}_{ij}' = {\tt CD}_{ij} / f

    or ``CDELT`` / f where the matrix is PC.  A polynomial distortion of pixel
    offsets :math:`u, v` from ``CRPIX`` (SIP) has to give an offset :math:`f`
    times larger for offsets :math:`f` times larger, and that holds for the
    inverse polynomials alike:

    .. math::
        (A, B, AP, BP)_{pq}' = f^{1 - p - q} \, (A, B, AP, BP)_{pq}

    Lookup tables (``CPDIS``, ``D2IMDIS``) have their grid and their values
    scaled.  What acts behind the matrix stays as it is: ``PV``, TPV, TNX, ZPX,
    ``CQDIS`` and, once read by astropy, plate solutions of the DSS.

    Examples
    --------
    >>> from astropy.wcs import WCS
    >>> from splus_srgan import upsample_wcs
    >>> wcs = WCS(naxis=2)
    >>> wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    >>> wcs.wcs.crpix = 50.5, -20.5
    >>> wcs.wcs.cdelt = -1.5e-4, 1.5e-4
    >>> wcs.array_shape = 100, 120
    >>> fine = upsample_wcs(wcs)
    >>> fine.wcs.crpix.tolist(), fine.wcs.cdelt.tolist(), fine.array_shape
    ([100.5, -41.5], [-7.5e-05, 7.5e-05], (200, 240))
    """
    factor = check_integer("factor", factor, minimum=1)
    if not isinstance(wcs, WCS):
        raise TypeError(
            f"wcs must be an astropy.wcs.WCS, and one that is sliced or wrapped has to be turned "
            f"into one first; got a {kind_of_wcs(wcs)}"
        )
    fine = wcs.deepcopy()
    axes = _image_axes(fine)
    _scale_linear(fine, axes, factor)
    _scale_distortions(fine, factor)
    _scale_shape(wcs, fine, axes, factor)
    return fine


def upsample_header(
    header: fits.Header, *, factor: int = 2, flux_scale: float | None = None, new_psf: bool = False
) -> fits.Header:
    """
    Bring the cards of an image's header to a grid of finer pixels.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header of an image, with or without WCS.  It is not modified.
    factor : int, optional
        Output pixels per input pixel along each axis of the image, at least 1.
    flux_scale : float, optional
        What pixel values are multiplied with on the way to the finer grid.
        The default ``1 / factor**2`` is right for flux per pixel; give 1 for
        surface brightness.
    new_psf : bool, optional
        The image does not only get finer pixels but also another PSF: cards
        of the PSF then are marked as the input's.

    Returns
    -------
    fine : `~astropy.io.fits.Header`
        New header.  ``WCS(fine)`` is ``upsample_wcs(WCS(header))``.

    Raises
    ------
    TypeError
        If ``header`` is not a `~astropy.io.fits.Header`.
    ValueError
        If it is a table's, has distortions that cards alone do not describe
        (lookup tables in extensions, ``CPDIS`` of any kind, plate solutions
        of the DSS), or if ``factor`` or ``flux_scale`` is out of range.

    Notes
    -----
    * The WCS, its alternates (A to Z), ``NAXISn``, ``IMAGEW`` and ``IMAGEH``,
      IRAF's ``LTV``/``LTM``, sections of this image (``DATASEC``, ``TRIMSEC``,
      ``BIASSEC``) and the position ``X01TILE``, ``Y01TILE`` go to the new grid.
      Positions on another grid stay: ``CCDSEC``, ``DETSEC``, ``X0TILE``.
    * Sizes of a pixel (``PIXSCALE``, ``SECPIX``, ``PIXAR_SR``, ..., also as the last
      word of a ``HIERARCH`` keyword) shrink, saturation
      levels (``SATURATE``, ...) are multiplied by ``flux_scale``.  ``GAIN`` and
      zero points hold for sums of flux and stay.
    * What was measured on input pixels and cannot be computed for the new ones
      (noise and level statistics such as ``OAJ QC NCNOISE``, ``RDNOISE``,
      ``DATAMAX``; the offset ``BRICK_X0``) is kept, renamed to
      ``HIERARCH INPUT <keyword>``.
    * How the input was stored (``BSCALE``, ``BZERO``, ``BLANK``, ``CHECKSUM``,
      ``DATASUM``, ``ZDITHER0`` and the like) is left out.

    Examples
    --------
    >>> from astropy.io import fits
    >>> from splus_srgan.images.wcs import upsample_header
    >>> header = fits.Header({"NAXIS": 2, "NAXIS1": 500, "NAXIS2": 400})
    >>> header["PIXSCALE"] = 0.55
    >>> header["HIERARCH OAJ QC NCNOISE"] = 0.06
    >>> upsample_header(header)
    NAXIS   =                    2
    NAXIS1  =                 1000
    NAXIS2  =                  800
    PIXSCALE=                0.275
    HIERARCH INPUT OAJ QC NCNOISE = 0.06
    """
    factor = check_integer("factor", factor, minimum=1)
    flux_scale = factor**-2 if flux_scale is None else check_positive("flux_scale", flux_scale)
    check_wcs_cards(header)
    fine = header.copy()
    if factor == 1 and flux_scale == 1 and not new_psf:
        return fine
    axes = [axis + 1 for axis in _header_axes(header)]
    for alternate in alternates(header):
        scale_wcs_cards(fine, alternate, axes, factor)
    scale_sip_cards(fine, factor)
    scale_physical_cards(fine, axes, factor)
    for axis in axes:
        multiply(fine, f"NAXIS{axis}", factor)
    for keyword in dict.fromkeys(fine.keys()):
        rescale_card(fine, keyword, axes, factor, flux_scale, new_psf)
    return fine


def _image_axes(wcs: WCS) -> list[int]:
    """0-based pixel axes of the image."""
    if wcs.naxis < 2:
        raise ValueError(f"wcs must have two axes or more; got {wcs.naxis}")
    if wcs.naxis == 2:
        return [0, 1]
    if not wcs.has_celestial:
        # Linear and unnamed axes have type 0; a spectrum's or Stokes's have not.
        if np.any(wcs.wcs.axis_types[:2]):
            raise ValueError(
                "wcs must have celestial axes, or two linear ones first, to tell which are the "
                f"image; got {list(wcs.wcs.ctype)}: take two of them with wcs.sub"
            )
        return [0, 1]
    celestial = [wcs.wcs.lng, wcs.wcs.lat]
    axes = np.flatnonzero(np.any(wcs.wcs.get_pc()[celestial] != 0, axis=0)).tolist()
    if len(axes) != 2:
        raise ValueError(
            "wcs must have celestial axes that depend on two pixel axes; got "
            f"{len(axes)}, axes {[axis + 1 for axis in axes]}: it is unclear which are the image"
        )
    return axes


def _scale_linear(wcs: WCS, axes: Sequence[int], factor: float) -> None:
    crpix = np.array(wcs.wcs.crpix)
    crpix[axes] = finer(crpix[axes], factor)
    described = _wcslib_cards(wcs)
    wcs.wcs.crpix = crpix
    if wcs.wcs.has_cd():
        if not wcs.wcs.has_pc():
            matrix = np.array(wcs.wcs.cd)
            matrix[:, axes] /= factor
            wcs.wcs.cd = matrix
            return
        # wcslib goes by PC where a header has both, as old versions of CCDData wrote them.
        del wcs.wcs.cd
    matrix = np.array(wcs.wcs.get_pc())
    others = [axis for axis in range(wcs.naxis) if axis not in axes]
    mixed = matrix[np.ix_(axes, others)].any() or matrix[np.ix_(others, axes)].any()
    if mixed or re.search(rf"CQDIS|{SEQUENT}", described):
        matrix[:, axes] /= factor
        wcs.wcs.pc = matrix
    else:
        cdelt = np.array(wcs.wcs.cdelt)
        cdelt[axes] /= factor
        wcs.wcs.cdelt = cdelt


def _wcslib_cards(wcs: WCS) -> Any:
    """Cards of what wcslib knows, refused if it distorts pixels out of our sight."""
    try:
        described = wcs.wcs.to_header(True)
    except UnicodeDecodeError as error:
        # Astropy stumbles over the name that wcslib gives a DSS plate solution.
        described = error.object.decode("latin-1")
    if "CPDIS" in described:
        raise ValueError(
            "wcs must not have a prior distortion held by wcslib (CPDIS as polynomial or TPD), "
            "which cannot be rescaled; got one: fit it with SIP by "
            "astropy.wcs.utils.fit_wcs_from_points first"
        )
    return described


def _scale_distortions(wcs: WCS, factor: float) -> None:
    if wcs.sip is not None:
        sip = wcs.sip
        polynomials = (_scale_polynomial(p, factor) for p in (sip.a, sip.b, sip.ap, sip.bp))
        wcs.sip = Sip(*polynomials, finer(np.array(sip.crpix), factor))
    for name in ("cpdis1", "cpdis2", "det2im1", "det2im2"):
        table = getattr(wcs, name)
        if table is not None:
            setattr(wcs, name, _scale_table(table, factor))


def _scale_polynomial(coefficients: Any, factor: float) -> Any:
    if coefficients is None:
        return None
    order = np.add.outer(*map(np.arange, coefficients.shape))
    return coefficients * float(factor) ** (1 - order)


def _scale_table(table: Any, factor: float) -> Any:
    """Lookup table of pixel shifts, on a grid given in image pixels."""
    return DistortionLookupTable(
        np.asarray(table.data * factor, dtype=np.float32),
        tuple(table.crpix),
        tuple(finer(np.array(table.crval), factor)),
        tuple(np.array(table.cdelt) * factor),
    )


def _scale_shape(wcs: WCS, fine: WCS, axes: Sequence[int], factor: int) -> None:
    if wcs.pixel_shape is not None:
        # astropy keeps the size of a third axis that the WCS does not have.
        shape = list(wcs.pixel_shape)[: wcs.naxis]
        for axis in axes:
            shape[axis] = None if shape[axis] is None else factor * shape[axis]
        fine.pixel_shape = shape
    if wcs.pixel_bounds is not None:
        # 0-based here: the image begins at -0.5.
        bounds = list(wcs.pixel_bounds)[: wcs.naxis]
        for axis in axes:
            if bounds[axis] is not None:
                bounds[axis] = tuple(factor * (edge + 0.5) - 0.5 for edge in bounds[axis])
        fine.pixel_bounds = bounds


def _header_axes(header: Header) -> list[int]:
    """0-based pixel axes of the image, from the linear part of the WCS alone."""
    linear = r"WCSAXES|NAXIS\d*|(CTYPE|CUNIT|CRPIX|CRVAL|CDELT|CROTA)\d+|(CD|PC|PV|PS)\d+_\d+"
    cards = [card for card in header.cards if re.fullmatch(linear, card.keyword)]
    with own_filters():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(fits.Header(cards))
    return _image_axes(wcs)
