# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
FITS files to bands on one grid, and back.

Files are taken as they are in the wild: S-PLUS images, plain or compressed, S-Cubes,
Legacy Surveys cubes, and what `write_bands` wrote.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.io import fits
from astropy.nddata import NDData

from splus_srgan.images.bands import check_distinct, check_label, listed_bands, same_band
from splus_srgan.images.grid import check_common_grid
from splus_srgan.images.io.read import find_bands
from splus_srgan.images.io.write import build_hdus, check_writable, set_card, write_atomically
from splus_srgan.splus import BANDS, canonical_band

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence
    from typing import Any, Literal

    from astropy.nddata import CCDData
    from astropy.units import UnitBase

    from splus_srgan.images.io.read import FoundBand
    from splus_srgan.utils.types import Bands, FilePath, Images

__all__ = [
    "add_provenance",
    "correlation_card",
    "check_writable",
    "provenance_cards",
    "read_bands",
    "stated_sky",
    "write_bands",
]

_PROVENANCE = {
    "model": ("SRMODEL", "super-resolution weights"),
    "model_version": ("SRMODVER", "version of the weights"),
    "version": ("SRVERS", "version of splus_srgan"),
    "sha256": ("SRSHA256", "weights: sha256, first 16 digits"),
    "stretch": ("SRSTRTCH", "stretch before the network"),
    "softening": ("SRSOFT", "[sigma] softening of the stretch"),
    "range": ("SRRANGE", "divisor of the stretch"),
    "sky": ("SRSKY", "sky of the input, in its unit; not subtracted"),
    "fine_sky": ("SRFSKY", "sky in this image, per pixel of the input"),
    "sigma": ("SRSIGMA", "noise per input pixel, its unit"),
    "precision": ("SRPREC", "arithmetic of the network"),
    "block_size": ("SRBLOCK", "block size (ny, nx), input pixels"),
    "turned": ("SRTURNED", "mean with the image turned by 180 degrees"),
    "device": ("SRDEVICE", "where the network ran"),
    "engine": ("SRENGINE", "what ran the network"),
    "date": ("SRDATE", "when (UTC)"),
    "factor": ("SRFACTOR", "output pixels per input pixel and axis"),
    "flux_per_pixel": ("SRPIXFLX", "flux per pixel, shared by finer pixels"),
    "output_fwhm": ("SRFWHM", "[arcsec] FWHM of the output PSF, its core"),
    "output_beta": ("SRBETA", "its Moffat beta"),
    "output_wings": ("SRWING", "its share of light in wide wings"),
    "psf": ("SRPSFIN", "PSF of the input: where it is from"),
    "psf_fwhm": ("SRPSFFWH", "[arcsec] its FWHM"),
    "psf_beta": ("SRPSFBET", "its Moffat beta"),
    "psf_wings": ("SRPSFWNG", "share of its light in wide wings"),
    "uncertainty": ("SRUNCERT", "origin of the errors of pixels"),
    "n_stars": ("SRNSTARS", "lone stars that were fitted"),
    "unusual": ("SRUNUSUL", "what is unusual in the input"),
    "flux_anchor": ("SRANCHOR", "strength of the flux anchor, 0 to 1"),
    "bands": ("SRBANDS", "bands enhanced together"),
    "band": ("SRBAND", "name of the band"),
}


def stated_sky(meta: Mapping[str, Any], default: float | None = None) -> float | None:
    """
    Sky of an enhanced image, as its header states it.

    Parameters
    ----------
    meta : mapping
        Header or other metadata of the enhanced image.
    default : float, optional
        Default for a header without it.

    Returns
    -------
    sky : float or None
        Per pixel of the *input*: the card ``SRFSKY``, measured on the image itself, or where it
        is missing ``SRSKY``, measured on the input.

    Examples
    --------
    >>> from splus_srgan.images.io.fields import stated_sky
    >>> stated_sky({"SRSKY": 2.0, "SRFSKY": 1.9}), stated_sky({"SRSKY": 2.0}), stated_sky({})
    (1.9, 2.0, None)
    """
    return meta.get("SRFSKY", meta.get("SRSKY", default))


def read_bands(
    paths: FilePath | Sequence[FilePath] | Mapping[str, FilePath],
    *,
    bands: Bands | None = None,
    hdu: int | str | tuple[str, int] | None = None,
    unit: UnitBase | str | None = None,
    checksum: Literal["warn", "error", "ignore"] = "warn",
    memmap: bool = False,
) -> dict[str, CCDData]:
    """
    Read bands that lie on one grid.

    Parameters
    ----------
    paths : path-like, or sequence of path-like, or mapping of str to path-like
        FITS files (``.fits``, ``.fits.gz``, ``.fits.fz``) of one band each, or
        cubes ``(n_band, ny, nx)`` with a BANDS card, S-Cubes, or files of `write_bands`.
        A mapping names the bands; otherwise the FILTER, BAND or BANDS card
        does, or the table of S-Cubes. ``hdu`` apart, an HDU is taken where it is the only image, or
        where the layout of the file is known.
    bands : str or sequence of str, optional
        The bands to return, in this order and spelling. By default all, in
        the order of the files, in the spelling of S-PLUS (``"r"``, ``"J0660"``).
        As many names as files, of one band each, whose headers do not say them all
        are the bands of the files, in order; no header may say another band of S-PLUS.
    hdu : int, str or tuple of (str, int), optional
        HDU to read in each file: by number, EXTNAME, or EXTNAME and EXTVER (``("SCI", 2)`` or
        ``"SCI,2"``).  An image of `write_bands` keeps its mask, flags, uncertainty and PSF.
    unit : `~astropy.units.UnitBase` or str, optional
        Unit of the pixels. Without a BUNIT card S-PLUS images are in
        ``adu`` and those of the Legacy Surveys in ``nmgy``; others need it.
    checksum : {"warn", "error", "ignore"}, optional
        What happens where a checksum in a file of `write_bands` does not hold: a
        `~splus_srgan.exceptions.ChecksumWarning`, an error, or nothing.
    memmap : bool, optional
        Whether the pixels stay in the file, plain or compressed tile by tile, until a part of
        them is asked for: ``data``, ``mask`` and the uncertainty then stand for arrays,
        of which slices and `numpy.asarray` are.  So
        `~splus_srgan.enhance.enhancer.SRGANEnhancer.to_file` takes fields that do not fit into
        memory.  The file has to stay as it is meanwhile.  What is compressed as a whole
        (``.fits.gz``) is read at once.

    Returns
    -------
    field : dict of str to `~astropy.nddata.CCDData`
        Images of shape ``(ny, nx)``, float32 in native byte order. ``meta`` is
        the FITS header without the cards of the WCS, which is ``wcs`` (`None`
        where the file has none). Masked are blocks of exact zeros at the
        border, where surveys have no image; what lies at the border with less
        than a quarter of the noise, which no exposure reached; and pixels without
        weight in Legacy Surveys cutouts. A stored mask (``MASK``, ``DQ``) is read by the legend
        of its bits (``MP_*``), and of JWST and Roman by ``DO_NOT_USE``; ``ERR`` and ``VARIANCE``
        beside an image are its uncertainty.

    Raises
    ------
    OSError
        If a file is missing, unreadable, truncated, no regular file or no FITS; if it says of
        itself what cannot be (axes without end), or lacks planes that it once had.
    TypeError
        If ``paths`` are no names of files.
    ValueError
        If a file has no image or several candidates, a band is missing, twice
        there or unnamed, or the unit is unknown.
    GridMismatchError
        If shapes differ or a WCS is off by more than 0.05 pixels.

    Notes
    -----
    Legacy Surveys viewer cutouts at another pixel scale than 0.262" hold
    nanomaggies per 0.262" pixel still: multiply them by ``(scale / 0.262)**2`` for
    flux per pixel.

    Of an S-Cubes file (extensions ``DATA``, ``ERRORS``, ``WEIMASK``, table ``METADATA``) each
    plane of ``DATA`` is a band, in flux per wavelength and pixel; ``ERRORS`` is its uncertainty.
    Masked are pixels where ``WEIMASK`` is above 0, as by S-Cubes, in all bands where it is one
    plane for all; those without a finite error; and what lies at the border without exposure.
    ``flags`` are the counts of ``WEIMASK``.  The FWHM of the PSF in the table becomes the card
    ``FWHMMEAN`` of the band, its other columns ``METADATA EXPTIME`` and the like, the cards of
    the first HDU ``PRIMARY GALAXY`` and the like.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from splus_srgan.images.io.fields import read_bands, write_bands
    >>> with TemporaryDirectory() as folder:
    ...     path = write_bands(f"{folder}/field.fits", {"r": CCDData(np.ones((4, 6)), unit="adu")})
    ...     field = read_bands(path)
    >>> list(field), field["r"].unit, field["r"].shape
    (['r'], Unit("adu"), (4, 6))
    """
    if bands is not None:
        bands = listed_bands(bands)
        check_distinct(bands)
    options = {"hdu": hdu, "unit": unit, "checksum": checksum, "memmap": memmap}
    found = _select(_find(paths, bands, options), bands)
    labels = [f"{one.path} ({name})" for name, one in found.items()]
    check_distinct(list(found), labels)
    images = {name: one.image for name, one in found.items()}
    shapes = [image.shape for image in images.values()]
    check_common_grid(labels, shapes, [image.wcs for image in images.values()], what="files")
    return images


def _find(paths: Any, bands: Any, options: Mapping[str, Any]) -> dict[str, FoundBand]:
    """Read all files; give `FoundBand` objects by name, each name once."""
    one = isinstance(paths, str | bytes | os.PathLike | io.IOBase | fits.HDUList | fits.Header)
    if one or not isinstance(paths, Iterable):
        paths = [paths]
    found, labels = [], []
    if isinstance(paths, Mapping):
        for name, path in paths.items():
            one = _one_band(find_bands(path, **options), name)
            found.append((name, one))
    else:
        files = [find_bands(path, **options) for path in paths]
        if _are_names_of(files, bands):
            found = [(name, _one_band(one, name)) for name, one in zip(bands, files, strict=True)]
        else:
            found = [(one.band, one) for file in files for one in file]
    if not found:
        raise ValueError(f"paths must name at least one file; got {paths!r}")
    for name, one in found:
        if name is None:
            raise ValueError(
                f"{one.path} does not say its band in a FILTER, BAND or BANDS card; "
                f"give bands= with the bands of all files in order, or name it by "
                f"read_bands({{'r': {str(one.path)!r}}})"
            )
        labels.append(str(one.path))
    check_distinct([name for name, _ in found], labels)
    return dict(found)


def _are_names_of(files: Sequence[list[FoundBand]], bands: Any) -> bool:
    """Tell whether bands are those of the files in order, as headers do not say them all."""
    if bands is None or len(bands) != len(files) or any(len(file) != 1 for file in files):
        return False
    said = [file[0].band for file in files if file[0].band is not None]
    return not all(any(same_band(name, band) for name in said) for band in bands)


def _one_band(candidates: Sequence[FoundBand], name: str) -> FoundBand:
    """Choose the band called ``name`` of one file."""
    if len(candidates) > 1:
        candidates = [one for one in candidates if one.band and same_band(one.band, name)]
    if len(candidates) != 1:
        raise ValueError(f"paths[{name!r}] must be a file with that band; it has no band {name!r}")
    one = candidates[0]
    if one.band is not None:
        try:
            check_label(name, one.image.meta)
        except ValueError as error:
            raise ValueError(f"{one.path}: {error}") from None
    return one


def _select(found: dict[str, FoundBand], bands: Any) -> dict[str, FoundBand]:
    if bands is None:
        return found
    chosen = {}
    for wanted in bands:
        match = [name for name in found if same_band(name, wanted)]
        if not match:
            files = ", ".join(f"{one.path} ({name})" for name, one in found.items())
            raise ValueError(f"bands must be among those in the files, {files}; got {wanted!r}")
        chosen[wanted] = found[match[0]]
    return chosen


def write_bands(path: FilePath, field: Images, *, overwrite: bool = False) -> Path:
    """
    Write bands as one multi-extension FITS file.

    The first HDU is empty but for the provenance that all bands share; then come for each band
    the extensions ``SCI`` with the whole header of the image, and as far as it has them
    ``ERR`` (``VAR`` or ``IVAR`` for a variance or its inverse), ``DQ`` (the flags), ``BPM``
    (1 is missing) and ``PSF``.  The EXTVER of the first band is 1, of the second 2, and the card
    BAND of each extension names its band; all but the PSF have the WCS.
    Uncertainties are converted to the unit of their image. The file has checksums. It is
    written beside its place and then renamed, so it is complete or not there, and an old
    one stays until then.

    Parameters
    ----------
    path : path-like
        ``.fits``, ``.fits.gz``, or ``.fits.fz``, which is compressed tile by tile without loss.
    field : mapping of str to `~astropy.nddata.CCDData` or `~astropy.nddata.NDData`
        Images of shape ``(ny, nx)``.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Returns
    -------
    path : `~pathlib.Path`
        The file.

    Raises
    ------
    TypeError
        If ``field`` is no mapping of NDData.
    ValueError
        If ``field`` is empty, an image is not two-dimensional, or a name is odd.
    FileExistsError
        If the file exists and ``overwrite`` is not set.
    OSError
        If it cannot be written; nothing is left behind.
    """
    path = check_writable(path, overwrite)
    if not isinstance(field, Mapping) or not all(isinstance(i, NDData) for i in field.values()):
        raise TypeError(f"field must be a mapping of band to CCDData; got {type(field).__name__}")
    if not field:
        raise ValueError("field must hold at least one band; got an empty mapping")
    return Path(write_atomically(path, build_hdus(field), overwrite=overwrite))


def provenance_cards(record: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """
    Put what made an image into FITS cards.

    Parameters
    ----------
    record : mapping
        Any of ``model``, ``model_version``, ``version`` (of this package), ``sha256`` (64
        hexadecimal digits), ``stretch``, ``softening``, ``range``, ``sky``, ``fine_sky``,
        ``sigma``, ``precision``, ``block_size``, ``turned``, ``device``, ``engine``, ``date``,
        ``factor``, ``flux_per_pixel`` (`True` where values were shared out over finer pixels),
        ``output_fwhm``, ``output_beta``, ``output_wings`` (of the PSF of the image), ``psf``,
        ``psf_fwhm``, ``psf_beta``, ``psf_wings`` (of the input), ``uncertainty`` (its origin),
        ``unusual``, ``flux_anchor``, ``bands``, ``band``, and ``correlation``, of the errors with
        those in other bands: a mapping of band to number. `None` is left out.

    Returns
    -------
    cards : list of tuple
        ``(keyword, value, comment)``, keywords of at most 8 characters, all
        beginning with ``SR``; the full hash is a HISTORY line.

    Raises
    ------
    ValueError
        If there is an unknown entry.

    Examples
    --------
    >>> from splus_srgan.images.io.fields import provenance_cards
    >>> provenance_cards({"precision": "float32", "block_size": (256, 256)})
    [('SRPREC', 'float32', 'arithmetic of the network'),
     ('SRBLOCK', '256,256', 'block size (ny, nx), input pixels')]
    """
    record = dict(record)
    correlation = record.pop("correlation", None) or {}
    unknown = [key for key in record if key not in _PROVENANCE]
    if unknown:
        raise ValueError(f"record must have only {', '.join(_PROVENANCE)}; got {unknown}")
    cards = []
    for key, value in record.items():
        if value is None:
            continue
        if isinstance(value, tuple | list):
            value = ",".join(map(str, value))
        short = value[:16] if key == "sha256" else value
        keyword, comment = _PROVENANCE[key]
        cards.append((keyword, short, comment))
        if key == "sha256":
            cards.append(("HISTORY", f"sha256:{value}", ""))
    for band, value in correlation.items():
        cards.append((correlation_card(band), value, f"correlation of errors with those in {band}"))
    return cards


def correlation_card(band: str) -> str:
    """
    Keyword of the correlation of the errors of an image with those in another band.

    Parameters
    ----------
    band : str
        The other band, one of S-PLUS in any spelling.

    Returns
    -------
    keyword : str
        ``SRC`` and its name.

    Examples
    --------
    >>> from splus_srgan.images.io.fields import correlation_card
    >>> correlation_card("F660")
    'SRCJ0660'
    """
    return f"SRC{canonical_band(band).upper()}"


def add_provenance(meta: MutableMapping[str, Any], record: Mapping[str, Any]) -> None:
    """
    Add `provenance_cards` to a header or dictionary, in place.

    Parameters
    ----------
    meta : `~astropy.io.fits.Header` or dict
        Metadata of an image.
    record : mapping
        As for `provenance_cards`.
    """
    # Of an image that was enhanced before.
    stale = [card for key, (card, _) in _PROVENANCE.items() if record.get(key, "") is None]
    if "correlation" in record:
        stale += [correlation_card(band) for band in BANDS]
    for keyword in stale:
        meta.pop(keyword, None)
    for keyword, value, comment in provenance_cards(record):
        if isinstance(meta, fits.Header):
            if keyword == "HISTORY":
                meta.add_history(value)
            else:
                set_card(meta, keyword, value, comment)
        elif keyword == "HISTORY":
            lines = meta.get("HISTORY", [])
            meta["HISTORY"] = [*([lines] if isinstance(lines, str) else lines), value]
        else:
            meta[keyword] = value
