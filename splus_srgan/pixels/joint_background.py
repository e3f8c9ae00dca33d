# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""One decision on the sky for all bands of a field, which see the same sources."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.pixels.background import as_stack, measure_background, noise_pixels
from splus_srgan.pixels.meshes import SkyMeshes
from splus_srgan.pixels.sample import take_windows, valid_windows
from splus_srgan.utils.floats import numpy_defaults

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from splus_srgan.pixels.background import Background
    from splus_srgan.utils.types import FloatArray

__all__ = ["measure_joint_background"]

_CLEARLY = 0.2  # sigma off zero, beyond which an image was not sky-subtracted
_SURE = 4.0  # errors


@numpy_defaults
def measure_joint_background(
    data: ArrayLike, *, mask: ArrayLike | None = None
) -> tuple[Background, FloatArray]:
    """
    Measure sky and noise of the bands of one field; where some have sky, all have.

    A band that sees fainter sources than another may find no sky between them.  It is then
    measured once more where the bands that found sky have no source, from however few meshes
    are left.  A level that is not clearly off zero is drawn to it as far as its error says.

    Parameters
    ----------
    data : array_like, shape (n_band, ny, nx)
        Bands on one grid, as for `~splus_srgan.pixels.background.measure_background`.
    mask : array_like of bool, optional
        `True` for pixels to ignore; it broadcasts against ``data``.

    Returns
    -------
    background : `~splus_srgan.pixels.background.Background`
        The very one of `~splus_srgan.pixels.background.measure_background` where all bands
        have sky, or none has.
    unlike : `~numpy.ndarray`, shape (n_band,)
        How far bands differ that were decided unlike others, in sigma: the level of a band
        that was measured once more, if clearly off zero; that of the others, if it could not
        be; else 0.

    Raises
    ------
    TypeError, ValueError
        As by `~splus_srgan.pixels.background.measure_background`.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.joint_background import measure_joint_background
    >>> images = np.random.default_rng(1).normal(100.0, 2.0, (2, 128, 128))
    >>> background, unlike = measure_joint_background(images)
    >>> background.has_sky, unlike
    (array([ True,  True]), array([0., 0.]))
    """
    background = measure_background(data, mask=mask)
    unlike = np.zeros(background.has_sky.size)
    found = np.flatnonzero(background.has_sky)
    if found.size in (0, background.has_sky.size):
        return background, unlike
    data, mask = as_stack(data, mask)
    level, error = np.abs(background.sky[found]), background.sky_error[found]
    scale = background.sigma[found]
    off_zero = level > np.maximum(_CLEARLY * scale, _SURE * error)
    parts = {name: np.array(getattr(background, name)) for name in vars(background)}
    for k in np.flatnonzero(~background.has_sky):
        row, is_off = _measure_again(data, mask, k, background, subtracted=not off_zero.any())
        if row is None:
            unlike[k] = np.max(level / scale, where=off_zero, initial=0)
            continue
        for name, value in zip(("sky", "sigma", "has_sky", "sky_error"), row, strict=True):
            parts[name][k] = value
        unlike[k] = abs(row[0]) / row[1] if is_off else 0.0
    return replace(background, **parts), unlike


def _measure_again(data, mask, k, background, subtracted):
    """Sky, sigma, `True` and error of a band between sources of others; whether off zero."""
    cuts = valid_windows(data[k], mask[k])
    base, noise = noise_pixels(*take_windows(data[k], mask[k], cuts), k)
    covered = np.array(noise.missing)
    for j in np.flatnonzero(background.has_sky):
        windows, missing = take_windows(data[j], mask[j], cuts)
        windows = np.where(missing, 0.0, windows - background.sky[j])
        covered |= SkyMeshes(windows, missing, 0.0).sources(0.0, background.sigma[j])
    meshes = SkyMeshes(np.where(covered, 0.0, noise.windows), covered, -base)
    sigma = background.sigma[k]
    for _ in range(2):
        level, error, off_zero = meshes.level_nevertheless(sigma, subtracted=subtracted)
        if level is None:
            return None, False
        sigma = noise.sigma(level, np.nan)
    return (level + base, sigma, True, error), off_zero
