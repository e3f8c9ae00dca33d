# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What the commands share: options, checks of what is to be written, names of outputs."""

from __future__ import annotations

import argparse
from functools import partial
from os.path import commonprefix
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ActionConfigFile
from jsonargparse.typing import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    restricted_number_type,
)

from splus_srgan.cli.output import say
from splus_srgan.exceptions import printable
from splus_srgan.splus import BANDS, canonical_band
from splus_srgan.utils.bounded_yaml import load_yaml, read_text
from splus_srgan.utils.files import check_folder, check_target, fits_stem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from jsonargparse import ArgumentParser, Namespace

    from splus_srgan.pairs.folder.store import PairFolder
    from splus_srgan.pairs.match import MatchedPair
    from splus_srgan.utils.types import FilePath

__all__ = [
    "PROGRAM",
    "SOME_FAILED",
    "ConfigFile",
    "IfTyped",
    "NonNegativeFloat",
    "UsageError",
    "add_config",
    "add_engine",
    "add_field",
    "add_matching",
    "add_output",
    "add_overwrite",
    "check_free",
    "draw_sheet",
    "int_from",
    "make_matcher",
    "output_stem",
    "survey_bands",
]

PROGRAM = "splus-srgan"
"""Name of the program, as messages have it."""


SOME_FAILED = 3
"""Exit status where some of many failed and the others are done."""


class UsageError(ValueError):
    """Options that do not go together: the exit status is that of a wrong command line."""


def int_from(least: int) -> type[int]:
    """Type of an option: an integer of at least this."""
    if least == 0:  # jsonargparse has it, and no rule twice
        return NonNegativeInt
    return restricted_number_type(f"IntFrom{least}", int, (">=", least))


def survey_bands(names: Sequence[str]) -> tuple[str, ...]:
    """
    Bands to simulate, by their own names.

    Parameters
    ----------
    names : sequence of str
        Value of ``--bands``, in any spelling that ``canonical_band`` knows.

    Returns
    -------
    bands : tuple of str
        Bands of S-PLUS.

    Raises
    ------
    UsageError
        If one is no band of S-PLUS, or there twice.

    Examples
    --------
    >>> from splus_srgan.cli.common import survey_bands
    >>> survey_bands(["R", "F660"])
    ('r', 'J0660')
    """
    try:
        bands = tuple(map(canonical_band, names))
    except ValueError:
        raise UsageError(f"bands must be among {', '.join(BANDS)}; got {' '.join(names)}") from None
    if len(set(bands)) < len(bands):
        raise UsageError(f"bands must name each band once; got {' '.join(names)}")
    return bands


class ConfigFile(ActionConfigFile):
    """Options from a YAML file, of a sensible size."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Look at the file before the parser takes it."""
        is_file = len(values) < 4096 and Path(values).exists()
        content = load_yaml(read_text(values) if is_file else values)
        if not isinstance(content, dict | None):
            raise UsageError(
                "--config must name a YAML file of options, such as output: out; "
                f"got {printable(content)[:60]}"
            )
        if isinstance(content, dict):
            several = {a.dest for a in parser._actions if a.nargs not in (None, 0, "?")}
            for name in several & set(content):
                if not isinstance(content[name], list | None):
                    raise UsageError(f"{name} must be a list; got {content[name]!r}")
        super().__call__(parser, cfg, values, option_string)


class IfTyped(argparse.Action):
    """Take what is typed; where nothing is, what a file of options says stays."""

    def __call__(
        self, parser: Any, namespace: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Set the value; of an argument that is left out argparse passes the default."""
        if values not in (None, []) or self.dest not in namespace:
            setattr(namespace, self.dest, values)


def add_config(parser: ArgumentParser) -> None:
    """Add the option to read the others from a file."""
    parser.add_argument("--config", action=ConfigFile, help="read options from this YAML file")


def add_output(
    parser: ArgumentParser,
    default: str | None = None,
    what: str = "folder to write to; made if needed",
) -> None:
    """Add the folder to write to, and whether what is in it may be replaced."""
    parser.add_argument(
        "-o", "--output", type=str, metavar="DIR", default=default, required=default is None,
        help=what,
    )  # fmt: skip
    add_overwrite(parser)


def add_overwrite(parser: ArgumentParser, what: str = "existing files") -> None:
    """Add the option to replace what is there."""
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what}")


def add_engine(parser: ArgumentParser) -> None:
    """Add weights and device."""
    parser.add_argument(
        "--weights", type=str, default="auto", help="a shipped name, or the path of a model card"
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, ...")


def add_field(parser: ArgumentParser, seed: int, shape: Sequence[int]) -> None:
    """Add seed and shape of a simulated field."""
    parser.add_argument(
        "--seed", type=int_from(0), default=seed, help="the same seed, the same field"
    )
    parser.add_argument(
        "--shape", type=int_from(16), nargs=2, metavar=("NY", "NX"), default=shape,
        help="input pixels",
    )  # fmt: skip


def add_matching(parser: ArgumentParser) -> None:
    """Add how pairs are matched, and whether they are drawn."""
    add = parser.add_argument
    add(
        "--target-psf", type=PositiveFloat, nargs=2, metavar=("FWHM", "BETA"), default=[1.0, 3.0],
        help="Moffat PSF to bring the target to, arcsec; that of the shipped weights by default",
    )  # fmt: skip
    add("--keep-psf", action="store_true", help="leave the PSF of the target as it is")
    add("--no-correct", action="store_true", help="leave the shift as the WCS have it")
    add("--no-sheet", action="store_true", help="draw no contact_sheet.png")


def make_matcher(options: Namespace) -> tuple[Callable[..., MatchedPair], dict[str, Any]]:
    """
    Set up the matching.

    Parameters
    ----------
    options : namespace
        Of `add_matching`.

    Returns
    -------
    match : callable
        `~splus_srgan.pairs.match.match_pair` with its settings.
    settings : dict
        These settings.
    """
    from splus_srgan.pairs.match import match_pair

    psf = None if options.keep_psf else tuple(options.target_psf)
    settings: dict[str, Any] = {"correct": not options.no_correct, "target_psf": psf}
    return partial(match_pair, **settings), settings


def draw_sheet(pairs: PairFolder, options: Namespace) -> None:
    """Draw the contact sheet of a folder of pairs, where it is wanted and can be drawn."""
    from splus_srgan.utils.optional import has

    if not options.no_sheet and has("matplotlib"):
        say(pairs.contact_sheet())


def check_free(paths: Iterable[Path], overwrite: bool, *, option: bool = True) -> None:
    """
    Refuse before any work what could not be written after it.

    Parameters
    ----------
    paths : iterable of `~pathlib.Path`
        Files to be.
    overwrite : bool
        Whether they may exist.
    option : bool, optional
        Whether the command has an option to replace them.

    Raises
    ------
    OSError
        If one exists and may not, or a folder cannot be there.
    """
    for path in paths:
        if path.is_symlink():  # one that leads nowhere does not exist, and yet is there
            check_target(path, overwrite=True)
        if path.exists() and not path.is_file():
            raise OSError(f"{path} is a folder, a pipe or a device; give the name of a file")
        if path.exists() and not overwrite:
            advice = "give --overwrite to replace it" if option else "choose another name"
            raise FileExistsError(f"{path} exists; {advice}")
        check_folder(path.parent)


def output_stem(paths: Sequence[FilePath]) -> str:
    """
    Name what a set of files has in common: the stem of the output's name.

    Parameters
    ----------
    paths : sequence of str or path-like
        Files of one field.

    Returns
    -------
    stem : str
        What their names start with alike, without separators at its end; their
        stems joined by ``_`` where they start differently.

    Examples
    --------
    >>> from splus_srgan.cli.common import output_stem
    >>> output_stem(["tiles/SPLUS-s23s18_G.fits", "tiles/SPLUS-s23s18_R.fits"])
    'SPLUS-s23s18'
    >>> output_stem(["G.fits.fz", "R.fits.fz", "Z.fits.fz"])
    'G_R_Z'
    """
    stems = [fits_stem(Path(path).name) for path in paths]
    # Alike by characters, not by path components, is what is wanted.
    return commonprefix(stems).rstrip("_-. ") or "_".join(stems)  # noqa: RUF071
