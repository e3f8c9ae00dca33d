# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Names of bands: where headers keep them, and when two spellings mean the same band."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from splus_srgan.splus import BANDS, canonical_band

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from splus_srgan.utils.types import Bands

__all__ = [
    "UNNAMED",
    "band_names",
    "check_distinct",
    "check_label",
    "describe_plane",
    "listed_bands",
    "meta_band",
    "named_as",
    "same_band",
    "split_bands",
    "tidy_band",
]

UNNAMED = "unknown"
"""Name of the band of an image that does not say."""


def tidy_band(name: object) -> str:
    """Give the usual name of a band of S-PLUS, and any other name as it is."""
    try:
        return canonical_band(name)
    except ValueError:
        return str(name).strip()


def same_band(one: object, other: object) -> bool:
    """Tell whether two names mean the same band."""
    return tidy_band(one) == tidy_band(other)


def meta_band(meta: Mapping[str, Any] | None) -> str | None:
    """
    Read the band from metadata.

    Parameters
    ----------
    meta : mapping or None
        Header or dictionary.

    Returns
    -------
    band : str or None
        From ``SRBAND``, ``BAND``, ``FILTER``, or a ``BANDS`` of one band.
    """
    for key in ("SRBAND", "BAND", "FILTER"):
        value = (meta or {}).get(key)
        if isinstance(value, str) and value.strip():
            return tidy_band(value)
    names = split_bands((meta or {}).get("BANDS"), 1)
    # "grz" is the set that a plane was taken from, and not the name of a band.
    return tidy_band(names[0]) if names and len(names) == 1 and _is_name(names[0]) else None


def _is_name(text: str) -> bool:
    try:
        canonical_band(text)
    except ValueError:
        return len(text) == 1
    return True


def describe_plane(meta: Any, band: str) -> None:
    """
    Turn the metadata of a cube into that of one of its planes, in place.

    Parameters
    ----------
    meta : `~astropy.io.fits.Header` or dict
        A copy of the cube's own.
    band : str
        Name of the plane.
    """
    for key in list(meta):
        if key in ("NAXIS3", "BANDS") or re.fullmatch(r"BAND\d+", str(key)):
            meta.pop(key, None)
    if "NAXIS" in meta:
        meta["NAXIS"] = 2
    meta["BAND"] = band


def listed_bands(bands: str | Iterable[str]) -> list[str]:
    """
    List the names in what a caller gives for bands.

    Parameters
    ----------
    bands : str or iterable of str
        One name; several, with commas or blanks between them; letters of the broad bands, such
        as ``"grz"``; or names one by one.

    Returns
    -------
    names : list of str
        As they are spelled.

    Examples
    --------
    >>> from splus_srgan.images.bands import listed_bands
    >>> listed_bands("grz"), listed_bands("r, J0660"), listed_bands("F814W")
    (['g', 'r', 'z'], ['r', 'J0660'], ['F814W'])
    """
    if not isinstance(bands, str):
        return list(bands)
    names = split_bands(bands, None) or []
    return list(names[0]) if len(names) == 1 and set(names[0]) <= set(BANDS) else names


def named_as(band: object, known: Mapping[Any, Any], *, name: str) -> Any:
    """
    Find the entry of a band in a mapping, however the band is spelled there.

    Parameters
    ----------
    band : str
        Name of the band.
    known : mapping
        Values by band.
    name : str
        Name of the mapping in the message.

    Returns
    -------
    value
        Of the exact spelling, if that is there.

    Raises
    ------
    ValueError
        If there is none.
    """
    if band in known:
        return known[band]
    for key, value in known.items():
        if same_band(key, band):
            return value
    raise ValueError(f"{name} must have every band of data; got none for {band!r}")


def split_bands(value: Any, n_band: int | None) -> list[str] | None:
    """
    Split what a ``BANDS`` card holds into names.

    Parameters
    ----------
    value : str or sequence of str or None
        ``"grz"``, ``"g,r,z"``, ``"J0378 r"`` or a sequence.
    n_band : int or None
        How many there must be; decides whether ``"grz"`` is one name or three.

    Returns
    -------
    names : list of str or None
        `None` where there are none.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        return [str(name) for name in value]
    names = [name for name in re.split(r"[\s,;]+", value.strip()) if name]
    if len(names) == 1 and len(names[0]) == n_band:
        return list(names[0])
    return names or None


def band_names(image: Any, bands: Bands | None, n_band: int | None) -> list[str]:
    """
    Settle the names of the bands of one object.

    Parameters
    ----------
    image : `~astropy.nddata.NDData` or None
        Its ``meta`` is asked where ``bands`` is `None`.
    bands : str or sequence of str or None
        The names given by the caller.
    n_band : int or None
        How many there must be, where that is known.

    Returns
    -------
    names : list of str

    Raises
    ------
    TypeError
        If a name is no string.
    ValueError
        If the number is wrong, a stack has no names, or the names contradict
        the metadata.
    """
    if bands is not None and not isinstance(bands, str) and not _all_strings(bands):
        raise TypeError(f"bands must be names (str); got {bands!r}")
    meta = getattr(image, "meta", None) or {}
    own = split_bands(meta.get("BANDS"), n_band) if n_band != 1 else _listed(meta_band(meta))
    names = split_bands(bands, n_band) or own
    if names is None:
        if n_band == 1:
            return [UNNAMED]
        raise ValueError(
            f"bands must name the {n_band} planes of the stack, for meta['BANDS'] is missing; "
            f"got None; pass for example bands=('g', 'r', 'z')"
        )
    if n_band is not None and len(names) != n_band:
        raise ValueError(f"bands must name {n_band} planes; got {names}")
    if own and not (len(own) == len(names) and all(map(same_band, own, names))):
        raise ValueError(f"bands must agree with the metadata of the data, {own}; got {names}")
    return names


def _listed(name: str | None) -> list[str] | None:
    return None if name is None else [name]


def _all_strings(bands: Any) -> bool:
    try:
        return all(isinstance(band, str) for band in bands)
    except TypeError:
        return False


def check_distinct(names: Sequence[Any], labels: Sequence[Any] | None = None) -> None:
    """
    Refuse two names of one band.

    Parameters
    ----------
    names : sequence of str
        Names as given.
    labels : sequence of str, optional
        What to call each in the message, such as its file.

    Raises
    ------
    TypeError
        If a name is no string.
    ValueError
        If two names mean the same band.
    """
    labels = names if labels is None else labels
    seen: dict[str, Any] = {}
    for name, label in zip(names, labels, strict=True):
        if not isinstance(name, str) or not name.strip():
            raise TypeError(f"names of bands must be non-empty str; got {name!r}")
        # Files tell bands apart by upper-case extension names.
        key = tidy_band(name).upper()
        if key in seen:
            raise ValueError(
                f"each band may occur once; got {seen[key]!r} and {label!r} for "
                f"the band {tidy_band(name)!r}"
            )
        seen[key] = label


def check_label(name: str, meta: Mapping[str, Any]) -> None:
    """
    Refuse an image under a name that its own header contradicts.

    Parameters
    ----------
    name : str
        The name it was given.
    meta : mapping
        Its header; a filter of no S-PLUS band contradicts nothing.

    Raises
    ------
    ValueError
        If header and name are two different bands of S-PLUS.
    """
    said = meta_band(meta)
    try:
        different = canonical_band(said) != canonical_band(name)
    except ValueError:
        return
    if different:
        raise ValueError(
            f"band {name!r} must be what its header says, {said!r}; use that name, "
            f"or correct the FILTER or BAND card"
        )
