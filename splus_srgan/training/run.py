# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
A whole training run: from a configuration to weights with their model card.

The folder of a run holds::

    config.yaml          the configuration, every key
    versions.json        versions of the software
    metrics.csv          the log, one row per step
    tensorboard/         the same, where TensorBoard is installed
    pictures/            validation images: input, generated, target
    checkpoints/         last.ckpt and best.ckpt, each enough to resume from
    weights/             the model card of the best, or with a discriminator of the last, for
                         `splus_srgan.SRGANEnhancer`
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from astropy.table import Table

from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.training.callbacks import (
    Checkpoints,
    Stopped,
    StopSignals,
    TrainingInterrupted,
)
from splus_srgan.training.checkpoints import (
    CONTENT,
    chosen_checkpoint,
    find_checkpoint,
    read_checkpoint,
)
from splus_srgan.training.config.training import TrainingConfig, load_config, read_keys
from splus_srgan.training.data.module import PairsDataModule
from splus_srgan.training.export import calibrate_weights, export_weights, is_simulated
from splus_srgan.training.history import read_history
from splus_srgan.training.module import SRGANModule
from splus_srgan.training.run_folder import checkpoint_folder, prepare_folder
from splus_srgan.training.trainer import is_first_process, make_trainer, quiet
from splus_srgan.utils.files import home_path

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.utils.types import FilePath

__all__ = ["TrainingResult", "resumed_config", "train"]

CALIBRATION_FIELDS = 150
"""Simulated fields on which the uncertainties of exported weights are calibrated."""

# What may change when a run is resumed: where, how long, how fast.
_FREE = {
    "run.output",
    "run.epochs",
    "run.max_minutes",
    "run.patience",
    "run.validate_every",
    "run.devices",
    "run.num_nodes",
    "run.accelerator",
    "run.n_pictures",
    "run.progress_bar",
    "data.workers",
    "data.cache",
}


@dataclass(frozen=True)
class TrainingResult:
    """
    Results of a run.

    Attributes
    ----------
    folder : `~pathlib.Path`
        The folder of the run.
    card : `~pathlib.Path`
        Model card of the exported weights: of the best checkpoint, or of the last one where
        nothing was validated, or a discriminator was trained.
    best : `~pathlib.Path` or None
        Checkpoint of the best validation.
    last : `~pathlib.Path`
        Last checkpoint.
    best_score : float or None
        Score of the best one, in dB.
    step : int
        Steps of the generator.
    history : `~astropy.table.Table`
        The log.
    """

    folder: Path
    card: Path
    best: Path | None
    last: Path
    best_score: float | None
    step: int
    history: Table


def train(
    config: TrainingConfig | dict[str, Any] | FilePath | None = None,
    *,
    resume: FilePath | None = None,
    overwrite: bool = False,
    progress_bar: bool | None = None,
) -> TrainingResult:
    """
    Train, or resume a run.

    Parameters
    ----------
    config : `~splus_srgan.training.config.training.TrainingConfig`, dict or path-like, optional
        What to train; see `~splus_srgan.training.config.training.load_config`.  Not needed with
        ``resume``, where it may change length, folder and devices of the run; keys that a dict
        or a file does not have are then those of the run, unless it names a ``preset``.
    resume : path-like, optional
        A checkpoint or the folder of a run to resume.
    overwrite : bool, optional
        Replace another run in the folder.
    progress_bar : bool, optional
        Show a progress bar; as in the configuration by default.

    Returns
    -------
    result : `TrainingResult`
        Paths, score and history.

    Raises
    ------
    TrainingInterrupted
        If SIGINT or SIGTERM came; the checkpoint was written before.
    FloatingPointError
        If a loss is not finite; the checkpoints hold the state before.
    OSError, ValueError
        If the configuration, the data or a file is not valid.
    """
    start = _Start(config, resume)
    folder = home_path(start.config.run.output)
    run = start.config.run
    if is_first_process():
        prepare_folder(folder, start.config, in_place=start.in_place, overwrite=overwrite)
    with quiet(), torch.random.fork_rng(devices=[]), StopSignals() as stop:
        torch.manual_seed(run.seed)
        module = SRGANModule(start.config)
        data = PairsDataModule(start.config)
        checkpoints = Checkpoints(checkpoint_folder(folder), start.config, stop=stop)
        bar = run.progress_bar if progress_bar is None else progress_bar
        trainer = make_trainer(start.config, checkpoints, step=start.step, progress_bar=bar)
        _fit(trainer, module, data, start, checkpoints)
    return _finish(folder, trainer, module, checkpoints)


def resumed_config(resume: FilePath, overrides: dict[str, Any] | None = None) -> TrainingConfig:
    """
    The configuration of a resumed run.

    Parameters
    ----------
    resume : path-like
        A checkpoint or the folder of a run.
    overrides : dict, optional
        Keys to change, nested or dotted.

    Returns
    -------
    config : `~splus_srgan.training.config.training.TrainingConfig`
        The whole configuration.  Its ``run.output`` is the folder of the run that the
        checkpoint lies in, unless it is overridden.
    """
    checkpoint = find_checkpoint(resume)
    content = read_checkpoint(checkpoint)[CONTENT]["config"]
    if checkpoint.parent.name == "checkpoints":
        content["run"]["output"] = str(checkpoint.parent.parent)
    return load_config(content, overrides)


class _Start:
    """Start of a run: its configuration, and the checkpoint that it resumes from."""

    def __init__(self, config, resume):
        if config is None and resume is None:
            raise ValueError("train needs a configuration, or resume= to resume a run")
        self.checkpoint, self.step = None, 0
        if resume is None:
            self.config = config if isinstance(config, TrainingConfig) else load_config(config)
        else:
            self.checkpoint = find_checkpoint(resume)
            self.step = read_checkpoint(self.checkpoint)[CONTENT]["step"]
            earlier = resumed_config(self.checkpoint)
            self.config = _changed(earlier, config)
            _check_same(earlier, self.config)

    @property
    def in_place(self):
        """Whether it resumes in the same folder."""
        if self.checkpoint is None:
            return False
        own = checkpoint_folder(self.config.run.output)
        return self.checkpoint.parent.resolve() == own.resolve()


def _changed(earlier, config):
    """The configuration of a run that is resumed, with what a caller gives laid over it."""
    if isinstance(config, TrainingConfig):
        return config
    keys = read_keys(config)
    if "preset" not in keys:
        return load_config(earlier.to_dict(), keys)
    # It says all that the run is to be, but for the folder, which no preset knows.
    return load_config({"run.output": earlier.run.output} | keys)


def _check_same(earlier, config):
    """Refuse to resume with a configuration that makes it a different run."""
    old, new = _flat(earlier.to_dict()), _flat(config.to_dict())
    changed = [key for key in old if key not in _FREE and old[key] != new[key]]
    if changed:
        changes = "; ".join(f"{key} was {old[key]!r}, now {new[key]!r}" for key in changed)
        raise ValueError(
            f"resume: the configuration must stay the same: {changes}. Leave these keys "
            "as they were, or start a new run with run.start_from"
        )


def _flat(content, prefix=""):
    flat = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _fit(trainer, module, data, start, checkpoints):
    """Run the loops of Lightning, and raise errors of this package where they end early."""
    try:
        trainer.fit(module, datamodule=data, ckpt_path=start.checkpoint)
    except (Stopped, SystemExit) as error:
        if not checkpoints.stop.requested:
            raise
        message = f"stopped at step {module.step}"
        if not isinstance(error, Stopped):
            message += " without another checkpoint"
        if checkpoints.last.is_file():
            message += f"; resume with: splus-srgan train --resume {start.config.run.output}"
        raise TrainingInterrupted(message) from error


def _finish(folder, trainer, module, checkpoints):
    """Export the weights and gather the results."""
    best = checkpoints.best if checkpoints.best.is_file() else None
    if trainer.is_global_zero:
        _export(chosen_checkpoint(checkpoint_folder(folder)), folder / "weights", module.config)
    return TrainingResult(
        folder=folder,
        card=folder / "weights" / f"{module.config.name}.json",
        best=best,
        last=checkpoints.last,
        best_score=checkpoints.best_score,
        step=module.step,
        history=read_history(folder / "metrics.csv"),
    )


def _export(checkpoint, folder, config):
    """Write the weights; the uncertainties of simulated fields are calibrated."""
    card = export_weights(checkpoint, folder)
    if card.scale is None or config.data.space == "seed":
        return
    if not is_simulated(config.data):
        # The noise of real targets would be mistaken for errors of the generator.
        warnings.warn(
            f"the uncertainties of {card.name!r} are not calibrated, since its targets have noise; "
            "see splus_srgan.training.export.calibrate_weights",
            SplusSrganWarning,
            stacklevel=3,
        )
        return
    path = folder / f"{card.name}.json"
    options = {"shape": config.data.shape, "bands": config.data.bands}
    calibrate_weights(path, n_fields=CALIBRATION_FIELDS, **options)
