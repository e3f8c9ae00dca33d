# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What ``splus-srgan enhance`` says of its work, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splus_srgan.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from astropy.io.fits import Header
    from astropy.nddata import CCDData

    from splus_srgan.enhance.enhancer import SRGANEnhancer
    from splus_srgan.utils.types import FilePath

__all__ = ["bands_of_file", "say_bands", "say_plan"]

_SHOWN = {
    "SRMODEL": "weights",
    "SRSKY": "sky",
    "SRSIGMA": "sigma",
    "SRPSFIN": "PSF",
    "SRPSFFWH": "FWHM",
    "SRANCHOR": "flux anchor",
    "SRUNCERT": "errors",
}

_SAID = 0.05  # percent


def say_plan(enhancer: SRGANEnhancer, field: Mapping[str, CCDData], target: Path) -> None:
    """Say what would be done."""
    import numpy as np

    from splus_srgan.models.choice import choose_cards

    bands = tuple(field)
    ny, nx = next(iter(field.values())).shape
    for band, image in field.items():
        masked = 0 if image.mask is None else np.mean(image.mask)
        say(f"{band}: {ny} x {nx} pixels in {image.unit}, {100 * masked:.1f} % masked")
    for card, places in choose_cards(enhancer.weights, bands):
        say(f"weights: {card.name} {card.version} for {', '.join(bands[k] for k in places)}")
    say(f"output: {target}: {2 * ny} x {2 * nx} pixels; nothing was done (--dry-run)")


def bands_of_file(path: FilePath) -> Iterator[tuple[str, Header, Any]]:
    """Name, header and flags of each band in a file of bands."""
    from astropy.io import fits

    with fits.open(path, memmap=True) as hdus:
        for hdu in hdus:
            if hdu.name == "SCI":
                yield hdu.header["BAND"], hdu.header, hdus["DQ", hdu.ver].data


def say_bands(bands: Iterable[tuple[str, Header | Mapping[str, Any], Any]]) -> None:
    """Say in one line a band what it rests on, by its name, header and flags."""
    for band, header, quality in bands:
        units = {"SRPSFFWH": " arcsec"}
        if header.get("BUNIT"):
            units |= dict.fromkeys(("SRSKY", "SRSIGMA"), f" {header['BUNIT']}")
        facts = {
            word: _short(header[card]) + units.get(card, "")
            for card, word in _SHOWN.items()
            if card in header
        }
        facts |= _shares(quality)
        told = ", ".join(f"{word} {value}" for word, value in facts.items())
        say(f"{band}: {told}")


def _shares(quality: Any) -> dict[str, str]:
    """How much of an image is masked, saturated, or has any remark."""
    import numpy as np

    from splus_srgan.images.quality import Quality

    rows = range(0, len(quality), 256)  # counting makes a larger copy
    counts = np.zeros(256, int)
    for k in rows:
        counts += np.bincount(quality[k : k + 256].ravel(), minlength=256)
    values = np.arange(256)

    def share(kind: Any) -> float:
        return 100 * counts[kind].sum() / quality.size

    by_bit = {bit.name: share(values & int(bit) != 0) for bit in Quality}
    most = max(by_bit, key=lambda name: by_bit[name])
    flagged = share(values != 0)
    return {
        "masked": f"{by_bit['MISSING']:.1f} %",
        "saturated": f"{by_bit['SATURATED']:.1f} %",
        "flagged": f"{flagged:.1f} %" + (f" (most: {most})" if flagged >= _SAID else ""),
    }


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
