# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
How far from the border of an image the missing surroundings change the output.

The middle of a simulated field is enhanced by itself, with the sky and the noise of the whole
field, and compared with the same pixels of the whole field enhanced.  By distance from the
border: the share of pixels that differ by more than 0.1 of their uncertainty, and the largest
difference.  The reach is the least distance from which on at most one pixel in a thousand does,
at any distance; model cards state it as ``edge_reach``, and the flag EDGE goes as far.
"""

import numpy as np
from _common import (
    BANDS,
    TEST_SEED,
    make_enhancers,
    make_parser,
    parse,
    print_table,
    quiet,
)

from splus_srgan import simulate_field

_FIRST = 7000  # number of the first field, beyond those of the other benchmarks
_MARGIN = 80  # input pixels around the middle, more than any receptive field reaches
_SIDE = 80  # of the middle: every distance within the reach, and a little more
_KINDS = ("galaxy", "fill", "cluster", "stars")
_SMALL, _SHARE = 0.1, 1e-3


def main():
    """Run."""
    parser = make_parser(__doc__, fields=12)
    parser.add_argument("--bands", nargs="+", default=BANDS, help="of the fields; %(default)s")
    options = parse(parser)
    with quiet():
        enhancers = make_enhancers(options, uncertainty=True)
    for name, enhancer in enhancers.items():
        with quiet():
            found = [ratios(enhancer, k, options.bands) for k in range(options.fields)]
        report(name, np.concatenate(found))


def ratios(enhancer, k, bands):
    """Differences in units of the uncertainty, ``(n_band, ny, nx)``, of a field."""
    side = _SIDE + 2 * _MARGIN
    kind = _KINDS[k % len(_KINDS)]
    field = simulate_field((TEST_SEED, _FIRST + k), shape=(side, side), bands=bands, kind=kind)
    whole = enhancer(field.observed)
    inner, fine = (slice(n * _MARGIN, n * (side - _MARGIN)) for n in (1, 2))
    middle = {band: image[inner, inner] for band, image in field.observed.items()}
    levels = {
        option: {band: whole[band].meta[card] for band in bands}
        for option, card in (("sky", "SRSKY"), ("sigma", "SRSIGMA"))
    }
    alone = enhancer(middle, **levels)
    return np.stack(
        [
            np.abs(alone[band].data - whole[band].data[fine, fine])
            / whole[band].uncertainty.array[fine, fine]
            for band in bands
        ]
    )


def report(name, ratio):
    """Print what was found, and the reach."""
    along = np.minimum(np.arange(2 * _SIDE), np.arange(2 * _SIDE)[::-1]) // 2
    distance = np.minimum.outer(along, along)
    shares, rows = [], []
    for step in range(_SIDE // 2):
        here = ratio[:, distance == step]
        shares.append((here > _SMALL).mean())
        if step % 4 == 0:
            rows.append((step, f"{100 * shares[-1]:.2f}", f"{here.max():.3f}"))
    print_table(
        f"{name}: by distance from the border (input pixels)",
        ("distance", f"% above {_SMALL} of the uncertainty", "largest"),
        rows,
    )
    beyond = np.flatnonzero(np.array(shares) > _SHARE)
    print(f"  reach: {beyond.max() + 1 if len(beyond) else 0} input pixels")


if __name__ == "__main__":
    main()
