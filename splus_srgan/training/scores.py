# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Scores of generated validation fields."""

import math

import torch

from splus_srgan.pixels.coadd_noise import area_noise
from splus_srgan.training.losses import unstretch

__all__ = ["field_scores", "flux_aware_score", "flux_bias"]

_BOX = 24  # output pixels
_SIGNIFICANT = 20.0  # least S/N of a box whose flux is compared
_MMAG = 2500 / math.log(10)
_TOLERATED, _PENALTY = 5.0, 0.1  # mmag, dB per mmag


def field_scores(generated, sample, data):
    """
    PSNR, SSIM and flux bias of one field.

    Parameters
    ----------
    generated : `~torch.Tensor`, shape (n_band, 2 ny, 2 nx)
        Stretched image.
    sample : dict of str to `~torch.Tensor`
        One sample of the training data, without batch axis.
    data : `~splus_srgan.training.config.training.DataConfig`
        Space and stretch.

    Returns
    -------
    scores : dict of str to float
        ``psnr`` in dB and ``ssim``, of the stretched images: in ``"noise"`` the mean over
        the bands, with the extent of each band's target as data range; in ``"seed"`` over all
        bands together and with range 1, the generated image brought to [0, 1] first, as the
        seed paper does.  ``flux_bias`` in mmag, see `flux_bias`; only in ``"noise"``.
    """
    target, weight = sample["target"], sample["weight"]
    if data.space == "seed":
        low, high = generated.min(), generated.max()
        made = (generated - low) / (high - low).clamp(min=1e-6)
        return {
            "psnr": _psnr(made, target, weight, 1.0),
            "ssim": _mean([_ssim(m, t, 1.0) for m, t in zip(made, target, strict=True)]),
        }
    bands = list(zip(generated, target, weight, strict=True))
    spans = [float(t.max() - t.min()) for t in target]
    linear = unstretch(generated, data.softening, data.range)
    return {
        "psnr": _mean([_psnr(m, t, w, r) for (m, t, w), r in zip(bands, spans, strict=True)]),
        "ssim": _mean([_ssim(m, t, r) for (m, t, _), r in zip(bands, spans, strict=True)]),
        "flux_bias": flux_bias(linear, sample["truth"], sample["electrons"], weight),
    }


def flux_bias(generated, truth, electrons, weight):
    r"""
    Median error of the flux in boxes of 24 output pixels with a S/N above 20.

    .. math:: -1086 \, {\rm median} \left( \hat{S} / S - 1 \right) \; {\rm mmag},
        \qquad ({\rm S/N})^2 = S^2 / (n(144)^2 + S / e)

    Parameters
    ----------
    generated, truth : `~torch.Tensor`, shape (n_band, ny, nx)
        Linear images in sky noises per input pixel.
    electrons : `~torch.Tensor`, shape (n_band,)
        Electrons per sky noise.
    weight : `~torch.Tensor`, shape (n_band, ny, nx)
        Boxes with any pixel of weight 0 are left out.

    Returns
    -------
    bias : float
        Positive: generated too faint.  NaN where no box is bright enough.
    """
    size = min(_BOX, *truth.shape[-2:])
    area = size**2 / 4
    pool = torch.nn.functional.avg_pool2d
    made, true = (pool(image[None], size)[0] * area for image in (generated, truth))
    whole = -torch.nn.functional.max_pool2d(-weight[None], size)[0] > 0
    variance = area_noise(area) ** 2 + true.clamp(min=0) / electrons[:, None, None]
    bright = whole & (true > _SIGNIFICANT * variance.sqrt())
    if not bright.any():
        return math.nan
    return float(-_MMAG * (made[bright] / true[bright] - 1).median())


def flux_aware_score(psnr, bias):
    r"""
    PSNR minus a penalty for biased flux.

    .. math:: {\rm PSNR} - 0.1 \, {\rm dB} \cdot \max(0, |b| - 5)

    Parameters
    ----------
    psnr : float
        Value in dB.
    bias : float
        Flux bias :math:`b` in mmag; NaN counts as none.

    Returns
    -------
    score : float
        Value in dB.
    """
    off = 0.0 if math.isnan(bias) else max(0.0, abs(bias) - _TOLERATED)
    return psnr - _PENALTY * off


def _psnr(made, target, weight, span):
    squares = (weight * (made - target) ** 2).sum() / weight.sum().clamp(min=1e-6)
    if span == 0:
        return math.nan
    return float(-10 * torch.log10(squares.clamp(min=1e-12) / span**2))


def _ssim(made, target, span):
    from skimage.metrics import structural_similarity

    if span == 0:
        return math.nan
    return float(structural_similarity(target.cpu().numpy(), made.cpu().numpy(), data_range=span))


def _mean(values):
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
