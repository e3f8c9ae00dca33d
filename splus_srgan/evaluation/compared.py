# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
A field made ready for comparison: what every measure is given.

Input, output and target are in one unit and without sky, with what is known of their noise
and their PSFs.  `splus_srgan.evaluation.comparison.compare_field` makes it, once a field.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import block_reduce
from astropy.table import Table, vstack
from scipy import ndimage

from splus_srgan.evaluation.apertures import blur_to_psf, to_input_grid
from splus_srgan.evaluation.catalog import list_sources
from splus_srgan.exceptions import GridMismatchError
from splus_srgan.pixels.fine_grid import to_fine_grid
from splus_srgan.pixels.psf import TARGET_PSF
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Callable

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["ComparedBand", "ComparedField"]

_SATURATION_REACH = 3.0  # FWHM around a saturated pixel, in which the source is still bright
_SEEING = 1.4  # arcsec, where the PSF is not known


@dataclass
class ComparedBand:
    """
    One band of a field: input, output, and target where there is one.

    Parameters
    ----------
    name : str
        Band.
    input : `~numpy.ndarray` or None, shape (ny, nx)
        Input without sky, flux per input pixel; 0 where it is missing.  `None`: not at hand.
    output : `~numpy.ndarray`, shape (2 ny, 2 nx)
        Enhanced image without sky, flux per fine pixel; 0 where it is missing.
    sigma : float
        Sky noise per input pixel.
    target : `~numpy.ndarray`, shape (2 ny, 2 nx), optional
        What the output should be, without sky, flux per fine pixel.
    noise_free : bool, optional
        Whether the target is a truth without noise.
    electrons : float, optional
        Electrons per unit of the flux; 0 where unknown.
    bad : `~numpy.ndarray` of bool, shape (ny, nx), optional
        Missing pixels.
    saturated : `~numpy.ndarray` of bool, shape (ny, nx), optional
        Saturated pixels of the input.
    mask : `~numpy.ndarray` of bool, shape (ny, nx), optional
        Pixels of sources: what annuli leave out.
    psf : tuple of float or None, optional
        FWHM (arcsec), Moffat beta and, if there are any, share of the wings
        (`~splus_srgan.pixels.psf.psf_transfer`) of the input.
    output_psf, target_psf : tuple of float or None, optional
        The same of the output, and of the target.
    pixel_scale : float, optional
        Arcsec per input pixel.
    zero_point : float, optional
        AB magnitude of one unit of flux; NaN where unknown.
    missing : `~numpy.ndarray` of bool, shape (2 ny, 2 nx), optional
        Pixels that the output masks, or that are not finite.
    lost : `~numpy.ndarray` of bool, shape (2 ny, 2 nx), optional
        Those of them that are not masked.
    promised : `~numpy.ndarray`, shape (m, m), optional
        PSF image that comes with the output.
    std : `~numpy.ndarray`, shape (2 ny, 2 nx), optional
        Standard deviation that the output states, flux per fine pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.compared import ComparedBand
    >>> band = ComparedBand("r", np.zeros((32, 32)), np.zeros((64, 64)), 1.0, psf=(1.4, 3.0))
    >>> band.blurred_output.shape, band.seen_output.shape
    ((64, 64), (32, 32))
    """

    name: str
    input: np.ndarray | None
    output: np.ndarray
    sigma: float
    target: np.ndarray | None = None
    noise_free: bool = True
    electrons: float = 0.0
    # Masks that are left out are made in __post_init__: a reader never meets `None`.
    bad: BoolArray = None  # type: ignore[assignment]
    saturated: BoolArray = None  # type: ignore[assignment]
    mask: BoolArray = None  # type: ignore[assignment]
    psf: tuple[float, ...] | None = None
    output_psf: tuple[float, ...] | None = TARGET_PSF
    target_psf: tuple[float, ...] | None = TARGET_PSF
    pixel_scale: float = PIXEL_SCALE
    zero_point: float = np.nan
    missing: BoolArray = None  # type: ignore[assignment]
    lost: BoolArray = None  # type: ignore[assignment]
    promised: np.ndarray | None = None
    std: np.ndarray | None = None

    def __post_init__(self) -> None:
        fine = np.shape(self.output)
        shape = tuple(n // 2 for n in fine) if self.input is None else np.shape(self.input)
        wanted = tuple(2 * n for n in shape)
        for name in ("output", "target"):
            image = getattr(self, name)
            if image is not None and image.shape != wanted:
                raise GridMismatchError(
                    f"{name} of band {self.name!r} must have shape {wanted}, twice that of the "
                    f"input; got {image.shape}"
                )
        for name in ("bad", "saturated", "mask"):
            if getattr(self, name) is None:
                setattr(self, name, np.zeros(shape, bool))
        for name in ("missing", "lost"):
            if getattr(self, name) is None:
                setattr(self, name, np.zeros(wanted, bool))
        self.bad = self.bad | self.saturated

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)`` of the input."""
        ny, nx = self.bad.shape
        return ny, nx

    @property
    def fine_scale(self) -> float:
        """Arcsec per fine pixel."""
        return self.pixel_scale / 2

    @cached_property
    def spoiled(self) -> BoolArray:
        """
        Input pixels that cannot be judged, shape (ny, nx).

        Missing and saturated ones, with what a saturated source has spilt into.
        """
        if not self.saturated.any():
            return self.bad
        fwhm = _SEEING if self.psf is None else self.psf[0]
        reach = int(np.ceil(_SATURATION_REACH * fwhm / self.pixel_scale))
        return self.bad | ndimage.binary_dilation(self.saturated, iterations=reach)

    @cached_property
    def hidden(self) -> BoolArray:
        """Fine pixels that cannot be judged, shape (2 ny, 2 nx)."""
        return self.spoiled.repeat(2, 0).repeat(2, 1) | self.missing

    @cached_property
    def sky_units(self) -> FloatArray:
        """Output as surface brightness in sigma of an input pixel; NaN where it is missing."""
        return np.where(self.missing, np.nan, 4 * self.output / self.sigma)

    @cached_property
    def blurred_output(self) -> FloatArray:
        """Output at the PSF of the input, fine grid; as it is where a PSF is not known."""
        if self.psf is None or self.output_psf is None:
            return self.output
        return self._blurred(self.output, self.psf, self.output_psf)

    @cached_property
    def seen_output(self) -> FloatArray:
        """Output at the PSF and on the pixels of the input."""
        return self._seen(self.output, self.output_psf)

    @cached_property
    def shown_light(self) -> FloatArray:
        """
        Input as sharp as the output, in sigma of an input pixel; NaN where it is spoiled.

        The input, and what the PSF takes away from the output: what is too faint to be seen in
        the output stays as broad as it is.
        """
        sharpness = block_reduce(4 * self.output, 2, np.mean) - self.seen_output
        return np.where(self.spoiled, np.nan, (present(self.input) + sharpness) / self.sigma)

    @cached_property
    def seen_target(self) -> FloatArray | None:
        """Target at the PSF and on the pixels of the input: without noise, if it has none."""
        return None if self.target is None else self._seen(self.target, self.target_psf)

    def _seen(self, image: FloatArray, psf: tuple[float, ...] | None) -> FloatArray:
        wanted = None if psf is None else self.psf
        seen = to_input_grid(image, wanted, psf=psf or TARGET_PSF, pixel_scale=self.fine_scale)
        if psf is None or wanted is None or psf[0] <= wanted[0]:
            return seen
        # The input is the sharper one: what one blur more takes away is given back, to first order.
        return 2 * seen - blur_to_psf(seen, psf, psf=wanted, pixel_scale=self.pixel_scale)

    @cached_property
    def blurred_target(self) -> FloatArray:
        """Target at the PSF of the input, fine grid."""
        return self._blurred(present(self.target), self.psf, self.target_psf)

    def _blurred(
        self, image: FloatArray, wanted: tuple[float, ...] | None, psf: tuple[float, ...] | None
    ) -> FloatArray:
        return blur_to_psf(image, present(wanted), psf=present(psf), pixel_scale=self.fine_scale)

    @cached_property
    def matched(self) -> tuple[FloatArray, FloatArray]:
        """Output and target at one PSF, the broader one of both."""
        have, want, target = self.output_psf, self.target_psf, present(self.target)
        if have is None or want is None or np.allclose(have[:2], want[:2], rtol=0.01):
            return self.output, target
        if have[0] < want[0]:
            return self._blurred(self.output, want, have), target
        return self.output, self._blurred(target, have, want)


@dataclass
class ComparedField:
    """
    All bands of a field, and its sources.

    Parameters
    ----------
    name : str
        Name of the field.
    bands : dict of str to `ComparedBand`
        Bands, from blue to red.
    known : `~astropy.table.Table`, optional
        Known sources, as of `~splus_srgan.evaluation.pairs.EvaluationPair`.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    >>> band = ComparedBand("r", np.zeros((32, 32)), np.zeros((64, 64)), 1.0)
    >>> field = ComparedField("empty", {"r": band})
    >>> len(field.sources), field.has_target
    (0, False)
    """

    name: str
    bands: dict[str, ComparedBand]
    known: Table | None = None

    @cached_property
    def sources(self) -> Table:
        """List of sources, as of `~splus_srgan.evaluation.catalog.list_sources`."""
        return list_sources(self.bands, known=self.known)

    @cached_property
    def bicubic(self) -> dict[str, FloatArray]:
        """Band to the input interpolated by cubic splines, flux per fine pixel."""
        return {
            name: to_fine_grid(present(band.input), order=3) / 4
            for name, band in self.bands.items()
        }

    @property
    def has_input(self) -> bool:
        """Whether the input is at hand."""
        return all(band.input is not None for band in self.bands.values())

    @property
    def has_target(self) -> bool:
        """Whether there is a target."""
        return all(band.target is not None for band in self.bands.values())

    @property
    def noise_free(self) -> bool:
        """Whether there is a target, and it is a truth without noise."""
        return self.has_target and all(band.noise_free for band in self.bands.values())

    def each(self, measure: Callable[[ComparedBand], Table]) -> Table:
        """
        Measure band by band.

        Parameters
        ----------
        measure : callable
            Takes a `ComparedBand` and gives a table.

        Returns
        -------
        table : `~astropy.table.Table`
            The rows of all bands, with a column ``field``.
        """
        table = vstack([measure(band) for band in self.bands.values()], "outer", "silent")
        table["field"] = np.full(len(table), self.name, "U64")
        return table
