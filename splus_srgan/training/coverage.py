# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Deviation of the coverage of uncertainties from its nominal value, as a loss."""

from itertools import pairwise

import numpy as np
import torch
from scipy import stats

from splus_srgan.evaluation.measure.uncertainty import SNR_EDGES

__all__ = ["coverage_misfit"]

# Nominal shares of truths, and deviations from them that are equally bad.
_LEVELS = ((0.68, 0.03), (0.95, 0.02))
_SMALL = 1e-6


def coverage_misfit(image, truth, std, noise, *, softness):
    r"""
    Misfit of the coverage in bins of signal to noise, differentiable.

    Steps are replaced by logistic functions of logarithms, of width ``softness``: the share of
    truths within the interval of a level :math:`p`, in a bin, becomes

    .. math:: c_p = \frac{\sum w\, S\left[\ln(z_p \sigma) - \ln |e|\right]}{\sum w}

    with :math:`z_p = \Phi^{-1}((1 + p) / 2)` and :math:`w` the membership in the bin.

    Parameters
    ----------
    image, truth, std, noise : `~torch.Tensor`, any one shape
        Images, truths, stated standard deviations and noises of the sky (both above 0) in one
        unit.
    softness : float
        Width of the steps, above 0; 0.1 is ten percent of the standard deviation.

    Returns
    -------
    misfit : `~torch.Tensor`
        Scalar, sum over the bins of `~splus_srgan.evaluation.measure.uncertainty.SNR_EDGES`, once
        of the image over ``std`` and once of the truth over ``noise``, and over both levels, of
        :math:`d^2 + d^4`, where :math:`d` is the deviation in units of the tolerance, 0.03
        at 68 % and 0.02 at 95 %.
    """
    log_pull = torch.log((image - truth).abs() / std + _SMALL)
    inside = [
        torch.sigmoid((float(np.log(stats.norm.ppf((1 + level) / 2))) - log_pull) / softness)
        for level, _ in _LEVELS
    ]
    total = std.new_zeros(())
    for ratio in (image / std, truth / noise):
        signal = torch.asinh(ratio)
        for low, high in pairwise(np.arcsinh(SNR_EDGES)):
            member = _step(signal - low, softness) * _step(high - signal, softness)
            count = member.sum() + _SMALL
            for share, (level, tolerated) in zip(inside, _LEVELS, strict=True):
                off = (member * (share - level)).sum() / count / tolerated
                total = total + off**2 + off**4
    return total


def _step(distance, softness):
    """A soft step; none at the open end of a bin."""
    return torch.sigmoid(torch.clamp(distance / softness, -50, 50))
