# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Which weights restore which bands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from splus_srgan.exceptions import WeightsError
from splus_srgan.models.weights import available, find_card, load_card
from splus_srgan.splus import canonical_band

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.utils.types import FilePath

__all__ = ["card_or_auto", "choose_among", "choose_cards", "first_stage_of", "restored_together"]

_SUBSETS, _TOGETHER, _ANY = "splus", "splus-grz", "splus-any"  # the others: by name alone


def card_or_auto(weights: FilePath | WeightsCard) -> WeightsCard | Literal["auto"]:
    """
    Read a model card, where the weights are named.

    Parameters
    ----------
    weights : str, path-like or `~splus_srgan.models.weights.WeightsCard`
        As for `choose_cards`.

    Returns
    -------
    card : `~splus_srgan.models.weights.WeightsCard` or str
        The model card, or ``"auto"``.

    Raises
    ------
    TypeError, WeightsError
        As by `~splus_srgan.models.weights.load_card`.
    """
    if str(weights) == "auto":
        return "auto"
    if isinstance(weights, str | os.PathLike):
        find_card(weights, auto=True)
    return load_card(weights)


def choose_cards(
    weights: FilePath | WeightsCard, bands: Sequence[str]
) -> list[tuple[WeightsCard, list[int]]]:
    """
    Which weights restore which bands.

    Parameters
    ----------
    weights : str, path-like or `~splus_srgan.models.weights.WeightsCard`
        As for `~splus_srgan.models.weights.load_card`, or ``"auto"``: ``splus-grz`` for just g, r
        and z; else ``splus`` for two or more of the bands of S-PLUS, together; and ``splus-any``
        for one band, and for those of other filters.
    bands : sequence of str
        Bands of the data, in any spelling that ``canonical_band`` knows, and in any
        order.

    Returns
    -------
    chosen : list of tuple
        Each a `~splus_srgan.models.weights.WeightsCard` and the list of places in ``bands`` that
        it is for, in the order in which its generator takes them; every place stands in one list.

    Raises
    ------
    WeightsError
        If the weights are for other bands.

    Examples
    --------
    >>> from splus_srgan.models.choice import choose_cards
    >>> [(card.name, places) for card, places in choose_cards("auto", ("i", "r", "VR", "g"))]
    [('splus', [0, 1, 3]), ('splus-any', [2])]
    """
    found = [_canonical_or_same(band) for band in bands]
    card = card_or_auto(weights)
    if isinstance(card, str):
        return choose_among(_automatic(found), found)
    _check_flux_scale(card)
    if card.takes_any_band:
        return [(card, list(range(len(found))))]
    if card.takes_subsets:
        _check_subset(card, found)
        return [(card, list(range(len(found))))]
    if sorted(found) != sorted(card.bands):
        raise WeightsError(
            f"weights {card.name!r} need the bands {', '.join(card.bands)}; got "
            f"{', '.join(bands)}. Give all of them, or use weights='auto', which takes any"
        )
    return [(card, [found.index(band) for band in card.bands])]


def _automatic(found: Sequence[str]) -> tuple[WeightsCard, ...]:
    """Model cards for these bands, in the order in which they are chosen."""
    subsets, together, any_band = map(load_card, (_SUBSETS, _TOGETHER, _ANY))
    known = [found[k] for k in _covered(subsets, found, range(len(found)))]
    # They are the first stage of the others, which gain next to nothing from these bands alone.
    if sorted(known) == sorted(together.bands):
        return together, any_band
    return (subsets, any_band) if len(known) > 1 else (any_band,)


def first_stage_of(card: WeightsCard) -> list[WeightsCard]:
    """
    Model cards of the weights that a joint generator builds on.

    Parameters
    ----------
    card : `~splus_srgan.models.weights.WeightsCard`
        Model card of a joint generator.

    Returns
    -------
    cards : list of `~splus_srgan.models.weights.WeightsCard`
        In the order in which they are chosen.

    Raises
    ------
    WeightsError
        If one of them is not shipped with this version, or has different weights here.
    """
    cards = []
    for name, digest in card.first_stage.items():
        found = load_card(name) if name in available() else None
        if found is None or found.sha256 != digest:
            raise WeightsError(
                f"weights {card.name!r} build on {name!r} with sha256 {digest}; this version has "
                f"{'none of that name' if found is None else found.sha256}: use weights that were "
                "made with this version"
            )
        cards.append(found)
    return cards


def choose_among(
    cards: Sequence[WeightsCard], found: Sequence[str]
) -> list[tuple[WeightsCard, list[int]]]:
    """
    Choose among some weights: each, in this order, takes those of the bands left that it can.

    Parameters
    ----------
    cards : sequence of `~splus_srgan.models.weights.WeightsCard`
        Weights for several bands are for these together, where all of them are there.
    found : sequence of str
        Bands of the data.

    Returns
    -------
    chosen : list of tuple
        As `choose_cards` gives it.

    Raises
    ------
    WeightsError
        If a band is left over.

    Examples
    --------
    >>> from splus_srgan.models.choice import choose_among
    >>> from splus_srgan.models.weights import load_card
    >>> choose_among([load_card("splus-any")], ["i", "r"])[0][1]
    [0, 1]
    """
    chosen, left = [], list(range(len(found)))
    for card in cards:
        places = _covered(card, found, left)
        if places:
            chosen.append((card, places))
            left = [k for k in left if k not in places]
    if left:
        raise WeightsError(
            f"no weights for bands {', '.join(found[k] for k in left)}; there are: "
            + ", ".join(f"{c.name} ({' '.join(c.bands)})" for c in cards)
        )
    return chosen


def restored_together(cards: Sequence[WeightsCard], bands: Sequence[str]) -> list[bool]:
    """
    Which of the bands are restored together with others by these weights.

    Parameters
    ----------
    cards, bands
        As for `choose_among`.

    Returns
    -------
    together : list of bool
        For each of the bands.
    """
    chosen = choose_among(cards, bands)
    places = {k for card, own in chosen if not card.takes_any_band and len(own) > 1 for k in own}
    return [k in places for k in range(len(bands))]


def _covered(card: WeightsCard, found: Sequence[str], left: Iterable[int]) -> list[int]:
    """Which of the places that are left a model card is for."""
    if card.takes_any_band:
        return list(left)
    if card.takes_subsets:
        return [k for k in left if found[k] in card.bands and found.count(found[k]) == 1]
    places = [[k for k in left if found[k] == band] for band in card.bands]
    return [one[0] for one in places] if all(len(one) == 1 for one in places) else []


def _check_subset(card: WeightsCard, bands: Sequence[str]) -> None:
    unknown = [band for band in bands if band not in card.bands]
    if unknown or len(set(bands)) < len(bands):
        raise WeightsError(
            f"weights {card.name!r} need bands among {', '.join(card.bands)}, each once; got "
            f"{', '.join(bands)}"
        )


def _check_flux_scale(card: WeightsCard) -> None:
    if card.stretch.get("space") == "seed":
        raise WeightsError(
            f"weights {card.name!r} were trained in the seed paper's space, where each image lies "
            "between its own minimum and maximum: what they generate has no flux scale. Use their "
            "generator itself (load_generator), or weights trained with data.space='noise'"
        )


def _canonical_or_same(band: str) -> str:
    try:
        return canonical_band(band)
    except ValueError:
        return str(band)
