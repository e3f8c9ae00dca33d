# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Training besides the steps: checkpoints, pictures, and an orderly end."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from splus_srgan._version import __version__
from splus_srgan.pixels.fine_grid import FACTOR
from splus_srgan.training.checkpoints import CONTENT, settle_loops
from splus_srgan.utils.files import atomic_path
from splus_srgan.utils.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

    import torch
    from lightning import Trainer
    from numpy.typing import ArrayLike, NDArray

    from splus_srgan.training.config.training import TrainingConfig
    from splus_srgan.training.module import SRGANModule
    from splus_srgan.utils.types import FilePath

__all__ = ["Checkpoints", "Pictures", "StopSignals", "TrainingInterrupted", "draw_panels"]

_callbacks: Any = import_optional("lightning.pytorch.callbacks", "train")

_GAP = 4  # pixels between two panels
_SAVE_SECONDS = 600.0  # seconds of work that a killed run may lose


class TrainingInterrupted(KeyboardInterrupt):
    """A run was stopped from outside, after its checkpoint was written."""


class Stopped(Exception):
    """Leaves the loops of Lightning, which would end the process at a `KeyboardInterrupt`."""


class StopSignals:
    """
    Turn SIGINT (Ctrl-C), SIGTERM and SIGHUP into a request that is honoured between two steps.

    A second SIGINT stops at once.  It works in the main thread; in other threads it does nothing.

    Attributes
    ----------
    requested : bool
        Whether a signal has come.
    """

    _SIGNALS = tuple(
        getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
    )

    def __init__(self) -> None:
        self.requested = False
        self._process = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in self._SIGNALS}
            # Ignored signals stay ignored, as nohup requires.
            self._before = {n: how for n, how in before.items() if how is not signal.SIG_IGN}
            self.install()
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def install(self) -> None:
        """Install the handlers, over those of Lightning."""
        for number in self._before:
            signal.signal(number, self._receive)

    def _receive(self, number, frame):
        if os.getpid() != self._process:
            return  # a forked worker: the main process tells it when to end
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        # The stream of print may be in use when the signal arrives.
        os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")


class Checkpoints(_callbacks.Checkpoint):
    """
    Save the last state and the best one, and end the run when its time is over.

    ``last.ckpt`` is written after every epoch, every ten minutes, and before an orderly end;
    ``best.ckpt`` after each validation with a better score.  Training resumes from either as if
    it had never stopped.

    Parameters
    ----------
    folder : path-like
        Folder of both.
    config : `~splus_srgan.training.config.training.TrainingConfig`
        Configuration that is written into each.
    stop : `StopSignals`
        Requests to stop, which are checked after every step.

    Attributes
    ----------
    best_score : float or None
        Score of the best one.
    scores : dict of str to float
        Results of the last validation.
    spent : float
        Seconds of training, including those before the checkpoint that it resumed from.
    """

    def __init__(self, folder: FilePath, config: TrainingConfig, *, stop: StopSignals) -> None:
        self.last, self.best = (Path(folder) / f"{name}.ckpt" for name in ("last", "best"))
        self.config, self.stop = config, stop
        self.best_score: float | None = None
        self.scores: dict[str, float] = {}
        self.spent = 0.0
        self._clock = self._saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """State of this callback for a resumed run."""
        return {
            "best_score": self.best_score,
            "scores": self.scores,
            "spent": self._spent_now(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a saved state."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_save_checkpoint(
        self, trainer: Trainer, module: SRGANModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the configuration, and reduce Lightning's state of the loops to the step."""
        settle_loops(checkpoint, step=module.step, steps_per_epoch=self._epoch_length(trainer))
        checkpoint[CONTENT] = {
            "version": __version__,
            "config": self.config.to_dict(),
            "step": module.step,
            "minutes": round(self._spent_now() / 60, 1),
            "scores": self.scores,
        }

    def on_train_start(self, trainer: Trainer, module: SRGANModule) -> None:
        """Start the clock; the best checkpoint of a run in another folder is left there."""
        self.stop.install()
        here = self.best_score if self.best.is_file() else None
        self.best_score = trainer.strategy.broadcast(here)
        self._clock = self._saved = time.monotonic()

    def on_train_batch_start(
        self, trainer: Trainer, module: SRGANModule, batch: dict[str, torch.Tensor], batch_idx: int
    ) -> None:
        """Save from time to time, and stop on request: the step before is complete and logged."""
        stop = _any_rank(trainer, self.stop.requested)
        if stop or _any_rank(trainer, time.monotonic() - self._saved > _SAVE_SECONDS):
            self.save(trainer, self.last)
        if stop:
            raise Stopped

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: SRGANModule,
        outputs: object,
        batch: dict[str, torch.Tensor],
        batch_idx: int,
    ) -> None:
        """End the run when its time is over; the last epoch is validated in any case."""
        if _any_rank(trainer, self._time_is_over()):
            trainer.should_stop, trainer.check_val_every_n_epoch = True, 1

    def on_validation_end(self, trainer: Trainer, module: SRGANModule) -> None:
        """Save the state if it is better than all before."""
        self.scores = {
            name.removeprefix("val/"): round(float(value), 4)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/") or name == "score"
        }
        score = self.scores.get("score")
        if score is None or not np.isfinite(score):
            return
        if self.best_score is None or score > self.best_score:
            self.best_score = score
            self.save(trainer, self.best)

    def on_train_epoch_end(self, trainer: Trainer, module: SRGANModule) -> None:
        """Save the last state; stop on request."""
        self.save(trainer, self.last)
        if _any_rank(trainer, self.stop.requested):
            raise Stopped

    def save(self, trainer: Trainer, path: Path) -> None:
        """
        Write a checkpoint.

        Parameters
        ----------
        trainer : `lightning.pytorch.Trainer`
            The trainer.
        path : `~pathlib.Path`
            File of the checkpoint.
        """
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(path)
        self._saved = time.monotonic()

    def _spent_now(self):
        return self.spent + time.monotonic() - self._clock

    def _time_is_over(self):
        minutes = self.config.run.max_minutes
        return minutes is not None and self._spent_now() > 60 * minutes

    def _epoch_length(self, trainer):
        """Steps of a whole epoch; the loader of the first one may have fewer left."""
        return trainer.datamodule.steps_per_epoch


def _any_rank(trainer, wish):
    """Whether any process requests it: all must do the same at the same step."""
    if trainer.world_size == 1:
        return wish
    return trainer.strategy.reduce_boolean_decision(wish, all=False)


class Pictures(_callbacks.Callback):
    """
    Draw validation images: input, generated and target side by side.

    One PNG per validation goes to the folder, and to TensorBoard where it is used.  All three
    have one asinh stretch; three bands or more make a color picture, each image one row.

    Parameters
    ----------
    folder : path-like
        Folder of the pictures, one for each validated epoch: ``epoch_0005.png``.
    """

    def __init__(self, folder: FilePath) -> None:
        self.folder = Path(folder)

    def on_validation_epoch_end(self, trainer: Trainer, module: SRGANModule) -> None:
        """Draw the images that the validation kept."""
        if not trainer.is_global_zero or not module.pictures:
            return
        panels = draw_panels(module.pictures)
        epoch = -(-module.step // trainer.datamodule.steps_per_epoch)
        _write_png(self.folder / f"epoch_{epoch:04d}.png", panels)
        for logger in trainer.loggers:
            if hasattr(logger.experiment, "add_image"):
                logger.experiment.add_image("pictures", panels, module.step, dataformats="HWC")


def draw_panels(pictures: Iterable[Mapping[str, ArrayLike]]) -> NDArray[np.uint8]:
    """
    Draw rows of input, generated and target.

    Parameters
    ----------
    pictures : sequence of dict
        ``"input"``, shape (n_band, ny, nx), ``"generated"`` and ``"target"``, both of shape
        (n_band, 2 ny, 2 nx): stretched images.

    Returns
    -------
    panels : `~numpy.ndarray`, shape (height, width, 3)
        8 bit; oriented like the arrays, with y upwards.  Black is the faint end of the input's
        sky, white a level that few pixels of the target exceed.
    """
    rows = []
    for picture in pictures:
        small, *fine = (np.asarray(picture[k]) for k in ("input", "generated", "target"))
        images = [small.repeat(FACTOR, 1).repeat(FACTOR, 2), *fine]
        low, high = np.nanquantile(small, 0.05), np.nanquantile(images[2], 0.998)
        span = max(high - low, 1e-6)
        rows.append(_beside([_to_rgb((image - low) / span) for image in images], axis=1))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    return np.rint(255 * _beside(rows, axis=0)).astype(np.uint8)


def _to_rgb(image):
    """Make red, green and blue of the last, middle and first band; missing pixels are gray."""
    order = np.rint(np.linspace(len(image) - 1, 0, 3)).astype(int)
    colors = np.moveaxis(image[order], 0, -1)[::-1]
    return np.where(np.isfinite(colors), np.clip(colors, 0, 1), 0.5)


def _beside(images, *, axis):
    """Join images side by side, with a white line between them."""
    shape = list(images[0].shape)
    shape[axis] = _GAP
    parts = [part for image in images for part in (image, np.ones(shape))]
    return np.concatenate(parts[:-1], axis)


def _write_png(path, image):
    """Write a picture to a temporary file and rename it."""
    from skimage.io import imsave

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, overwrite=True) as beside:
        imsave(beside, image, check_contrast=False)
