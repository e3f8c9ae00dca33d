# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What to ask the viewer of the Legacy Surveys, and whether the answer is an answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np

from splus_srgan.images.grid import pixel_scale
from splus_srgan.images.io.fitsfile import load_images
from splus_srgan.surveys._legacy_files import read_pieces
from splus_srgan.surveys._legacy_images import NATIVE_SCALE
from splus_srgan.surveys._position import one_position
from splus_srgan.utils.validate import check_integer, check_positive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from splus_srgan.surveys._legacy_files import Piece
    from splus_srgan.utils.types import FloatArray

__all__ = ["LAYERS", "MAX_SIZE", "CutoutRequest", "PSFRequest"]

LAYERS = {
    "ls-dr8": "grz",
    "ls-dr9": "grz",
    "ls-dr9-north": "grz",
    "ls-dr9-south": "grz",
    "ls-dr10": "griz",
    "ls-dr10-south": "griz",
}

MAX_SIZE = 3000

_COARSEST = 0.371  # arcsec; from here on the service blurs, bins, leaves weights and bits out
_FILTERS = "ugrizY"

# What the service says, with the status of success, and what it means.
_SAYS = {
    "no such layer": "layer must be one that the service has",
    "no overlap": "the position must be in the footprint of the layer",
}


@dataclass(frozen=True)
class PSFRequest:
    """
    A request for the PSF at a position.

    Attributes
    ----------
    position : `~astropy.coordinates.SkyCoord` or tuple of float
        Where.
    layer : str
        Data release.
    bands : sequence of str
        Bands, one letter each.
    """

    position: Any
    layer: str
    bands: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", one_position(self.position))
        object.__setattr__(self, "bands", _check_bands(self.layer, self.bands))

    def url(self, service: str) -> str:
        """Give the address."""
        return _url(service, "coadd-psf/", self._query())

    def _query(self) -> dict[str, str]:
        where = {"ra": f"{self.position.ra.deg:.7f}", "dec": f"{self.position.dec.deg:.7f}"}
        return {**where, "layer": self.layer, "bands": "".join(self.bands)}

    def check(self, path: Path) -> Any:
        """
        Read an answer.

        Raises `ValueError` where it answers something else, `OSError` where it is damaged.
        """
        _refuse_words(path)
        _, images, _ = load_images(path)
        psfs = {
            str(image.header.get("BAND", "")).strip(): np.asarray(image.data) for image in images
        }
        _same_bands(list(psfs), self.bands)
        return {band: _normalized(psfs[band], band) for band in self.bands}


def _normalized(psf: FloatArray, band: str) -> FloatArray:
    """Check that an array is a PSF, and give it sum 1."""
    total = float(np.sum(psf, dtype=float))
    if psf.ndim != 2 or not np.isfinite(total) or not 0.5 < total < 2:
        raise ValueError(
            f"the service has no PSF in {band!r} there: shape {psf.shape}, sum {total:.3g}"
        )
    return (psf / total).astype(np.float32)


@dataclass(frozen=True)
class CutoutRequest(PSFRequest):
    """
    A request for an image around a position.

    Attributes
    ----------
    size : int or tuple of int
        ``(ny, nx)``, or both at once.
    pixel_scale : float
        Arcsec per pixel.
    native : bool
        Whether pixels of the coadds are wanted as they are.
    invvar, maskbits : bool
        Whether weights and mask bits are wanted.
    """

    size: Any
    pixel_scale: float
    native: bool
    invvar: bool
    maskbits: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        scale = check_positive("pixel_scale", self.pixel_scale)
        object.__setattr__(self, "pixel_scale", scale)
        object.__setattr__(self, "size", _check_size(self.size))
        if self.native and abs(scale / NATIVE_SCALE - 1) > 1e-6:
            raise ValueError(f"pixel_scale must be {NATIVE_SCALE} with native=True; got {scale}")
        if scale >= _COARSEST and self.invvar:
            raise ValueError(
                f"pixel_scale must be below {_COARSEST} with invvar=True, since the service has no "
                f"weights for coarser images, and blurs them; got {scale}; fetch at 0.262 and "
                f"reproject, or pass invvar=False"
            )

    def url(self, service: str) -> str:
        """Give the address; the same request always has the same."""
        ny, nx = self.size
        sides = {"size": nx} if nx == ny else {"width": nx, "height": ny}
        query = {**self._query(), **sides, "pixscale": f"{self.pixel_scale:.10g}"}
        wanted = {"subimage": self.native, "invvar": self.invvar, "maskbits": self.maskbits}
        flags = "".join(f"&{name}" for name, yes in wanted.items() if yes)
        return _url(service, "fits-cutout", query) + flags

    def check(self, path: Path) -> list[Piece]:
        """
        Read an answer.

        Raises `ValueError` where it answers something else, `OSError` where it is damaged.
        """
        _refuse_words(path)
        pieces = read_pieces(path)
        _same_bands([piece.band for piece in pieces], self.bands)
        for piece in pieces:
            self._check_grid(piece)
            if self.invvar and piece.invvar is None:
                raise ValueError(
                    f"the service sent no inverse variances for {self.layer!r}; pass invvar=False"
                )
            if self.maskbits and self.pixel_scale < _COARSEST and piece.maskbits is None:
                raise ValueError(
                    f"the service sent no mask bits for {self.layer!r}, or not all of its answer; "
                    "try again, or pass maskbits=False"
                )
        if self.native and not any(self._inside(piece) for piece in pieces):
            raise ValueError("the service must give pixels around the position; got others")
        for band in self.bands:
            if not any(np.any(piece.valid) for piece in pieces if piece.band == band):
                raise ValueError(
                    f"{self.layer!r} has no pixels in {band!r} there (all are 0); "
                    f"choose a position in its footprint, or other bands"
                )
        return pieces

    def _inside(self, piece: Piece) -> bool:
        x, y = piece.wcs.world_to_pixel(self.position)
        ny, nx = piece.data.shape
        return -1 < x < nx and -1 < y < ny

    def _check_grid(self, piece: Piece) -> None:
        """Compare shape, scale and place with what was asked for."""
        ny, nx = piece.data.shape
        scale = pixel_scale(piece.wcs)
        if abs(scale / self.pixel_scale - 1) > 1e-4:
            raise ValueError(
                f"the service must give {self.pixel_scale} arcsec/pixel; got {scale:.6g}"
            )
        if self.native:
            return
        if (ny, nx) != self.size:
            raise ValueError(
                f"the service must give the size {self.size}; got {(ny, nx)}; ask for less"
            )
        x, y = piece.wcs.world_to_pixel(self.position)
        off = np.hypot(x - (nx - 1) / 2, y - (ny - 1) / 2)
        if not off < 1:
            raise ValueError(f"the service must center the position; got it {off:.1f} pixels off")


def _url(service: str, page: str, query: Mapping[str, Any]) -> str:
    return f"{service.rstrip('/')}/{page}?{urlencode(query)}"


def _check_size(size: Any) -> tuple[int, ...]:
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2:
        raise ValueError(f"size must be an integer or (ny, nx); got {size!r}")
    sides = tuple(check_integer("size", side, minimum=1) for side in sides)
    if max(sides) > MAX_SIZE:
        raise ValueError(
            f"size must be at most {MAX_SIZE} pixels, since the service cuts larger ones without "
            f"a word; got {size}; ask for several parts"
        )
    return sides


def _check_bands(layer: Any, bands: Any) -> tuple[str, ...]:
    if not isinstance(layer, str) or not layer:
        raise ValueError(f"layer must be a name such as 'ls-dr10'; got {layer!r}")
    known = LAYERS.get(layer.removesuffix("-model").removesuffix("-resid"), _FILTERS)
    names = tuple(bands)
    wrong = [name for name in names if not isinstance(name, str) or name not in tuple(known)]
    if wrong or not names:
        raise ValueError(
            f"bands must be among {', '.join(known)} for layer {layer!r}, in this spelling; "
            f"got {', '.join(map(str, names)) or 'none'}"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"bands must be different; got {', '.join(names)}")
    return names


def _same_bands(got: Sequence[str], wanted: Sequence[str]) -> None:
    # For a band that it does not know the service gives all that it has.
    if set(got) != set(wanted):
        raise ValueError(
            f"the service must give the bands {', '.join(wanted)}; got {', '.join(got) or 'none'}; "
            f"the layer may not have them"
        )


def _refuse_words(path: Path) -> None:
    """Tell an error in words from a damaged file."""
    with path.open("rb") as file:
        start = file.read(200)
    if start.startswith((b"SIMPLE", b"\x1f\x8b")):
        return
    text = " ".join(start.decode("utf-8", "replace").split())
    for words, meaning in _SAYS.items():
        if words in text.lower():
            raise ValueError(f"the service says {text!r}; {meaning}")
    raise OSError(f"the service sent no FITS file but {text!r}")
