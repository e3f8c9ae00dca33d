# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A stack of bands, taken apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.io.fits import Header
from astropy.nddata import CCDData, NDData, StdDevUncertainty

from splus_srgan.images.unpack import uncertainty_array, unpack

if TYPE_CHECKING:
    from typing import Any

__all__ = ["split_stack"]


def split_stack(stack: NDData) -> dict[str, NDData]:
    """
    Take a stack of bands apart.

    Parameters
    ----------
    stack : `~astropy.nddata.NDData`, shape (n_band, ny, nx)
        With the names of its bands in ``meta["BANDS"]``, as
        `~splus_srgan.SRGANEnhancer` gives it.

    Returns
    -------
    images : dict of str to `~astropy.nddata.NDData`
        Band to image, ``(ny, nx)``, with mask, standard deviation, PSF and flags of the band, and
        the cards that it alone has under their own names.

    Raises
    ------
    TypeError, ValueError
        If it is no stack, or its bands have no names.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from splus_srgan.images.stacks import split_stack
    >>> meta = {"BANDS": "g,r", "SEEING1": 1.4, "SEEING2": 1.2}
    >>> images = split_stack(CCDData(np.ones((2, 4, 5)), unit="nmgy", meta=meta))
    >>> images["r"].shape, images["r"].meta["SEEING"]
    ((4, 5), 1.2)
    """
    parts = unpack(stack, new_uncertainty=True)
    if parts.form != "stack":
        raise ValueError(f"stack must have shape (n_band, ny, nx); got {np.shape(stack.data)}")
    known = stack.uncertainty is not None
    std = uncertainty_array(stack, StdDevUncertainty) if known else None
    flags = getattr(stack, "flags", None)
    images = {}
    for k, band in enumerate(parts.bands):
        options = {
            "unit": parts.unit,
            "wcs": parts.wcs,
            "mask": parts.mask[k],
            "meta": _of_band(parts.metas[k], k),
            "uncertainty": None if std is None else StdDevUncertainty(std[k]),
            "psf": parts.psfs[k],
        }
        if parts.unit is None:
            images[band] = NDData(parts.data[k], **options)
        else:
            own = None if flags is None or np.ndim(flags) != 3 else np.asarray(flags)[k]
            images[band] = CCDData(parts.data[k], flags=own, **options)
    return images


def _of_band(meta: Any, k: int) -> Any:
    """Add cards that were numbered, since bands differ in them, under the names they had."""
    own = meta.copy()
    for key, value in meta.items():
        name = str(key).removesuffix(str(k + 1))
        if name and name != str(key) and name not in meta:
            long = isinstance(meta, Header) and len(name) > 8
            own[f"HIERARCH {name}" if long else name] = value
    return own
