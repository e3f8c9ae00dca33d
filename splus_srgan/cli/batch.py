# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Many fields, of ``splus-srgan enhance --batch``, here or on the workers of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from splus_srgan.cli.bar import progress
from splus_srgan.cli.cluster import client_of
from splus_srgan.cli.common import SOME_FAILED, UsageError
from splus_srgan.cli.output import say, tell
from splus_srgan.utils.files import FITS_ENDINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonargparse import Namespace

    from splus_srgan.enhance.enhancer import SRGANEnhancer

__all__ = ["check_batch", "run_batch"]


def run_batch(options: Namespace, make_enhancer: Callable[[], SRGANEnhancer]) -> int | None:
    """
    Enhance many fields, and say which failed.

    Parameters
    ----------
    options : namespace
        Of the command.
    make_enhancer : callable
        Makes the enhancer of these options.

    Returns
    -------
    status : int or None
        3 where some failed.
    """
    from splus_srgan.enhance.batch import SUMMARY, enhance_batch
    from splus_srgan.enhance.batch_list import list_fields

    fields = list_fields(options.batch, files=options.files)
    with client_of(options.scheduler) as client:
        summary = enhance_batch(
            make_enhancer(),
            fields,
            options.output,
            resume=options.resume,
            overwrite=options.overwrite,
            progress_bar=progress,
            client=client,
            bands=options.bands,
            hdu=options.hdu,
            unit=options.unit,
        )
    failed = summary[summary["status"] == "failed"]
    for row in failed:
        tell(f"{row['name']}: {row['reason']}", least=0)
    done = (summary["status"] == "done").sum()
    skipped = (summary["status"] == "skipped").sum()
    path = Path(options.output) / SUMMARY
    say(f"{path}: {done} done, {skipped} skipped, {len(failed)} failed")
    return SOME_FAILED if len(failed) else None


def check_batch(options: Namespace) -> None:
    """Refuse what does not go with many fields, before anything is read."""
    from splus_srgan.enhance.psf import PSF_MODES

    for name in ("sky", "sigma", "preview", "dry_run"):
        if getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} does not go with --batch")
    if options.format == "scubes":
        raise UsageError("--format scubes does not go with --batch")
    if len(options.psf) > 1 or options.psf[0] not in PSF_MODES:
        raise UsageError(f"--psf must be one of {', '.join(PSF_MODES)} with --batch")
    if options.output.lower().endswith(FITS_ENDINGS) and not Path(options.output).is_dir():
        raise UsageError(f"--output must be a folder with --batch; got {options.output}")
