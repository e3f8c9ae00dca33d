# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The galaxies of the seed paper, how they are split, and copies beside them.

A split depends on the names and the seed alone, through a hash: neither the order of
the rows nor the version of a random number generator matters.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle
from astropy.table import QTable

from splus_srgan.surveys.columns import column_positions
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.coordinates import SkyCoord
    from astropy.table import Table
    from astropy.units import Quantity
    from numpy.typing import NDArray

__all__ = ["load_galaxies", "offset_copies", "split_by_sky", "split_random"]

_DIRECTIONS = 8


def load_galaxies() -> QTable:
    """
    Load the 150 galaxies that the seed paper was made with.

    They are in S-PLUS and in the Legacy Surveys, most of them in Stripe 82, and were
    chosen by eye, so as to be bright, well seen and away from saturated stars.

    Returns
    -------
    galaxies : `~astropy.table.QTable`
        150 rows: ``name`` (by position), ``ra`` and ``dec`` (ICRS, deg). ``meta["source"]``
        says where the list is from.

    Examples
    --------
    >>> from splus_srgan.surveys.catalog import load_galaxies
    >>> galaxies = load_galaxies()
    >>> len(galaxies), str(galaxies["name"][0])
    (150, 'J235607.2-005458')
    """
    text = files("splus_srgan.surveys").joinpath("galaxies.ecsv").read_text(encoding="utf-8")
    return QTable.read(text.splitlines(), format="ascii.ecsv")


def split_random(
    table: Table, *, n_test: int = 25, seed: int, together: Quantity = 2 * u.arcmin
) -> tuple[Table, Table]:
    """
    Split into galaxies to train with and galaxies to test with, at random.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Columns ``name``, ``ra`` and ``dec`` (deg).
    n_test : int, optional
        How many to test with.
    seed : int
        Which of the random splits.
    together : `~astropy.units.Quantity`, optional
        Galaxies closer than this are in each other's images, so they stay on one side.
        Zero splits them, too, as in the seed paper.

    Returns
    -------
    train, test : tuple of `~astropy.table.Table`
        Rows of the table, in its order.

    Raises
    ------
    ValueError
        If a column or coordinate is missing, names are not unique, or the number cannot be had.

    Examples
    --------
    >>> from splus_srgan.surveys.catalog import load_galaxies, split_random
    >>> train, test = split_random(load_galaxies(), seed=1)
    >>> len(train), len(test)
    (125, 25)
    """
    names, sky = _checked(table, n_test)
    groups = _groups(sky, u.Quantity(together))
    # A group has the rank of its first member by hash.
    ranks: dict[int, list[int]] = {}
    for i in sorted(range(len(names)), key=lambda i: _hash("split", seed, names[i])):
        ranks.setdefault(groups[i], []).append(i)
    chosen: list[int] = []
    for members in ranks.values():
        # A pair that would be one too many waits, and the next single galaxy takes the place.
        if len(chosen) + len(members) <= n_test:
            chosen += members
    if len(chosen) != n_test:
        raise ValueError(
            f"n_test must be a number that whole groups add up to; got {n_test}, where "
            f"{len(chosen)} is next; change it, or pass a smaller together="
        )
    return _rows(table, chosen)


def split_by_sky(
    table: Table, *, n_test: int = 25, seed: int, gap: Quantity = 0.5 * u.deg
) -> tuple[Table, Table]:
    """
    Split into galaxies to train with and galaxies to test with, by region of the sky.

    The galaxies to test with are neighbors in right ascension, so nights, tiles and
    calibration are others than those trained with: a harder test than a random split.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Columns ``name``, ``ra`` and ``dec`` (deg).
    n_test : int, optional
        How many to test with.
    seed : int
        Chooses the region, by the galaxy at its western end.
    gap : `~astropy.units.Quantity`, optional
        Galaxies outside the region, but this close to one in it, are left out.

    Returns
    -------
    train, test : tuple of `~astropy.table.Table`
        Rows of the table, in its order.

    Raises
    ------
    ValueError
        If a column or coordinate is missing, names are not unique, or there are too few galaxies.

    Examples
    --------
    >>> from splus_srgan.surveys.catalog import load_galaxies, split_by_sky
    >>> train, test = split_by_sky(load_galaxies(), seed=2)
    >>> len(test)
    25
    """
    names, sky = _checked(table, n_test)
    order = _along_ra(sky)
    # Not across the widest gap: both its sides are not one region.
    starts = order[: len(order) - n_test + 1]
    first = min(range(len(starts)), key=lambda i: _hash("region", seed, names[starts[i]]))
    chosen = order[first : first + n_test]
    rest = np.setdiff1d(order, chosen)
    if len(rest) and n_test:
        _, distance, _ = sky[rest].match_to_catalog_sky(sky[chosen])
        rest = rest[distance >= u.Quantity(gap)]
    return table[np.sort(rest)], table[np.sort(chosen)]


def offset_copies(table: Table, *, radius: Quantity = 0.005 * u.deg, seed: int) -> Table:
    """
    Move each position by a fixed distance, in a random one of eight directions.

    Images around such positions show the same galaxies elsewhere in the frame, with other
    neighbours: more to train with. Make copies after the split, of what is trained with.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Columns ``name``, ``ra`` and ``dec`` (deg).
    radius : `~astropy.units.Quantity`, optional
        The distance on the sky.
    seed : int
        Which directions: north, north-east, ... by a hash of seed and name.

    Returns
    -------
    copies : `~astropy.table.Table`
        A table of the same columns; ``name`` has ``_<direction>`` added, such as ``_NE``, and
        a column ``origin`` has the name before that.

    Raises
    ------
    ValueError
        If a column or coordinate is missing, or names are not unique.

    Examples
    --------
    >>> from astropy.table import vstack
    >>> from splus_srgan.surveys.catalog import load_galaxies, offset_copies
    >>> galaxies = load_galaxies()
    >>> copies = offset_copies(galaxies, seed=1)
    >>> len(vstack([galaxies, copies], metadata_conflicts="silent"))
    300
    """
    names, sky = _checked(table, 0)
    directions = [int(_hash("offset", seed, name), 16) % _DIRECTIONS for name in names]
    angles = Angle(np.array(directions) * 360 / _DIRECTIONS, unit="deg")
    moved = sky.directional_offset_by(angles, u.Quantity(radius))
    compass = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
    copies = table.copy()
    copies["origin"] = names
    copies["name"] = [f"{n}_{compass[d]}" for n, d in zip(names, directions, strict=True)]
    for key, angle in (("ra", moved.ra), ("dec", moved.dec)):
        copies[key] = angle.to(u.deg) if isinstance(table, QTable) else angle.deg
    return copies


def _checked(table: Table, n_test: int) -> tuple[list[str], SkyCoord]:
    """Return names and positions of a table that can be split."""
    missing = [key for key in ("name", "ra", "dec") if key not in table.colnames]
    if missing:
        raise ValueError(f"table must have the columns name, ra, dec; got {table.colnames}")
    names = [str(name) for name in table["name"]]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"name must be unique in the table; got several of {twice[:4]}")
    if check_integer("n_test", n_test, minimum=0) > len(names):
        raise ValueError(f"n_test must be at most the {len(names)} rows; got {n_test}")
    return names, column_positions(table["ra"], table["dec"])


def _hash(purpose: str, seed: int, name: str) -> str:
    seed = check_integer("seed", seed)
    return hashlib.sha256(f"{purpose}:{seed}:{name}".encode()).hexdigest()


def _groups(sky: SkyCoord, together: Any) -> NDArray[Any]:
    """Number the groups of positions that are linked by less than a distance."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(sky)
    if n < 2 or together <= 0 * u.deg:
        return np.arange(n)
    one, other, _, _ = sky.search_around_sky(sky, together)
    links = coo_matrix((np.ones(len(one)), (one, other)), shape=(n, n))
    return connected_components(links, directed=False)[1]


def _along_ra(sky: SkyCoord) -> NDArray[Any]:
    """Order positions by right ascension, beginning after the widest gap."""
    order = np.argsort(sky.ra.deg, kind="stable")
    ra = sky.ra.deg[order]
    if len(ra) == 0:
        return order
    gaps = np.diff(ra, append=ra[0] + 360)
    return np.roll(order, -(int(np.argmax(gaps)) + 1))


def _rows(table: Table, chosen: Sequence[int] | NDArray[Any]) -> tuple[Table, Table]:
    """Divide the rows of a table."""
    test = np.isin(np.arange(len(table)), chosen)
    return table[~test], table[test]
