# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Checkpoints as files: complete or absent, and without code."""

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from splus_srgan.training.config.networks import DISCRIMINATOR_TERMS
from splus_srgan.utils.files import home_path, replace_file
from splus_srgan.utils.optional import import_optional

__all__ = [
    "CONTENT",
    "AtomicCheckpointIO",
    "averaged_weights",
    "chosen_checkpoint",
    "find_checkpoint",
    "read_checkpoint",
    "settle_loops",
]

CONTENT = "splus_srgan"
"""Key of what this package adds to a checkpoint: version, configuration, step."""

_AVERAGE = "average."  # in the state of the module
_SEAL = b"splus_srgan sha256 "

_plugins: Any = import_optional("lightning.pytorch.plugins", "train")


class AtomicCheckpointIO(_plugins.TorchCheckpointIO):
    """
    Write checkpoints to temporary files and rename them; read nothing but tensors.

    After a full disk, or if the process is killed, the previous file is still there.  Each
    carries the SHA-256 of its bytes, which `read_checkpoint` checks: `torch.load` would take
    a flipped bit for a weight.
    """

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        """
        Write a checkpoint.

        Parameters
        ----------
        checkpoint : dict
            Content of the checkpoint.
        path : path-like
            File to write.
        storage_options : object, optional
            Not used.

        Raises
        ------
        OSError
            If it cannot be written; a previous file is still there.
        """
        path = Path(path)
        # When torch writes to a file itself, a full disk shows only in the text of a RuntimeError.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, b"".join(_sealed(content.getbuffer())))
        except OSError as error:
            reason = getattr(error.__cause__, "strerror", None) or error.strerror or error
            raise OSError(
                f"checkpoint {str(path)!r} could not be written: {reason}. {_what_is_left(path)}"
            ) from error

    def load_checkpoint(self, path, map_location=None, weights_only=True):
        """
        Read a checkpoint.

        Parameters
        ----------
        path : path-like
            File to read.
        map_location : object, optional
            As for `torch.load`; the processor by default.
        weights_only : bool, optional
            Not used: nothing but tensors and plain values is ever read.

        Returns
        -------
        checkpoint : dict
            Content of the checkpoint.
        """
        return read_checkpoint(path, map_location=map_location)


def _sealed(content):
    """Parts of a file that ends with its own hash, in the comment of the zip archive."""
    digest = hashlib.sha256(content).hexdigest().encode("ascii")
    return content[:-2], len(_SEAL + digest).to_bytes(2, "little"), _SEAL + digest


def _unsealed(content):
    """Content without its seal, if it has the hash in the seal; otherwise `ValueError`."""
    length = len(_SEAL) + 64
    body, seal, digest = content[: -length - 2], content[-length:-64], content[-64:]
    if bytes(seal) != _SEAL:
        raise ValueError("it does not end with the hash that splus_srgan writes")
    body = bytes(body) + bytes(2)
    if hashlib.sha256(body).hexdigest().encode("ascii") != bytes(digest):
        raise ValueError("its bytes do not have the hash that they were written with")
    return io.BytesIO(body)


def _what_is_left(path):
    if path.is_file():
        return "The one before it is complete: make room, and resume with --resume"
    return "Make room, and start again"


def read_checkpoint(path, *, map_location=None):
    """
    Read a checkpoint of this package.

    Parameters
    ----------
    path : path-like
        The file.
    map_location : object, optional
        As for `torch.load`; the processor by default.

    Returns
    -------
    checkpoint : dict
        Content of the checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged (its hash is checked), or not of this package.
    """
    path = home_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {str(path)!r} does not exist")
    place = "cpu" if map_location is None else map_location
    try:
        content = _unsealed(memoryview(path.read_bytes()))
        checkpoint = torch.load(content, map_location=place, weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(
            f"checkpoint {str(path)!r} is damaged or not a checkpoint: {reason}"
        ) from error
    if not isinstance(checkpoint, dict) or CONTENT not in checkpoint:
        raise ValueError(f"checkpoint {str(path)!r} was not written by splus_srgan")
    return checkpoint


def averaged_weights(checkpoint):
    """
    Give the moving average of the generator's weights, which is validated and exported.

    Parameters
    ----------
    checkpoint : dict
        Content of a checkpoint.

    Returns
    -------
    state : dict of str to `~torch.Tensor`
        State of a generator.
    """
    return {
        name.removeprefix(_AVERAGE): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(_AVERAGE)
    }


def find_checkpoint(place):
    """
    Find the checkpoint to resume from.

    Parameters
    ----------
    place : path-like
        A checkpoint, or the folder of a run, whose last one is taken.

    Returns
    -------
    path : `~pathlib.Path`
        The file.
    """
    path = home_path(place)
    if not path.is_dir():
        if not path.is_file():
            raise FileNotFoundError(
                f"resume must name a checkpoint or the folder of a run; {str(path)!r} does not "
                "exist"
            )
        return path
    last = path / "checkpoints" / "last.ckpt"
    if not last.is_file():
        raise FileNotFoundError(
            f"resume: {str(path)!r} holds no checkpoint (checkpoints/last.ckpt); start without "
            "--resume"
        )
    return last


def chosen_checkpoint(folder):
    """
    Choose the checkpoint whose weights are those of a run.

    The one with the best score; with a discriminator the last one, since the score does not
    measure the benefit of a discriminator, and is highest before it enters.

    Parameters
    ----------
    folder : path-like
        The checkpoints of a run.

    Returns
    -------
    path : `~pathlib.Path` or None
        The file; `None` if there is none.
    """
    best, last = (Path(folder) / f"{name}.ckpt" for name in ("best", "last"))
    if not (best.is_file() and last.is_file()):
        return next((path for path in (best, last) if path.is_file()), None)
    losses = read_checkpoint(last)[CONTENT]["config"]["losses"]
    return last if any(losses[name] > 0 for name in DISCRIMINATOR_TERMS) else best


def settle_loops(checkpoint, *, step, steps_per_epoch):
    """
    Let Lightning resume at a step without its own count within an epoch.

    Lightning counts batches in many places, and restores counts from within an epoch or a
    validation differently from release to release.  Here the step alone defines the state of a
    run: between two steps, with nothing begun.

    Parameters
    ----------
    checkpoint : dict
        Content of a checkpoint of Lightning, changed in place.
    step : int
        Steps taken.
    steps_per_epoch : int
        Steps of an epoch.
    """
    epoch, within = divmod(step, steps_per_epoch)
    loops = checkpoint["loops"]["fit_loop"]
    for counts in loops["epoch_progress"].values():
        begun = epoch + (within > 0)
        counts.update(ready=begun, started=begun, processed=epoch, completed=epoch)
    batches = loops["epoch_loop.batch_progress"]
    _set_all(batches["total"], step)
    _set_all(batches["current"], within)
    batches["is_last_batch"] = False
    validated = loops["epoch_loop.val_loop.batch_progress"]
    for counts in (validated["total"], validated["current"]):
        _set_all(counts, 0)
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = step
    checkpoint["epoch"] = epoch


def _set_all(counts, value):
    counts.update(dict.fromkeys(counts, value))
