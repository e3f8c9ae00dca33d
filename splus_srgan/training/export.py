# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""From a checkpoint to weights with their model card, ready for `splus_srgan.SRGANEnhancer`."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.enhance.enhancer import SRGANEnhancer
from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.models.weights import ANY_BAND, load_card, save_weights
from splus_srgan.pixels.psf import TARGET_PSF
from splus_srgan.simulate.field import simulate_field
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.training.calibration import calibrate
from splus_srgan.training.checkpoints import CONTENT, averaged_weights, read_checkpoint
from splus_srgan.training.config.training import load_config
from splus_srgan.training.data.fields import SEEDS
from splus_srgan.training.networks import make_generator
from splus_srgan.utils.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.models.generator import SRResNet
    from splus_srgan.models.joint import JointResNet
    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.training.config.training import DataConfig
    from splus_srgan.utils.types import FilePath, ProgressBar

__all__ = [
    "calibrate_weights",
    "export_weights",
    "is_simulated",
    "load_average",
]

# Seen in the simulation: seeing in arcsec, and pixels of so many sky noises.
_SIMULATED_DOMAIN = {"fwhm": [0.95, 2.4], "signal": 3e4}
_SIMULATED_THANKS = (
    "Trained on simulations alone, whose magnitudes, sizes, colors, seeing and noise follow "
    "S-PLUS and the Legacy Surveys."
)
_MATCHED_THANKS = "Trained on images of S-PLUS and of the DESI Legacy Imaging Surveys."


def load_average(checkpoint: FilePath | dict[str, Any]) -> SRResNet | JointResNet:
    """
    Build the generator of a checkpoint: the moving average of its weights.

    Parameters
    ----------
    checkpoint : path-like or dict
        A checkpoint of a run, or its content.

    Returns
    -------
    generator : `~torch.nn.Module`
        In evaluation mode, on the CPU.
    """
    content = checkpoint if isinstance(checkpoint, dict) else read_checkpoint(checkpoint)
    config = load_config(content[CONTENT]["config"])
    generator = make_generator(config)
    generator.load_state_dict(averaged_weights(content))
    return generator.eval()


def export_weights(
    checkpoint: FilePath,
    folder: FilePath,
    *,
    name: str | None = None,
    version: str = "0.1",
    flux_anchor: float | None = None,
    target_psf: tuple[float, float] | None = None,
    scores: Mapping[str, Any] | None = None,
    uncertainty: Mapping[str, Any] | None = None,
    license: str = "",
    acknowledgements: str | None = None,
) -> WeightsCard:
    """
    Write the generator of a checkpoint as weights with their model card.

    Parameters
    ----------
    checkpoint : path-like
        A checkpoint of a run.
    folder : path-like
        Folder of both files; created.
    name : str, optional
        Name of the weights; that of the configuration by default.
    version : str, optional
        Version of the weights.
    flux_anchor : float, optional
        Default strength of the flux anchor when enhancing, 0 to 1; 1 by default, as in the
        shipped weights.
    target_psf : tuple of float, optional
        FWHM (arcsec) and Moffat beta of the targets; found from the data by default.
    scores : dict, optional
        Measured scores; by default those of the validation in the checkpoint.
    uncertainty : dict, optional
        Result of `~splus_srgan.training.calibration.calibrate`; see `calibrate_weights`.
    license : str, optional
        Terms of the weights.
    acknowledgements : str, optional
        Whom to thank; found from the data by default.

    Returns
    -------
    card : `~splus_srgan.models.weights.WeightsCard`
        What was written.  Weights of ``data.space="seed"`` have no flux scale:
        `splus_srgan.SRGANEnhancer` refuses them, and
        `~splus_srgan.models.weights.load_generator` gives their generator.

    Raises
    ------
    OSError, ValueError
        If the checkpoint cannot be read, or the PSF of its targets is not known.
    """
    content = read_checkpoint(checkpoint)
    config = load_config(content[CONTENT]["config"])
    data = config.data
    if flux_anchor is None:
        flux_anchor = 0.0 if data.space == "seed" else 1.0
    fwhm, beta = _target_psf(data) if target_psf is None else target_psf
    thanks = _SIMULATED_THANKS if is_simulated(data) else _MATCHED_THANKS
    card = {
        "name": name or config.name,
        "version": version,
        "bands": [ANY_BAND] if data.single_band else list(data.bands),
        "pixel_scale": PIXEL_SCALE,
        "stretch": _stretch(data),
        "target_psf": {"profile": "Moffat", "fwhm": fwhm, "beta": beta},
        "domain": _SIMULATED_DOMAIN if is_simulated(data) else {},
        "flux_anchor": flux_anchor,
        # The second of two stages already has the gain of a mean over turned images.
        "turned": data.space == "noise" and not data.subsets,
        "training": _training(content, config),
        "scores": content[CONTENT]["scores"] if scores is None else scores,
        "license": license,
        "acknowledgements": thanks if acknowledgements is None else acknowledgements,
    }
    if data.subsets:
        card["first_stage"] = {one.name: one.sha256 for one in map(load_card, data.first_stage)}
    if uncertainty is not None:
        card["uncertainty"] = uncertainty
    return _write_whole(load_average(content), Path(folder), card)


def calibrate_weights(
    card: FilePath,
    *,
    shape: tuple[int, int] = (128, 128),
    bands: Sequence[str] | None = None,
    n_fields: int = 150,
    progress_bar: ProgressBar | None = None,
) -> WeightsCard:
    """
    Calibrate the uncertainties of exported weights on simulated fields, in their model card.

    Parameters
    ----------
    card : path-like
        Model card of a generator that predicts a scale; it is replaced.
    shape : tuple of int, optional
        ``(ny, nx)`` of the fields in input pixels.
    bands : sequence of str, optional
        Bands of the fields; those of the model card by default.
    n_fields : int, optional
        Number of fields, with the seeds of the validation.
    progress_bar : callable, optional
        Wraps the fields.

    Returns
    -------
    card : `~splus_srgan.models.weights.WeightsCard`
        With the calibration.

    Raises
    ------
    ValueError
        If the generator predicts no scale, or the fields are too few.
    """
    known = load_card(card)
    bands = tuple(known.bands if bands is None else bands)
    seeds = ((SEEDS["validation"], k) for k in range(n_fields))
    fields = (simulate_field(seed, shape=shape, bands=bands) for seed in seeds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SplusSrganWarning)
        # Simulated fields are what they say.
        enhancer = SRGANEnhancer(known, uncertainty=True, psf="header", check_input=False)
        found = calibrate(enhancer, fields, progress_bar=progress_bar)
    known = dataclasses.replace(known, uncertainty=found)
    path = Path(known.folder) / f"{known.name}.json"
    replace_file(path, json.dumps(known.to_dict(), indent=2) + "\n")
    return known


def _write_whole(generator, folder, card):
    """Write both files to temporary names and rename them, the model card last."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as beside:
        written = save_weights(generator, beside, **card)
        for file in (written.file, f"{written.name}.json"):
            replace_file(folder / file, (Path(beside) / file).read_bytes())
    return load_card(folder / f"{written.name}.json")


def _stretch(data):
    if data.space == "seed":
        return {"space": "seed"}
    return {"softening": data.softening, "range": data.range}


def is_simulated(data: DataConfig) -> bool:
    """
    Whether pairs come from the simulation, or folders rendered from it.

    Parameters
    ----------
    data : `~splus_srgan.training.config.training.DataConfig`
        Source of the pairs.

    Returns
    -------
    simulated : bool
        `False` for matched pairs of real images.
    """
    return data.simulated or all((Path(s) / "conditions.json").is_file() for s in data.sources)


def _target_psf(data):
    """FWHM (arcsec) and beta of the targets."""
    if is_simulated(data):
        return TARGET_PSF
    settings = Path(data.sources[0]) / "settings.json"
    if settings.is_file():
        known = json.loads(settings.read_text(encoding="utf-8")).get("target_psf")
        if known is not None:
            return tuple(known)
    return _measured_fwhm(data.sources[0]), TARGET_PSF[1]


def _measured_fwhm(source):
    """Median seeing (arcsec) of the targets of a folder of pairs."""
    from splus_srgan.pairs.folder.pairs import PairFolder

    try:
        index = PairFolder(source).index
    except OSError as error:
        raise ValueError(
            f"the PSF of the targets is not known ({error}): give target_psf=(fwhm, beta)"
        ) from error
    columns = [index[name] for name in index.colnames if name.startswith("fwhm_target")]
    values = np.concatenate([np.ravel(np.asarray(c.value, float)) for c in columns] or [[]])
    if not np.isfinite(values).any():
        raise ValueError(
            f"the PSF of the targets of {source} is not known: give target_psf=(fwhm, beta)"
        )
    return float(np.nanmedian(values))


def _training(content, config):
    """History of the weights, for the model card."""
    data = "pairs of a folder"
    if config.data.simulated:
        data = f"simulated fields, seeds ({SEEDS['train']}, k)"
    elif is_simulated(config.data):
        data = "rendered simulated fields"
    return {
        "script": "splus-srgan train",
        "version": content[CONTENT]["version"],
        "data": data,
        "minutes": content[CONTENT]["minutes"],
        "stages": content["splus_srgan_module"]["stages"],
    }
