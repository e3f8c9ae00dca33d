# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The table of factors with which standard deviations have the right coverage."""

import numpy as np
import torch

from splus_srgan.enhance.uncertainty import table_weights
from splus_srgan.training.coverage import coverage_misfit
from splus_srgan.training.optimizers import learning_rate

__all__ = ["fit_table"]

_SIGNAL_TO_NOISE = (-2.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 100.0)
_NOISE_SHARES = (0.02, 0.2, 0.4, 0.6, 0.8, 0.98)  # knots of the other axis, as quantiles
_STEPS, _PIXELS, _RATE = 300, 100_000, 0.03
_SHARE, _INTERVAL = 0.68, 0.9945  # of truths within so many standard deviations
_ENOUGH = 200  # pixels for a quantile
_SOFTNESS = (0.1, 0.03)  # at the start and at the end of the fit
_SMOOTH = 0.2  # weight of the second differences of the logarithms of the factors


def fit_table(image, std, truth, sigma, *, seed=0):
    """
    Find a table for `splus_srgan.enhance.uncertainty.calibrate_std`, by Adam.

    Parameters
    ----------
    image, std, truth, sigma : `~numpy.ndarray`, shape (n,)
        Images less sky, their standard deviations, truths and sky noises, in one unit.
    seed : int, optional
        Seed of the choice of pixels in each step.

    Returns
    -------
    table : dict
        Table of plain numbers and lists.
    """
    table = _empty_table(std, sigma)
    shape = len(table["signal_to_noise"]), len(table["relative_noise"])
    start = _start(image, std, truth, table["signal_to_noise"])
    logs = torch.from_numpy(np.tile(start[:, None], shape[1:])).float().requires_grad_()
    optimizer = torch.optim.Adam([logs], lr=_RATE)
    rng = np.random.default_rng(seed)
    for step in range(_STEPS):
        share = step / _STEPS
        optimizer.param_groups[0]["lr"] = learning_rate(share, step, _RATE, warm_up=0)
        some = rng.integers(len(std), size=min(_PIXELS, len(std)))
        softness = _SOFTNESS[0] * (_SOFTNESS[1] / _SOFTNESS[0]) ** share
        rows = [values[some] for values in (image, std, truth, sigma)]
        loss = _misfit(logs, rows, table, softness)
        loss = loss + _SMOOTH * (_roughness(logs) + _roughness(logs.T))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    factors = logs.detach().exp().tolist()
    return {**table, "factor": [[float(f"{f:.4f}") for f in row] for row in factors]}


def _start(image, std, truth, knots):
    """Logarithms of the factors that cover 68 % of the pixels around each signal to noise."""
    middles = np.arcsinh(knots)
    around = np.digitize(np.arcsinh(image / std), (middles[1:] + middles[:-1]) / 2)
    pulls = np.log(np.maximum(np.abs(image - truth) / std, 1e-3) / _INTERVAL)
    quantiles = [
        np.quantile(mine, _SHARE) if (mine := pulls[around == k]).size >= _ENOUGH else np.nan
        for k in range(len(knots))
    ]
    found = np.isfinite(quantiles)
    if not found.any():
        return np.zeros(len(knots))
    return np.interp(middles, middles[found], np.array(quantiles)[found])


def _empty_table(std, sigma):
    """Knots; those of the noise follow its distribution, with a least distance."""
    logs = np.quantile(np.log(std / sigma), _NOISE_SHARES)
    logs = np.maximum.accumulate(logs + 1e-3 * np.arange(len(logs)))
    knots = [float(f"{knot:.6g}") for knot in np.exp(logs)]
    return {"signal_to_noise": list(_SIGNAL_TO_NOISE), "relative_noise": knots}


def _misfit(logs, rows, table, softness):
    image, std, truth, sigma = rows
    index, weight = table_weights(std, image, sigma, table)
    log_factor = (torch.from_numpy(weight).float() * logs.flatten()[torch.from_numpy(index)]).sum(0)
    image, std, truth, sigma = map(torch.from_numpy, rows)
    std = std * torch.exp(log_factor)
    return coverage_misfit(image, truth, std, sigma, softness=softness)


def _roughness(logs):
    return torch.diff(logs, n=2, dim=0).square().sum()
