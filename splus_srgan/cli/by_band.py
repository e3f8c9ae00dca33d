# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Values of an option for all bands alike, or by band: ``0.1``, or ``g=0.1 r=0.2``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from splus_srgan.cli.common import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

__all__ = ["ByBand", "finite", "read_by_band"]


@dataclass(frozen=True)
class ByBand:
    """
    What was given for the bands of a field.

    Attributes
    ----------
    option : str
        What was typed before it, such as ``"--sky"``.
    values : dict
        Value by band, or by `None` for all bands.
    """

    option: str
    values: dict[str | None, Any]

    def of(self, bands: Iterable[str]) -> dict[str, Any]:
        """
        Value of each band, by the names that the field has for them.

        Raises `UsageError` where one is for no band of the field, or a band has none.
        """
        from splus_srgan.images.bands import same_band

        bands = list(bands)
        if None in self.values:
            return dict.fromkeys(bands, self.values[None])
        found = {}
        for given, value in self.values.items():
            match = [band for band in bands if same_band(band, str(given))]
            if not match or match[0] in found:
                what = "each band once" if match else "bands of the field"
                raise UsageError(
                    f"{self.option} must name {what} ({', '.join(bands)}); got {given!r}"
                )
            found[match[0]] = value
        self.check_complete(bands)
        return found

    def check_complete(self, bands: Iterable[str]) -> None:
        """Raise `UsageError` if one of these bands has no value."""
        from splus_srgan.images.bands import same_band

        names = [str(name) for name in self.values]
        lacking = [band for band in bands if not any(same_band(band, name) for name in names)]
        if lacking and None not in self.values:
            raise UsageError(f"{self.option} must have every band; got none for {lacking[0]}")


def read_by_band(option: str, texts: Sequence[str], example: str, *, alike: bool = True) -> ByBand:
    """
    Read what was typed after an option, as texts.

    Parameters
    ----------
    option : str
        Its name.
    texts : sequence of str
        ``["g=1", "r=2"]``, or ``["1"]``.
    example : str
        How to write it, for the message.
    alike : bool, optional
        Whether one value may be given for all bands.

    Returns
    -------
    given : `ByBand`
        With texts as values.

    Raises
    ------
    UsageError
        If it is neither, or names a band twice.

    Examples
    --------
    >>> from splus_srgan.cli.by_band import read_by_band
    >>> read_by_band("--sky", ["g=1", "R=2"], "1, or g=1 r=2").of(["g", "r"])
    {'g': '1', 'r': '2'}
    """
    if alike and len(texts) == 1 and "=" not in texts[0]:
        return ByBand(option, {None: texts[0]})
    parts = [text.split("=") for text in texts]
    if not all(len(part) == 2 and part[0].strip() and part[1].strip() for part in parts):
        raise UsageError(f"{option} must be like {example}; got {' '.join(texts)}")
    twice = sorted({band for band, _ in parts if [b for b, _ in parts].count(band) > 1})
    if twice:
        raise UsageError(f"{option} must name each band once; got {twice[0]!r} again")
    return ByBand(option, {band: text for band, text in parts})  # noqa: C416 (of another type)


def finite(option: str, text: str, *, positive: bool = False, what: str = "a number") -> float:
    """Read a number, or refuse it: it has to be finite, and perhaps above 0."""
    try:
        number = float(text)
    except ValueError:
        raise UsageError(f"{option} must be {what}; got {text!r}") from None
    if not math.isfinite(number) or (positive and number <= 0):
        raise UsageError(f"{option} must be {'above 0' if positive else 'finite'}; got {text}")
    return number
