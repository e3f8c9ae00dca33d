# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Metadata of images: headers, and dictionaries for the headers that they will become."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from astropy.io.fits import Card, Header
from astropy.io.fits.verify import VerifyError, VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning

from splus_srgan.images.wcs import upsample_header
from splus_srgan.utils.quiet import own_filters

if TYPE_CHECKING:
    from typing import Any

__all__ = ["sound_header", "upsample_meta"]

_LOOKUP = re.compile(
    r"(CPDIS|CPERR)\d|D2IM(DIS|ERR)\d|D2IMEXT|AXISCORR|(DP|D2IM)\d(\..*)?|WCSDVARR"
)
_COMMENTARY = ("", "COMMENT", "HISTORY", "END", "CONTINUE")


def sound_header(header: Header) -> Header:
    """
    Copy a header; what no FITS reader could read is kept as a HISTORY line.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        It is not modified.

    Returns
    -------
    sound : `~astropy.io.fits.Header`
        Every card has a value.
    """
    sound, broken = Header(), []
    with own_filters():
        warnings.simplefilter("ignore", AstropyUserWarning)
        for card in header.copy().cards:
            try:
                card.verify("silentfix+exception")
                if not all(" " <= letter <= "~" for letter in str(card)):
                    raise ValueError("a FITS card must be printable ASCII")
                sound.append(card, useblanks=False, bottom=True)
            except (VerifyError, ValueError):
                broken.append("".join(c if " " <= c <= "~" else "?" for c in _text(card)))
    for text in broken:
        sound.add_history(f"unreadable card: {text.strip()}")
    return sound


def _text(card: Card) -> str:
    try:
        return str(card)
    except ValueError:  # letters that astropy takes in no card, such as tabs
        return card.keyword


def upsample_meta(meta: Any, **options: Any) -> Any:
    """
    Bring metadata of any class to a grid of finer pixels.

    Parameters
    ----------
    meta : `~astropy.io.fits.Header` or dict
        It is not modified.
    **options
        As for `~splus_srgan.images.wcs.upsample_header`.

    Returns
    -------
    fine : same class
        The cards as changed by `~splus_srgan.images.wcs.upsample_header`, without those of
        lookup distortions, which belong to the WCS of an image.  What a dictionary has
        beyond them, keys or values, stays as it is.
    """
    if isinstance(meta, Header):
        return upsample_header(_without_lookup(meta), **options)
    meta = _without_lookup(meta)
    header, keywords = _as_header(meta)
    fine = upsample_header(header, **options)
    items = {}
    for key, value in meta.items():
        keyword = keywords.get(key)
        if keyword is None:
            items[key] = value
        elif keyword in fine:
            items[key] = value if fine[keyword] == header[keyword] else fine[keyword]
        elif f"INPUT {keyword}" in fine and f"INPUT {key}" not in meta:
            items[f"INPUT {key}"] = value
    for card in fine.cards:
        if card.keyword not in header and not card.keyword.startswith("INPUT "):
            items[card.keyword] = card.value
    fine_meta = meta.copy()
    fine_meta.clear()
    fine_meta.update(items)
    return fine_meta


def _without_lookup(meta: Any) -> Any:
    """A copy without the cards of lookup tables, which are in the image's own WCS."""
    meta = meta.copy()
    for key in [key for key in meta if isinstance(key, str) and _LOOKUP.fullmatch(key.upper())]:
        if key in meta:
            del meta[key]
    return meta


def _as_header(meta: Any) -> tuple[Header, dict[str, Any]]:
    """Header of what can be cards, and the keyword of each such key."""
    header, keywords = Header(), {}
    for key, value in meta.items():
        card = _card(key, value)
        if card is not None and card.keyword not in header:
            header.append(card)
            keywords[key] = card.keyword
    return header, keywords


def _card(key: str, value: Any) -> Any:
    if not isinstance(key, str) or key.upper() in _COMMENTARY:
        return None
    # A value that no card can hold is no number either; its key may still be one to mark.
    for held in (value, ""):
        try:
            with own_filters():
                warnings.simplefilter("ignore", VerifyWarning)
                card = Card(key, held)
                str(card)
                return card
        except (ValueError, VerifyError):
            continue
    return None
