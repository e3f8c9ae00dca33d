# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What is evaluated: an image, what it is enhanced to, and what it should be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Table

from splus_srgan.exceptions import GridMismatchError
from splus_srgan.images.grid import TOLERANCE, grid_shift, image_wcs
from splus_srgan.images.unpack import unpack
from splus_srgan.images.wcs import upsample_wcs

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from splus_srgan.simulate.field import SimulatedField
    from splus_srgan.utils.types import Images

__all__ = ["EvaluationPair"]


@dataclass
class EvaluationPair:
    """
    An input, and where there is one, its target on the finer grid.

    Parameters
    ----------
    name : str
        Name of the field.
    input : dict of str to `~astropy.nddata.CCDData`
        Band to image ``(ny, nx)``: what an enhancer is given.
    target : dict of str to `~astropy.nddata.CCDData`, optional
        Band to image ``(2 ny, 2 nx)`` in the same unit: what it should give, without
        left-over sky.  `None`: the image is judged by itself.
    noise_free : bool, optional
        Whether the target is a truth without noise; otherwise it is another survey's image.
    sources : `~astropy.table.Table`, optional
        Known sources: columns ``kind`` (``"star"`` or other), ``x``, ``y`` (0-based input
        pixels) and ``flux_<band>`` in nanomaggies.
    sky, sigma : dict of str to float, optional
        True left-over sky and noise per input pixel, in the unit of the image.
    kind : str, optional
        Kind of field.
    zero_points : dict of str to float, optional
        AB magnitude of one unit of the image per band, where it is known.

    Raises
    ------
    ValueError
        If the bands of both sides differ, or their units, or the target is an enhanced image.
    GridMismatchError
        If the target is not on the grid that is twice as fine, by its shape or its WCS.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> pair = EvaluationPair.from_simulation(simulate_field(1, shape=(32, 32)), name="one")
    >>> pair.bands, pair.shape
    (('g', 'r', 'z'), (32, 32))
    """

    name: str
    input: dict[str, CCDData]
    target: dict[str, CCDData] | None = None
    noise_free: bool = True
    sources: Table | None = None
    sky: dict[str, float] = field(default_factory=dict)
    sigma: dict[str, float] = field(default_factory=dict)
    kind: str = ""
    zero_points: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unpack(self.input)
        if self.target is None:
            return
        if set(self.target) != set(self.input):
            raise ValueError(
                f"target must have the bands of the image, {sorted(self.input)}; "
                f"got {sorted(self.target)}"
            )
        self.check_fine("target", self.target)
        made = [band for band, image in self.target.items() if "SRMODEL" in (image.meta or {})]
        if made:
            raise ValueError(
                f"target of {self.name!r} must not be an enhanced image; band {made[0]!r} has the "
                "card SRMODEL of one. Give an image of another telescope, or none"
            )

    def check_fine(self, name: str, images: Images) -> None:
        """
        Refuse images that are not on the grid that is twice as fine, or not in the same unit.

        Parameters
        ----------
        name : str
            What to call them in the message.
        images : dict of str to `~astropy.nddata.NDData`
            Band to image, of all bands of the pair.

        Raises
        ------
        GridMismatchError
            If a shape or, where both have one, a WCS is not that of the finer grid.
        ValueError
            If a unit differs.
        """
        wanted = tuple(2 * n for n in self.shape)
        for band, seen in self.input.items():
            image = images[band]
            where = f"{name} of {self.name!r} must be on the grid that is twice as fine"
            if np.shape(image.data) != wanted:
                raise GridMismatchError(
                    f"{where}, {wanted}; band {band!r} has {np.shape(image.data)}. Bring it there "
                    "with splus_srgan.match_pair, or with splus-srgan match"
                )
            coarse, fine = (image_wcs(getattr(one, "wcs", None)) for one in (seen, image))
            if coarse is not None and fine is not None:
                shift = grid_shift(upsample_wcs(coarse), fine, wanted)
                if shift > TOLERANCE:
                    off = f"{shift:.2f} px off" if np.isfinite(shift) else "nowhere near"
                    raise GridMismatchError(
                        f"{where}, within {TOLERANCE} px; by its WCS band {band!r} is {off}. Bring "
                        "it there with splus_srgan.match_pair or splus-srgan match, or mend the WCS"
                    )
            units = [getattr(one, "unit", None) for one in (seen, image)]
            if not (set(units) & {None, u.dimensionless_unscaled}) and units[0] != units[1]:
                raise ValueError(
                    f"{name} of {self.name!r} must have the unit of the image, {units[0]}; band "
                    f"{band!r} is in {units[1]}. Convert it, or calibrate the image "
                    "(splus_srgan.surveys.calibrate_flux, or splus-srgan match --zero-points)"
                )

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(self.input)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(ny, nx)`` of the input."""
        return np.shape(next(iter(self.input.values())).data)

    @classmethod
    def from_simulation(cls, simulated: SimulatedField, *, name: str) -> EvaluationPair:
        """
        Take a simulated field.

        Parameters
        ----------
        simulated : `~splus_srgan.simulate.field.SimulatedField`
            Field.
        name : str
            What to call it.

        Returns
        -------
        pair : `EvaluationPair`
            The field with its truth.
        """
        return cls(
            name,
            simulated.observed,
            simulated.target,
            sources=simulated.sources,
            sky=simulated.sky,
            sigma=simulated.sigma,
            kind=simulated.kind,
            zero_points={band: c.zero_point for band, c in simulated.conditions.items()},
        )
