# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Uncertainties for a generator: a head for their scale, and its calibration.

`train_head` adds the head to weights and trains it alone, with the rest frozen: the
generated image stays the same to the last bit.  `calibrate` compares the
standard deviations of final images with the truth of simulated fields, and finds the factors
with which 68 % and 95 % of the truths lie within one and two of them, at every brightness.
Both together, from a model card or a checkpoint to a model card with uncertainties::

    splus-srgan calibrate splus-grz pairs -o weights --minutes 4
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
import warnings
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch
from astropy.table import QTable

from splus_srgan.evaluation.measure.uncertainty import coverage
from splus_srgan.exceptions import NoSkyWarning
from splus_srgan.images.io.fields import stated_sky
from splus_srgan.images.quality import Quality
from splus_srgan.images.units import flux_per_pixel_factor
from splus_srgan.models.weights import WeightsCard, build_generator
from splus_srgan.training.calibration_fit import fit_table
from splus_srgan.training.data.restored import join_fields
from splus_srgan.training.data.subsets import FEW, split_bands
from splus_srgan.training.losses import gaussian_nll, laplace_nll
from splus_srgan.training.optimizers import learning_rate
from splus_srgan.utils.tables import rows_of
from splus_srgan.utils.validate import check_integer, check_one_of, check_positive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, Literal

    from splus_srgan.enhance.enhancer import SRGANEnhancer
    from splus_srgan.models.generator import SRResNet
    from splus_srgan.models.joint import JointResNet
    from splus_srgan.training.data.samples import Pairs
    from splus_srgan.utils.types import ProgressBar

__all__ = ["calibrate", "measure_coverage", "train_head"]

_LOSSES = {"laplace": laplace_nll, "gaussian": gaussian_nll}
_WARM_UP = 50  # steps
# Few pixels are bright, and their errors are the ones that matter: so they count more, fully
# from this stretched value on, that of the generated image: the truth's would favour one side.
_EMPHASIS, _BRIGHT = 20.0, 0.5
_USELESS = Quality.MISSING | Quality.SATURATED
_MIN_PIXELS = 1000
_LARGEST = 5.0  # error, in standard deviations, as the correlation sees it


def train_head(
    generator: SRResNet | JointResNet,
    pairs: Pairs | Sequence[Mapping[str, torch.Tensor]],
    *,
    kind: Literal["laplace", "gaussian"] = "laplace",
    steps: int = 2000,
    minutes: float | None = None,
    batch_size: int = 4,
    rate: float = 3e-3,
    precision: Literal["float32", "bfloat16"] = "float32",
    progress_bar: ProgressBar | None = None,
) -> SRResNet | JointResNet:
    """
    Add a head for the scale of the errors to a generator, and train only this head.

    Parameters
    ----------
    generator : `~splus_srgan.models.generator.SRResNet` or JointResNet
        Generator, with or without a head; it is not changed.
    pairs : sequence of dict
        Such as `~splus_srgan.training.data.dataset.RenderedPairs`: ``pairs[k]`` has ``input``,
        ``target`` and ``weight``, stretched as the generator expects it.  Bright pixels count up
        to 21 times as much as the sky.
    kind : {"laplace", "gaussian"}, optional
        Distribution of the errors; a head of the other kind is replaced.
    steps : int, optional
        Steps of Adam, at least 1.
    minutes : float, optional
        Stop after this time at the latest; the learning rate falls with the share of steps or of
        time that is used up, whichever is larger.
    batch_size : int, optional
        Samples a step, at least 1.
    rate : float, optional
        Highest learning rate; it rises over 50 steps and falls as a cosine.
    precision : {"float32", "bfloat16"}, optional
        Precision of the frozen part.
    progress_bar : callable, optional
        Wraps the iterable over the steps, as ``tqdm.tqdm`` does.

    Returns
    -------
    generator : `~splus_srgan.models.generator.SRResNet`
        A new generator in evaluation mode whose ``forward`` is that of the one given.

    Raises
    ------
    ValueError
        If an option is not possible.
    FloatingPointError
        If the loss is not finite.
    """
    check_one_of("kind", kind, tuple(_LOSSES))
    check_integer("steps", steps, minimum=1)
    check_integer("batch_size", batch_size, minimum=1)
    check_one_of("precision", precision, ("float32", "bfloat16"))
    headed = _with_head(generator, kind)
    if precision == "bfloat16":
        headed.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(headed.scale.parameters(), lr=rate)
    limit = math.inf if minutes is None else 60 * check_positive("minutes", minutes)
    start = time.monotonic()
    for step in range(steps) if progress_bar is None else progress_bar(range(steps)):
        share = max(step / steps, (time.monotonic() - start) / limit)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(share, step, rate, warm_up=_WARM_UP)
        batch = [pairs[step * batch_size + j] for j in range(batch_size)]
        loss = _head_loss(headed, batch, kind, precision)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss of the head is {loss.item()} at step {step}; give a lower rate than "
                f"{rate}, or look for pixels that are not finite in the pairs"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(headed.scale.parameters(), 1.0)
        optimizer.step()
    return headed.requires_grad_(True).to(memory_format=torch.contiguous_format)


def _with_head(generator, kind):
    """A copy with a head of this kind, of which only the head learns."""
    headed = build_generator({**generator.options, "scale": kind})
    trunk = generator.state_dict()
    if generator.options.get("scale") != kind:
        trunk = {name: value for name, value in trunk.items() if not name.startswith("scale.")}
    headed.load_state_dict(trunk, strict=False)
    headed.requires_grad_(False)
    headed.scale.requires_grad_(True)
    # Frozen means frozen: the statistics of normalisation must not change either.
    return headed.eval()


def _head_loss(headed, batch, kind, precision):
    names, counts = ("input", "target", "weight"), ()
    if headed.options.get("kind") == "joint":
        joined = join_fields([{name: one[name] for name in names} for one in batch])
        y, target, weight = (joined[name] for name in names)
        counts = (joined["counts"].tolist(),)
    else:
        y, target, weight = (
            torch.stack([torch.as_tensor(sample[name]) for sample in batch]) for name in names
        )
    narrow = precision == "bfloat16"
    if narrow:
        y = y.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        with torch.autocast(y.device.type, dtype=torch.bfloat16, enabled=narrow):
            features = headed.features(y, *counts)
        features = features.float().contiguous()
    generated, log_scale = headed.finish_with_scale(y.contiguous(), features)
    weight = weight * (1 + _EMPHASIS * (generated.abs() / _BRIGHT).clamp(max=1))
    return _LOSSES[kind](generated, log_scale, target, weight)


def calibrate(
    enhancer: SRGANEnhancer,
    fields: Iterable[Any],
    *,
    seed: int = 0,
    progress_bar: ProgressBar | None = None,
) -> dict[str, Any]:
    r"""
    Find the factors that make standard deviations true.

    A factor for each signal to noise and relative noise of a pixel, as
    measured on the image, such that 68 % and 95 % of the truths lie
    within 0.994 and 1.960 standard deviations in every bin of signal to noise
    (`~splus_srgan.evaluation.measure.uncertainty.SNR_EDGES`), both as the image states it and by
    the truth over the noise of the sky.  Of all such tables a smooth one is chosen.  Weights for
    any subset of their bands have, beside the table of all bands, one for each; and if there are
    more than five, others for few bands: each field is then enhanced as a whole, and once more in
    parts of up to five bands (`~splus_srgan.training.data.subsets.split_bands`).

    Parameters
    ----------
    enhancer : `~splus_srgan.SRGANEnhancer`
        With weights that were named (not ``"auto"``), and ``uncertainty`` `True` or
        ``"ensemble"``: what is to be calibrated.  A calibration in its model card is left out,
        and no stars are fitted, which have errors of their own.
    fields : iterable
        Held-out fields, `~splus_srgan.simulate.field.SimulatedField` or any object with
        ``observed`` and ``target``.  The final image is measured, after the flux anchor and
        in its unit.  Take at least some dozens: the errors within one field are correlated.
    seed : int, optional
        Seed of the choice of pixels in each step of the fit, and of the parts.
    progress_bar : callable, optional
        Wraps ``fields``.

    Returns
    -------
    uncertainty : dict
        For the model card: that of the enhancer's weights, with the calibration in
        ``calibration``, or ``ensemble`` for the ensemble, the same for ``few`` bands, and the
        ``correlation`` of the errors of each two bands of a field: the median over the fields of

        .. math:: \rho = \frac{\sum e_1 e_2}{\sqrt{\sum e_1^2 \sum e_2^2}}

        over their pixels, with the errors :math:`e` in standard deviations, at most 5.

    Raises
    ------
    ValueError
        If the enhancer gives no uncertainty or has no weights of its own, or there are too
        few pixels.
    """
    card = _own_card(enhancer)
    raw = copy.copy(enhancer)
    raw.weights = dataclasses.replace(card, uncertainty={})
    raw.fit_stars = False  # their errors are known from the fit
    whole, parts = _Pixels(), _Pixels()
    split = card.takes_subsets and len(card.bands) > FEW
    for number, field in enumerate(fields if progress_bar is None else progress_bar(fields)):
        if not (split and len(field.observed) <= FEW):
            whole.add(raw, field.observed, field.target)
        if split:
            for bands in split_bands(np.random.default_rng((seed, number)), list(field.observed)):
                parts.add(raw, {band: field.observed[band] for band in bands}, field.target)
    name = "ensemble" if enhancer.uncertainty == "ensemble" else "calibration"
    found = _without(card.uncertainty, name, card.scale) | whole.fitted(name, card, seed)
    if split:
        few = _without(card.uncertainty.get("few", {}), name, None)
        found["few"] = {"most": FEW} | few | parts.fitted(name, card, seed)
    return found


def _without(stated, name, kind):
    """What was stated and is not found anew."""
    if name == "ensemble":
        return dict(stated)
    # A new head makes the calibration of the ensemble no worse.
    kept = {key: value for key, value in stated.items() if key == "ensemble"}
    return ({} if kind is None else {"kind": kind}) | kept


def measure_coverage(
    enhancer: SRGANEnhancer, fields: Iterable[Any], *, progress_bar: ProgressBar | None = None
) -> QTable:
    """
    Coverage of the uncertainties of an enhancer over many fields.

    Parameters
    ----------
    enhancer : `~splus_srgan.SRGANEnhancer`
        With ``uncertainty`` `True` or ``"ensemble"``.
    fields : iterable
        As for `calibrate`, but different fields.
    progress_bar : callable, optional
        Wraps ``fields``.

    Returns
    -------
    table : `~astropy.table.QTable`
        That of `splus_srgan.evaluation.measure.uncertainty.coverage` for each ``band``, and for
        ``"all"``, with the bins ``by`` ``"truth"``, over the noise of the sky in the input, and
        by ``"image"``, over its own uncertainty.

    Raises
    ------
    ValueError
        If the enhancer gives no uncertainty, or there are too few pixels.
    """
    _check_uncertain(enhancer)
    pixels, rows = _Pixels(), []
    for field in fields if progress_bar is None else progress_bar(fields):
        pixels.add(enhancer, field.observed, field.target)
    for band in (*pixels.bands, "all"):
        image, std, truth, sigma = pixels.of(band)
        for by, ratio in (("truth", truth / sigma), ("image", image / std)):
            table = coverage(truth, image, std, signal_to_noise=ratio)
            rows += [{"band": band, "by": by, **dict(row)} for row in rows_of(table)]
    return QTable(rows=rows)


def _check_uncertain(enhancer):
    if not enhancer.uncertainty:
        raise ValueError(
            "enhancer must give what is to be calibrated: make it with uncertainty=True or "
            f"'ensemble'; got {enhancer.uncertainty!r}"
        )


def _own_card(enhancer: SRGANEnhancer) -> WeightsCard:
    """Model card of what is to be calibrated."""
    _check_uncertain(enhancer)
    if not isinstance(enhancer.weights, WeightsCard):
        raise ValueError(
            "enhancer must have weights of its own to calibrate, a name or the path of a model "
            f"card; got {enhancer.weights!r}"
        )
    return enhancer.weights


class _Pixels:
    """Images less sky, their deviations, truths and sky noises, flat, per output pixel."""

    def __init__(self):
        self.bands, self.errors = {}, []

    def add(self, enhancer, observed, target):
        """Enhance images of one field, and take their good pixels."""
        with warnings.catch_warnings():
            # Fields without sky in the frame have to be covered as well.
            warnings.simplefilter("ignore", NoSkyWarning)
            sharp = enhancer(observed)
        errors = {}
        for band, made in sharp.items():
            pixels, good = _pixels_of(made, target[band])
            self.bands.setdefault(band, []).append(pixels)
            errors[band] = _errors(pixels, good)
        self.errors.append(_field_correlation(errors))

    def of(self, band):
        """Pixels of a band, or of all, ``(4, n)``."""
        found = self.bands.values() if band == "all" else (self.bands[band],)
        found = [pixels for one in found for pixels in one]
        count = sum(pixels.shape[1] for pixels in found)
        if band == "all" and count < _MIN_PIXELS:
            raise ValueError(f"fields must hold at least {_MIN_PIXELS} good pixels; got {count}")
        return np.concatenate(found, axis=1)

    def fitted(self, name, card, seed):
        """The calibration, and with that of the generator the correlations."""
        table = fit_table(*self.of("all"), seed=seed)
        if card.takes_subsets:
            own = {band: self.of(band) for band in self.bands}
            table["bands"] = {
                band: fit_table(*pixels, seed=seed)
                for band, pixels in own.items()
                if pixels.shape[1] >= _MIN_PIXELS
            }
        correlation = _correlation(self.errors) if name == "calibration" else None
        return {name: table} | ({"correlation": correlation} if correlation else {})


def _pixels_of(made, target):
    # Of a flux per pixel, sky and noise of an input pixel are shared by four.
    share = flux_per_pixel_factor(made.unit, 2)
    header = made.meta
    rows = np.broadcast_arrays(
        made.data - share * stated_sky(header),
        made.uncertainty.array,
        target.data,
        np.float32(share * header["SRSIGMA"]),
    )
    good = (np.asarray(made.flags) & int(_USELESS)) == 0
    good &= np.isfinite(rows[1]) & np.isfinite(rows[2])
    return np.stack([row[good] for row in rows]).astype(np.float32), good


def _errors(pixels, good):
    """Errors in standard deviations, 0 where a pixel is not good."""
    image, std, truth, _ = pixels
    errors = np.zeros(good.shape)
    errors[good] = np.clip((image - truth) / std, -_LARGEST, _LARGEST)
    return errors


def _field_correlation(errors):
    """Correlation of the errors of each two bands of a field."""
    return {
        (one, two): float(np.mean(a * b) / np.sqrt(np.mean(a**2) * np.mean(b**2)))
        for (one, a), (two, b) in combinations(errors.items(), 2)
        if a.any() and b.any()
    }


def _correlation(fields):
    """Band to other band to the median of their correlation over the fields; each pair once."""
    found = {}
    for pair in dict.fromkeys(pair for field in fields for pair in field):
        values = [field[pair] for field in fields if pair in field]
        found.setdefault(pair[0], {})[pair[1]] = round(float(np.median(values)), 2)
    return found
