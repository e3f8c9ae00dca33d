# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Results back in the class and the form in which the input came."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

import numpy as np
from astropy.io.fits import Header
from astropy.nddata import CCDData, NDData, NDDataArray, StdDevUncertainty
from astropy.wcs import WCS

from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.images.grid import fits_wcs, strip_wcs_cards, wcs_cards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.images.unpack import BandStack

__all__ = ["made_like", "repack"]


def repack(
    stack: BandStack,
    data: Any,
    *,
    mask: Any,
    quality: Any,
    wcs: WCS | None,
    metas: Sequence[Any],
    psfs: Sequence[Any],
    uncertainty: Any = None,
) -> Any:
    """
    Give arrays back as what was unpacked.

    Parameters
    ----------
    stack : `~splus_srgan.images.unpack.BandStack`
        Input, as unpacked by `unpack`.
    data : `~numpy.ndarray`, shape (n_band, ny, nx)
        New pixel values.
    mask : `~numpy.ndarray` of bool, same shape
        `True` is missing.
    quality : `~numpy.ndarray` of uint8, same shape
        Sum of `~splus_srgan.images.quality.Quality` bits. It becomes ``flags`` where
        the class has them (`~astropy.nddata.CCDData`), else ``meta["QUALITY"]``.
    wcs : `~astropy.wcs.WCS` or None
        Two-dimensional WCS of the new pixels. Its cards are taken out of
        metadata, as `~astropy.nddata.CCDData.read` does.
    metas : sequence of mapping
        Metadata per band. For a stack they are merged: what differs between
        bands is numbered (``SRSKY1``, ``SRSKY2``, ...), and ``BANDS`` names them.
    psfs : sequence of `~numpy.ndarray` or None
        PSF image per band.
    uncertainty : `~numpy.ndarray`, same shape, optional
        Standard deviation per pixel.

    Returns
    -------
    result : object
        Of the class and form of the input: mapping (`dict`), image or stack.

    Raises
    ------
    ValueError
        If the arrays' shapes differ.
    """
    planes = {"mask": mask, "quality": quality, "uncertainty": uncertainty}
    for name, plane in planes.items():
        if plane is not None and np.shape(plane) != np.shape(data):
            raise ValueError(
                f"{name} must have the shape of data, {np.shape(data)}; got {np.shape(plane)}"
            )
    if stack.form == "stack":
        cube_wcs = _stack_wcs(stack.source.wcs, wcs, np.shape(data))
        merged = _merge_metas(metas)
        if not merged.get("BANDS"):
            merged["BANDS"] = ",".join(stack.bands)
        return _build(stack, stack.source, data, cube_wcs, merged, _psf_cube(psfs), planes)
    sources = stack.source if stack.form == "mapping" else {stack.bands[0]: stack.source}
    results = {}
    for i, band in enumerate(stack.bands):
        parts = {key: None if plane is None else plane[i] for key, plane in planes.items()}
        results[band] = _build(stack, sources[band], data[i], wcs, metas[i], psfs[i], parts)
    return results if stack.form == "mapping" else results[stack.bands[0]]


def _build(
    stack: BandStack, like: Any, data: Any, wcs: Any, meta: Any, psf: Any, planes: Mapping[str, Any]
) -> Any:
    std = planes["uncertainty"]
    meta = copy.copy(meta)
    if wcs is not None:
        strip_wcs_cards(meta)
    options = {
        "unit": stack.unit,
        "mask": planes["mask"],
        "wcs": None if wcs is None else wcs.deepcopy(),
        "meta": meta,
        "uncertainty": None if std is None else StdDevUncertainty(std, copy=False),
    }
    if psf is not None:
        options["psf"] = np.array(psf)
    if isinstance(like, NDDataArray):
        return made_like(like, data, {"flags": planes["quality"], **options})
    # Plain NDData has no flags, and a FITS header cannot hold an array.
    options["meta"] = {**_dictionary(meta), "QUALITY": planes["quality"]}
    return made_like(like, data, options)


def made_like(like: Any, data: Any, options: Mapping[str, Any]) -> Any:
    """
    Make an image of the class of another one.

    Parameters
    ----------
    like : `~astropy.nddata.NDData`
        The other image.
    data : `~numpy.ndarray`
        New pixel values.
    options : mapping
        Keywords of the constructor.

    Returns
    -------
    image : `~astropy.nddata.NDData`
        Of that class; with a warning a plain `~astropy.nddata.CCDData` or
        `~astropy.nddata.NDData` where its constructor takes other arguments.
    """
    kind = type(like)
    plain: Any = CCDData if isinstance(like, NDDataArray) else NDData
    try:
        return kind(data, **options)
    except TypeError as error:
        warnings.warn(
            f"a {kind.__name__} cannot be made as {plain.__name__} is ({error}): the new image is "
            f"a {plain.__name__}",
            SplusSrganWarning,
            stacklevel=2,
        )
        return plain(data, **options)


def _dictionary(meta: Any) -> dict[str, Any]:
    """Metadata as a dictionary, with the lines of HISTORY and the like as lists of str."""
    lines = ("HISTORY", "COMMENT", "") if isinstance(meta, Header) else ()
    return {**meta, **{key: list(meta[key]) for key in lines if key in meta}}


def _stack_wcs(original: Any, wcs: WCS | None, shape: tuple[int, ...]) -> Any:
    """Put the band axis of the original WCS behind the new celestial axes."""
    original = fits_wcs(original)
    if original is None or original.naxis == 2 or wcs is None:
        return wcs
    header = wcs_cards(wcs)
    third = original.wcs
    header["WCSAXES"] = 3
    header["CTYPE3"] = third.ctype[2]
    header["CUNIT3"] = str(third.cunit[2])
    header["CRPIX3"] = float(third.crpix[2])
    header["CRVAL3"] = float(third.crval[2])
    step = float(original.pixel_scale_matrix[2, 2])
    header["CD3_3" if wcs.wcs.has_cd() else "CDELT3"] = step
    cube = WCS(header, naxis=3)
    cube.array_shape = shape
    return cube


def _psf_cube(psfs: Sequence[Any]) -> Any:
    if all(psf is None for psf in psfs):
        return None
    shapes = {np.shape(psf) for psf in psfs}
    if len(shapes) > 1:
        raise ValueError(f"psfs of a stack must have one shape; got {sorted(map(str, shapes))}")
    return np.stack(psfs)


def _merge_metas(metas: Sequence[Any]) -> Any:
    merged = metas[0].copy()
    header = isinstance(merged, Header)
    keys = dict.fromkeys(key for meta in metas for key in meta)
    for key in keys:
        if header and key in ("COMMENT", "HISTORY", ""):
            continue
        values = [meta.get(key) for meta in metas]
        if all(_same(value, values[0]) for value in values):
            continue
        merged.pop(key, None)
        for i, value in enumerate(values):
            if value is not None:
                numbered = f"{key}{i + 1}"
                name = f"HIERARCH {numbered}" if header and len(numbered) > 8 else numbered
                merged[name] = (value, _comment(metas[i], key)) if header else value
    return merged


def _comment(header: Any, key: str) -> str:
    return header.comments[key]


def _same(one: Any, other: Any) -> bool:
    return one is other or bool(np.array_equal(one, other))
