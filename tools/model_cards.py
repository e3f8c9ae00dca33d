# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Write the pages docs/model_cards/*.rst from the model cards of the shipped weights.

    python tools/model_cards.py           # write them
    python tools/model_cards.py --check   # fail where a page is not that of its model card
"""

import sys
from pathlib import Path

from splus_srgan.models.guide import REACH
from splus_srgan.models.weights import available, load_card, load_generator

FOLDER = Path(__file__).parents[1] / "docs" / "model_cards"

_PAGE = """\
{rule}
{title}
{rule}

.. This page is written by tools/model_cards.py from the model card.

Version {version}, SHA-256 ``{sha256}``, {size:.1f} MB.  {purpose}

What goes in
============

{domain}

What comes out
==============

{output}

How it was trained
==================

{data}  One run after the other, each from the averaged weights of the one before:

{stages}

What was measured
=================

{scores}

Known failures
==============

{failures}

Terms
=====

{license}.  {acknowledgements}
"""

_FAILURES = """\
* The fluxes of single fields may be off by more than the medians of :doc:`splus-grz` and
  :doc:`splus-any`: real PSFs, skies and band
  passes are not those of the simulation.
* Real PSFs are not symmetric.  All stars of a field are moved alike, by up to 0.06 output pixels,
  in the worst tile by 0.15, towards where a wide window sees their light; the centroid of the input
  itself moves by more between a narrow window and a wide one.
* The output's PSF is a promise that a generator does not quite keep: on real tiles the median FWHM
  of stars came out as 1.08 arcsec with ``splus-grz`` and 1.05 with ``splus-any``, on simulated ones
  as 1.00 to 1.02, where 1.0 is stated.  Stars that are fitted (:doc:`/user_guide/stars`) keep it to
  a percent; fainter ones, close pairs, stars on galaxies, and galaxies do not.
* The flux anchor takes the share of light in the wings of the PSF to be that of S-PLUS, 0.28,
  unless the header states it.  On images with a plain Moffat profile whose header does not, fluxes
  in 3 arcsec came out 60 mmag too faint in g, where the seeing is poorest, and 20 in z.
* Two limits of ``splus-srgan evaluate`` are exceeded, and others in single fields (:ref:`all
  limits <evaluation-limits>`). The median shift of stars in g comes out as 0.07 output pixels
  where 0.05 pass: harmless to matching with a catalogue, not to proper motions. Of the detail
  that the input lacks in r, 0.27 to 0.29 times as much is invented, where 0.25 passes: it has no
  flux on the scale of the input's PSF, so photometry is not touched, but structure of galaxies
  below 1.2 arcsec must not be measured in r.
* Saturated stars do not come back, and what is around them is flagged.
* A pixel scale or seeing outside the ranges above is warned of, and the band flagged
  ``EXTRAPOLATED``; pixels that are too bright are flagged alone.
* What it must not be used for at all is listed in :doc:`/user_guide/when_not_to_use`."""


_JOINT_FAILURES = """\
* Maps of a line gain less than single bands.  In Halpha maps of r, J0660 and i of 40 simulated
  spirals (``benchmarks/joint_bands.py --parts lines``), the median of the rms errors was 31 %
  smaller than with ``splus-any``, which restores each band by itself.  The flux of the line was
  off by -2.9 ± 3.3 % in the median of 36 fields, and by -12 to +6 % in two of three.
* Errors of the bands are alike, so that those of their difference are smaller than if they were
  independent.  ``line_map`` reckons with it: 69 % of the truths of these maps lay within its
  standard deviation.
* What one band alone shows may appear in others: of a source of S/N 10 in J0660 alone, all of the
  flux within 3 arcsec stayed there (102.5 ± 1.8 %), and r and i rose by 2.1 ± 0.4 and 4.0 ± 0.5 %
  of the flux of a source of S/N 10 in them; of a star of S/N 100 in eleven bands 0.5 % appeared in
  J0515, which lacked it (means of 60 blank fields, ``--parts honesty``).
* Uncertainties have two calibrations for each band, where up to five bands are restored together
  and where more are.  In the bins of its model card 64 to 75 % of the truths lie within one
  standard deviation, where 68 % should; in a single set and band, such as u alone or r, J0660 and
  i, 55 to 81 % (16 fields, by the truth over the noise of the sky).
* A lone bright star is limited by what the generator does not know of the PSF: where it is left to
  the generator, told the PSF, its squared error is 6.9 dB above what noise allows at S/N 160, and
  2.7 dB at S/N 60; where it is fitted, it is below that (``benchmarks/joint_bands.py --parts
  stars``).
* Fluxes and places of stars are much as those of ``splus-grz``.  With g, r and z the medians of
  isolated sources of S/N above 20 in 40 simulated fields were -1.6 ± 1.4, +1.6 ± 1.1 and
  +0.5 ± 1.2 mmag off the truth in 3 arcsec, on nine real tiles +1.2 ± 2.1, -1.8 ± 1.4 and
  +4.4 ± 2.2 mmag off the input in 6 arcsec, and stars on the tiles 1.07 to 1.09 arcsec wide, on
  simulated fields 1.02, where 1.0 is stated (``benchmarks/photometry.py``,
  ``benchmarks/star_widths.py``), all without the fit of stars.  In two of the tiles the stars of
  the input are 4 to 12 % wider than the header says, and elongated by 0.1 to 0.2: there the
  generator makes them 1.15 to 1.31 arcsec wide, in the others 0.99 to 1.11; with the fit they are
  1.00 to 1.01 in all.  With it, sources on the tiles are +4.6 ± 1.7, -1.3 ± 1.6 and +10.0 ± 2.4
  mmag off the input in g, r and z.  Those in twelve bands are told in :doc:`/user_guide/weights`.
* The figures below are of ``splus-grz`` and ``splus-any``, which come first."""


_JOINT_SRGAN_FAILURES = """\
* It shares more of what one band shows than :doc:`splus`: of a source of S/N 10 in J0660 alone, r
  or i rose by 5.1 % of the flux of a source of S/N 10 in that band, with 102 % of the flux in J0660
  (means of 24 blank fields).  Its sky is 0.3 to 1.2 dB less smooth, and in twelve bands
  narrow bands have 0.2 to 0.8 dB less inside the isophote of S/N > 3, where g, r and z have 0.1 to
  0.4 dB more (11 simulated fields).
* It goes on from version 0.10 of :doc:`splus`, and does not use the guide that came after it.  All
  that follows was measured with :doc:`splus`."""


def page(name):
    """The text of a page."""
    card = load_card(name)
    generator = load_generator(card)
    parameters = sum(p.numel() for p in generator.parameters())
    return _PAGE.format(
        rule="*" * (len(name) + 4),
        title=f"``{name}``",
        version=card.version,
        sha256=card.sha256,
        size=card.path.stat().st_size / 1e6,
        purpose=_purpose(card, parameters, generator.receptive_field_radius),
        domain=_domain(card),
        output=_output(card),
        data=f"Data: {card.training['data']}.",
        stages=_stages(card),
        scores=_scores(card.scores),
        failures=_failures(card),
        license=card.license,
        acknowledgements=card.acknowledgements,
    )


def _failures(card):
    if not card.takes_subsets:
        return _FAILURES
    own = [_JOINT_SRGAN_FAILURES] if _is_adversarial(card) else []
    return "\n".join([*own, _JOINT_FAILURES, _FAILURES])


def _purpose(card, parameters, radius):
    form = ""
    if _is_adversarial(card):
        form = (
            "The srgan form, trained with a discriminator: detail on the scale of the PSF is of "
            "nearly the right strength on the whole, and not always in the right place.  "
        )
    if card.takes_subsets:
        return (
            f"For any of the bands {', '.join(card.bands)}, in any number and order, restored "
            f"together.  {form}A second stage: each band is restored by {_all(card.first_stage)}, "
            "then corrected by what all bands show, and by a Wiener filter that knows its PSF.  "
            f"Its generator has {parameters:,} parameters and sees {radius + REACH} input pixels "
            "beyond the field of view of those, and is told the PSF of each band, and its depth "
            "where the pixels have a unit of flux density."
        )
    bands = "any one band" if card.takes_any_band else f"the bands {', '.join(card.bands)} together"
    text = (
        f"For {bands}.  The generator has {parameters:,} parameters and sees {radius} input pixels "
        "to each side."
    )
    if card.takes_any_band:
        seen = card.training["stages"][-1]["data"]["bands"]
        text = text.replace("any one band.", f"any one band; trained on {', '.join(seen)}.")
    return f"{text}  {form}".rstrip()


def _all(names):
    return " and ".join(f":doc:`{name} <{name}>`" for name in names)


def _is_adversarial(card):
    stages = card.training["stages"]
    return any(stage.get("losses", {}).get("adversarial", 0) > 0 for stage in stages)


def _domain(card):
    low, high = card.domain["fwhm"]
    return (
        f"Pixels of {card.pixel_scale} arcsec, a seeing between {low} and {high} arcsec (FWHM), "
        f"and fluxes up to {card.domain['signal']:g} times the noise of a pixel."
    )


def _output(card):
    psf = card.target_psf
    text = (
        f"The same sky with pixels of half the side, and a {psf['profile']} PSF with a FWHM of "
        f"{psf['fwhm']} arcsec and a beta of {psf['beta']}, and the wings of the input.  Flux "
        f"anchor: {card.flux_anchor:g}."
    )
    if card.turned:
        text += "  Each image is the mean of two, one of which was turned by 180 degrees."
    if card.edge_reach is not None:
        text += (
            f"  Within {card.edge_reach} input pixels of the border, what lies beyond it may "
            "change a value by more than 0.1 of its uncertainty (the flag EDGE)."
        )
    if card.uncertainty:
        text += "  The generator predicts its uncertainty, calibrated on fields of its own."
    return text


def _stages(card):
    rows = [("stage", "steps", "optimizer", "rate", "loss", "batch", "crop")]
    for number, stage in enumerate(card.training["stages"], 1):
        rows.append((str(number), *map(str, _stage(stage))))
    return _table(rows)


def _stage(stage):
    """Steps, optimizer, rate, losses, batch and crop, of stages old and new."""
    if "power" in stage:
        loss = {1: "absolute", 2: "squared"}[stage["power"]]
        optimizer, rate = stage.get("optimizer", "adam"), stage["peak_rate"]
        return stage["steps"], optimizer, rate, loss, stage["batch_size"], stage["crop"]
    kinds = {"l1": "absolute", "l2": "squared", "charbonnier": "Charbonnier"}
    losses, named = stage["losses"], ("bright", "adversarial", "spectrum")
    terms = [term for term in named if losses.get(term, 0) > 0]
    loss = ", ".join([kinds[losses["pixel_kind"]], *terms])
    data, optimizer = stage["data"], stage["optimizer"]
    return (
        stage["steps"],
        optimizer["name"],
        optimizer["rate"],
        loss,
        data["batch_size"],
        data["crop"],
    )


def _scores(scores, level=0):
    """Tables of what the model card states; what is no table stands before them."""
    blocks, rows = [], []
    for name, value in scores.items():
        if isinstance(value, str):
            blocks.append(f"{name.replace('_', ' ').capitalize()}: {value}.")
        elif isinstance(value, list):  # shares of truths within 68 and 95 % intervals
            rows.append((name, dict(zip(("within 68 %", "within 95 %"), value, strict=True))))
        elif isinstance(value, dict) and all(isinstance(v, int | float) for v in value.values()):
            rows.append((name.replace("_", " "), value))
    for columns in dict.fromkeys(tuple(value) for _, value in rows):
        chosen = [(name, *map(str, v.values())) for name, v in rows if tuple(v) == columns]
        blocks.append(_table([("", *columns), *chosen]))
    for name, value in scores.items():
        if isinstance(value, dict) and not all(isinstance(v, int | float) for v in value.values()):
            blocks.append(f"**{name.replace('_', ' ').capitalize()}**")
            blocks.append(_scores(value, level + 1))
    return "\n\n".join(blocks)


def _table(rows):
    lines = [".. list-table::", "    :header-rows: 1", ""]
    for row in rows:
        lines += [f"    {'* -' if k == 0 else '  -'} {cell}".rstrip() for k, cell in enumerate(row)]
    return "\n".join(lines)


def main(arguments):
    """Write or check all pages."""
    wrong = []
    for name in available():
        path, text = FOLDER / f"{name}.rst", page(name)
        if arguments == ["--check"]:
            wrong += [path.name] if not path.is_file() or path.read_text() != text else []
        else:
            path.write_text(text)
    if wrong:
        print(
            f"not those of their model cards: {', '.join(wrong)}; run python tools/model_cards.py"
        )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
