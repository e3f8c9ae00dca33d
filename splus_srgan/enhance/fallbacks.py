# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Warnings about unknown properties of a field, and what is assumed instead."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from splus_srgan.exceptions import FallbackWarning

if TYPE_CHECKING:
    from collections.abc import Iterable

    from splus_srgan.enhance.field import Enhancement

__all__ = ["warn_of_fallbacks"]


def warn_of_fallbacks(work: Enhancement, *, automatic: bool, psf: object, stacklevel: int) -> None:
    """
    Warn about unknown properties of a field, with one line for each kind.

    Parameters
    ----------
    work : `~splus_srgan.enhance.field.Enhancement`
        Field and options.
    automatic : bool
        Whether the weights were chosen by the bands.
    psf : object
        The option of that name: where the PSF was looked for.
    stacklevel : int
        Stack level of the warnings, as `warnings.warn` takes it, for the caller of this function.
    """
    for told in (_pixel_scale(work), _psf(work, psf), _weights(work) if automatic else None):
        if told:
            warnings.warn(told, FallbackWarning, stacklevel=stacklevel + 1)


def _pixel_scale(work: Enhancement) -> str | None:
    if work.stack.wcs is not None and work.stack.wcs.has_celestial:
        return None
    return (
        f"the pixel scale is not known, since the data have no celestial WCS: {work.pixel_scale:g} "
        "arcsec is assumed; give them a WCS"
    )


_NOWHERE = {
    "auto": "neither from a header (FWHMMEAN) nor from stars",
    "header": "since psf='header' looks at the header (FWHMMEAN) alone",
    "measure": "since psf='measure' looks at stars alone, and finds too few",
}


def _psf(work: Enhancement, psf: object) -> str | None:
    bands = _named(work, (k for k, psf in enumerate(work.psfs) if psf is None))
    if not (bands and work.strength):
        return None
    return (
        f"the PSF of {bands} is not known, {_NOWHERE[str(psf)]}: the flux is not anchored there; "
        "give psf=, or flux_anchor=0 to do without"
    )


def _weights(work: Enhancement) -> str | None:
    if len(work.stack.bands) == 1:
        return None
    alone = [k for one in work.restorers if one.card.takes_any_band for k in one.places]
    if not alone:
        return None
    name = work.restorer_of(alone[0]).card.name
    return (
        f"{name} restores {_named(work, sorted(alone))} each by itself, since no weights know them "
        f"together with others. Name {name} as weights where that is meant"
    )


def _named(work: Enhancement, places: Iterable[int]) -> str:
    return ", ".join(str(work.stack.bands[k]) for k in places)
