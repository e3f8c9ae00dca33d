# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The folder of a run: created, or refused if it holds something else."""

import json
import platform
import re
import shutil
from importlib.metadata import PackageNotFoundError, version

from splus_srgan._version import __version__
from splus_srgan.training.config.training import dump_config
from splus_srgan.utils.files import UNFINISHED, home_path, replace_file

__all__ = ["checkpoint_folder", "prepare_folder"]

_VERSIONS = "versions.json"
_PARTS = {
    "config.yaml": None,
    _VERSIONS: None,
    "metrics.csv": None,
    "tensorboard": r"hparams\.yaml|events\.out\.tfevents\..*",
    "pictures": r"epoch_\d+\.png",
    "checkpoints": r".*\.ckpt",
    "weights": r".*\.(json|safetensors)",
}
"""Files of a run, and its folders with the names of what they hold."""

_PACKAGES = ("torch", "lightning", "numpy", "scipy", "astropy", "photutils", "scikit-image")


def checkpoint_folder(output):
    """
    Folder of the checkpoints of a run.

    Parameters
    ----------
    output : path-like
        The folder of the run.

    Returns
    -------
    folder : `~pathlib.Path`
        Folder inside that of the run.
    """
    return home_path(output) / "checkpoints"


def prepare_folder(folder, config, *, in_place, overwrite):
    """
    Make the folder of a run, and write its configuration and versions into it.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The folder.
    config : `~splus_srgan.training.config.training.TrainingConfig`
        The run.
    in_place : bool
        Whether it resumes the run in that folder.
    overwrite : bool
        Whether another run may be replaced.

    Raises
    ------
    OSError
        If the folder holds another run, or other files.
    ValueError
        If the weights to start from lie in it.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"run.output must be a folder; {str(folder)!r} is a file")
    if not in_place:
        for start in config.run.starts:
            _check_start(folder, start)
        _make_room(folder, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "config.yaml", dump_config(config))
    replace_file(folder / _VERSIONS, json.dumps(_versions(), indent=2) + "\n")


def _check_start(folder, start):
    """Refuse to start from what making room would remove."""
    place = home_path(start)
    if not place.exists():  # the name of a model card
        return
    folder, place = folder.resolve(), place.resolve()
    if folder in (place, *place.parents):
        raise ValueError(
            "run.start_from must not lie in run.output, whose files a new run replaces; got "
            f"{str(start)!r} in {str(folder)!r}: give another folder (-o)"
        )


def _make_room(folder, overwrite):
    """Remove the files of an earlier run, and no foreign ones."""
    present = [name for name in _PARTS if (folder / name).exists()]
    if present and not _is_run(folder):
        raise FileExistsError(
            f"{str(folder)!r} holds {present[0]}, which is no run's: give another folder (-o)"
        )
    if not overwrite:
        _check_nothing_to_lose(folder)
    for name in present:
        _check_own(folder / name, _PARTS[name])
    for name in present:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check_own(path, pattern):
    """Refuse to remove what no run has written."""
    if pattern is None and (path.is_file() or path.is_symlink()):
        return
    if pattern is None or path.is_symlink() or not path.is_dir():
        foreign = [path.name]
    else:
        own = re.compile(f"{pattern}|{UNFINISHED}")
        foreign = [
            f"{path.name}/{one.name}"
            for one in sorted(path.iterdir())
            if not own.fullmatch(one.name) or one.is_dir()
        ]
    if foreign:
        raise FileExistsError(
            f"{str(path.parent)!r} holds {foreign[0]}, which no run has written and a new one "
            "would remove: move it elsewhere, or give another folder (-o)"
        )


def _check_nothing_to_lose(folder):
    """A run that failed before its first checkpoint may be replaced by the next one."""
    if any(checkpoint_folder(folder).glob("*.ckpt")):
        raise FileExistsError(
            f"{str(folder)!r} holds another run: resume it (--resume {folder}), replace "
            "it (--overwrite), or give another folder (-o)"
        )
    # Whoever needs the weights alone may have removed the checkpoints, which are large.
    if any((folder / "weights").glob("*")):
        raise FileExistsError(
            f"{str(folder)!r} holds the weights of another run: replace it (--overwrite), or give "
            "another folder (-o)"
        )


def _is_run(folder):
    if not (folder / _VERSIONS).is_file():  # a pipe would be waited for
        return False
    try:
        return "splus_srgan" in json.loads((folder / _VERSIONS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _versions():
    found = {"splus_srgan": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found | {"machine": platform.machine(), "system": platform.platform()}
