# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The trainer of Lightning, with checkpoints and loggers of this package, and without noise."""

import logging
import warnings
from contextlib import contextmanager
from pathlib import Path

from splus_srgan.training.callbacks import Pictures
from splus_srgan.training.checkpoints import AtomicCheckpointIO
from splus_srgan.training.history import History
from splus_srgan.training.module import trainer_options
from splus_srgan.utils.optional import has, import_optional

__all__ = ["is_first_process", "make_trainer", "quiet"]

_pl = import_optional("lightning.pytorch", "train")
_environments = import_optional("lightning.pytorch.plugins.environments", "train")


def is_first_process():
    """
    Whether this process is the one that writes and prints.

    Returns
    -------
    first : bool
        `False` in all but one of the processes of a run on several devices.
    """
    return _pl.utilities.rank_zero_only.rank == 0


@contextmanager
def quiet():
    """Suppress Lightning's advertisements, and warnings that do not apply here."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Pairs are quick to draw; data.workers says how many processes do it.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        # Lightning 2.6 with PyTorch 2.13.
        warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
        # A resumed run may be given a patience, or lose it.
        warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")
        # Frozen networks are in evaluation mode on purpose.
        warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")
        try:
            yield
        finally:
            logger.setLevel(level)


def make_trainer(config, checkpoints, *, step, progress_bar):
    """
    Make the trainer of a run.

    Parameters
    ----------
    config : `~splus_srgan.training.config.training.TrainingConfig`
        The run.
    checkpoints : `~splus_srgan.training.callbacks.Checkpoints`
        Callback that saves its state.
    step : int
        Finished steps of the run.
    progress_bar : bool
        Whether to show a progress bar.

    Returns
    -------
    trainer : `lightning.pytorch.Trainer`
        The trainer.
    """
    run = config.run
    folder = Path(run.output)
    callbacks = [Pictures(folder / "pictures")] if run.n_pictures else []
    if run.patience is not None:
        stopping = _pl.callbacks.EarlyStopping("score", mode="max", patience=run.patience)
        callbacks.append(stopping)
    return _pl.Trainer(
        **trainer_options(config),
        limit_val_batches=1.0 if config.data.n_validation else 0,
        log_every_n_steps=1,
        logger=_make_loggers(folder, step),
        callbacks=[*callbacks, checkpoints],
        plugins=_plugins(),
        default_root_dir=folder,
        enable_model_summary=False,
        enable_progress_bar=progress_bar,
    )


def _make_loggers(folder, step):
    """Loggers: a table always, TensorBoard if it is installed."""
    loggers = [History(folder / "metrics.csv", step=step)]
    if has("tensorboard"):
        loggers.append(_pl.loggers.TensorBoardLogger(folder, name="tensorboard", version=""))
    return loggers


def _plugins():
    """Our own checkpoints; a job of SLURM is put back into the queue by its script."""
    environment = _environments.SLURMEnvironment
    slurm = [environment(auto_requeue=False)] if environment.detect() else []
    return [AtomicCheckpointIO(), *slurm]
