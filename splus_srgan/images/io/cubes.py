# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Bands to one cube in the layout of S-Cubes, which is complete or not there at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import CCDData, NDData

from splus_srgan.images.bands import band_names, describe_plane
from splus_srgan.images.grid import check_common_grid, image_wcs
from splus_srgan.images.io.cube_hdus import cube_hdus
from splus_srgan.images.io.cube_layout import FLUX_UNIT, OF_TABLE
from splus_srgan.images.io.write import check_names, check_writable, set_card, write_atomically
from splus_srgan.splus import canonical_band

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from splus_srgan.utils.types import Bands, FilePath, Images

__all__ = ["check_cube_bands", "write_cube"]

# What `SRGANEnhancer` numbers by band in the header of a stack.
_NUMBERED = ("SR", "INPUT ", f"{OF_TABLE} ", "FILTER", "FWHMMEAN")


def write_cube(
    result: Images | NDData, path: FilePath, *, bands: Bands | None = None, overwrite: bool = False
) -> Path:
    """
    Write bands as a cube in the layout of S-Cubes.

    The extensions are ``DATA`` and ``ERRORS``, ``(n_band, ny, nx)`` in flux per wavelength and
    pixel, with a WCS of three axes; ``WEIMASK``, the number of bands in which a pixel has no
    value; and the table ``METADATA`` with a row a band: ``FILTER``, what ``read_bands`` read of
    other columns, and ``PSFFWHM``, the FWHM (arcsec) of the PSF of the image that is written.
    Behind them comes what that layout has no place for, so that ``read_bands`` gives back all of
    it: ``BPM`` (masks of the bands, where they differ), ``DQ`` (flags), and ``PSF`` and
    ``HEADER`` with the number of the band as EXTVER.  The file has checksums.  It is
    written beside its place and then renamed, so it is complete or not there.

    Parameters
    ----------
    result : mapping of str to NDData, or `~astropy.nddata.NDData`
        Bands of S-PLUS, as `~splus_srgan.images.io.fields.read_bands` and
        `~splus_srgan.enhance.enhancer.SRGANEnhancer` give them: images ``(ny, nx)`` on one
        grid, one image, or a stack ``(n_band, ny, nx)``.
    path : path-like
        ``.fits``, ``.fits.gz`` or ``.fits.fz``.
    bands : str or sequence of str, optional
        Names of the bands of a stack or an image that does not say; or which bands of a mapping
        to write.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Returns
    -------
    path : `~pathlib.Path`
        The file.

    Raises
    ------
    TypeError
        If ``result`` is no NDData, nor a mapping of them.
    ValueError
        If a band is none of S-PLUS, a unit is no flux per wavelength, only some bands have an
        uncertainty, or an uncertainty is of unknown kind.
    GridMismatchError
        If the bands are not on one grid.
    FileExistsError
        If the file exists and ``overwrite`` is not set.
    OSError
        If it cannot be written; nothing is left behind.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from splus_srgan.images import read_bands, write_cube
    >>> image = CCDData(np.full((4, 6), 2e-18), unit="erg / (Angstrom s cm2)")
    >>> with TemporaryDirectory() as folder:
    ...     path = write_cube({"r": image, "J0660": image}, f"{folder}/cube.fits")
    ...     field = read_bands(path)
    >>> list(field), field["r"].shape
    (['r', 'J0660'], (4, 6))
    """
    path = check_writable(path, overwrite)
    field = _by_band(result, bands)
    check_cube_bands(field)
    _check_planes(field)
    return write_atomically(path, cube_hdus(field), overwrite=overwrite)


def _by_band(result: Images | NDData, bands: Bands | None) -> dict[str, NDData]:
    """Images by band, without copies of their planes."""
    if isinstance(result, Mapping):
        names = list(result) if bands is None else band_names(None, bands, None)
        if not names or not set(names) <= set(result):
            raise ValueError(f"bands must be among those of result, {list(result)}; got {names}")
        return {name: result[name] for name in names}
    if not isinstance(result, NDData):
        raise TypeError(
            f"result must be a mapping of band to CCDData, or an NDData; got "
            f"{type(result).__name__}"
        )
    if np.ndim(result.data) != 3:
        return {band_names(result, bands, 1)[0]: result}
    names = band_names(result, bands, len(result.data))
    _check_unit("stack", result)
    return {name: _plane(result, k, name) for k, name in enumerate(names)}


def _plane(stack: NDData, k: int, name: str) -> CCDData:
    """One band of a stack."""
    flags = getattr(stack, "flags", None)
    flags = stack.meta.get("QUALITY") if flags is None else flags
    psf: Any = getattr(stack, "psf", None)
    mask, error = stack.mask, None
    if stack.uncertainty is not None:
        error = type(stack.uncertainty)(stack.uncertainty.array[k], unit=stack.uncertainty.unit)
    image = CCDData(
        stack.data[k],
        unit=stack.unit,
        wcs=image_wcs(stack.wcs),
        mask=None if mask is None else np.broadcast_to(mask, stack.data.shape)[k],
        uncertainty=error,
        psf=psf[k] if np.ndim(psf) == 3 else psf,
        meta=_plane_meta(stack.meta, k, len(stack.data), name),
    )
    image.flags = None if flags is None else np.asarray(flags)[k]
    return image


def _plane_meta(meta: Any, k: int, n_band: int, name: str) -> Any:
    own = meta.copy()
    own.pop("QUALITY", None)
    for key in [key for key in meta if isinstance(key, str) and key.startswith(_NUMBERED)]:
        base = key.removesuffix("1")
        numbered = [f"{base}{number}" for number in range(1, n_band + 1)]
        if base != key and base not in meta and all(one in meta for one in numbered):
            set_card(own, base, meta[numbered[k]])
            for one in numbered:
                del own[one]
    describe_plane(own, name)
    return own


def check_cube_bands(field: Mapping[str, Any]) -> None:
    """
    Make sure, before any work is done, that an S-Cubes file can hold such bands.

    Parameters
    ----------
    field : mapping of str to `~astropy.nddata.NDData`
        Images by band.

    Raises
    ------
    TypeError
        If one is no NDData.
    ValueError
        If a band is none of S-PLUS, or a unit is no flux per wavelength.
    """
    for band, image in field.items():
        if not isinstance(image, NDData):
            raise TypeError(f"result[{band!r}] must be an NDData; got {type(image).__name__}")
        _check_unit(band, image)
    check_names(list(field))
    for band in field:
        try:
            canonical_band(band)
        except ValueError as error:
            raise ValueError(
                f"an S-Cubes file has bands of S-PLUS alone: {error}; name it by bands=, or write "
                "the bands with write_bands"
            ) from None


def _check_unit(band: str, image: NDData) -> None:
    if image.unit is None or not image.unit.is_equivalent(FLUX_UNIT):
        raise ValueError(
            f"unit of band {band!r} must be a flux per wavelength, such as {FLUX_UNIT}, for an "
            f"S-Cubes file; got {image.unit}; bring counts to nmgy with their zero points "
            "(splus_srgan.surveys.calibrate_flux), and nmgy to it with "
            "astropy.units.spectral_density at the wavelength of the band"
        )


def _check_planes(field: Mapping[str, NDData]) -> None:
    """Make sure that images make one cube."""
    for band, image in field.items():
        if np.ndim(image.data) != 2 or not np.size(image.data):
            raise ValueError(
                f"result[{band!r}] must have shape (ny, nx); got {np.shape(image.data)}"
            )
    images = list(field.values())
    check_common_grid(
        [f"band {band!r}" for band in field],
        [image.data.shape for image in images],
        [image_wcs(image.wcs) for image in images],
    )
    lacking = [band for band, image in field.items() if image.uncertainty is None]
    if 0 < len(lacking) < len(field):
        raise ValueError(
            f"all bands of an S-Cubes file must have an uncertainty, or none; got none for "
            f"{lacking}; set the others' to None, or give these one"
        )
