# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What can be told of options before anything is read: wrong ones are a wrong command line."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from splus_srgan.cli.common import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = [
    "as_usage",
    "check_address",
    "check_anchor",
    "check_bands",
    "check_engine",
    "check_hdu",
    "check_target_psf",
    "check_unit",
    "check_weights",
]


@contextmanager
def as_usage() -> Iterator[None]:
    """Make of what refuses a value a wrong command line, with the same words."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error


def check_bands(names: Sequence[str] | None, option: str = "--bands") -> None:
    """Refuse names of bands that are empty, or mean the same; `None` is none."""
    if names is None:
        return
    from splus_srgan.images.bands import check_distinct

    if not all(name.strip() for name in names):
        raise UsageError(f"{option} must be names of bands; got an empty one")
    try:
        check_distinct(names)
    except ValueError:
        raise UsageError(f"{option} must name each band once; got {' '.join(names)}") from None


def check_unit(text: str | None) -> None:
    """Refuse what is no unit of an image; `None` is none."""
    if text is None:
        return
    from splus_srgan.images.units import flux_per_pixel_factor, parse_unit

    with as_usage():
        flux_per_pixel_factor(parse_unit(text))


def check_anchor(strength: float | None) -> None:
    """Refuse what is no strength of the flux anchor; `None` is that of the weights."""
    if strength is None:
        return
    from splus_srgan.enhance.flux_anchor import check_strength

    with as_usage():
        check_strength(strength)


def check_hdu(hdu: int | str | None) -> None:
    """Refuse what can be no HDU of any file; `None` is none."""
    known = hdu is None or (hdu >= 0 if isinstance(hdu, int) else _NAME.fullmatch(hdu))
    if not known:
        raise UsageError(
            "--hdu must be a number from 0 on, EXTNAME, or EXTNAME,EXTVER with a number after "
            f"the comma; got {hdu}"
        )


_NAME = re.compile(r"[^,]*[^,\s][^,]*(,\s*\d+\s*)?")


def check_address(option: str, text: str | None) -> None:
    """Refuse what is no address of a service; `None` is that of the package."""
    if text is not None and not re.match(r"https?://[^/\s]", text):
        raise UsageError(f"{option} must begin with http:// or https://; got {text!r}")


def check_weights(name: str, *, auto: bool = True) -> None:
    """Refuse the name of weights that are not there."""
    from splus_srgan.models.weights import find_card

    if not (auto and name == "auto"):
        with as_usage():
            find_card(name, auto=auto)


def check_engine(
    options: Any,
    uncertainty: bool | str = False,
    bands: Sequence[str] | None = None,
    *,
    here: bool = True,
) -> None:
    """
    Look at weights and device before anything is read.

    Parameters
    ----------
    options : namespace
        Of `~splus_srgan.cli.common.add_engine`.
    uncertainty : bool or str, optional
        What the weights have to be able to predict.
    bands : sequence of str, optional
        Bands that they have to be for, where these are known.
    here : bool, optional
        Whether this machine does the work, and has to have the device.

    Raises
    ------
    UsageError
        If one of them is unknown, or they do not go with each other.
    OSError, ValueError
        If the weights are there, but damaged.
    """
    from splus_srgan.enhance.options import check_device, check_head

    with as_usage():
        check_device(options.device)
    check_weights(options.weights)
    if options.weights != "auto":
        from splus_srgan.models.choice import choose_cards
        from splus_srgan.models.weights import verify

        card = verify(options.weights)
        with as_usage():
            check_head(card, uncertainty)
            if bands:
                choose_cards(card, bands)
    if here and options.device.startswith("cuda"):
        from splus_srgan.models.engines import resolve_device

        with as_usage():
            resolve_device(options.device)


def check_target_psf(options: Any) -> None:
    """Refuse the PSF of `~splus_srgan.cli.common.add_matching` if it is none."""
    from splus_srgan.pairs import match

    if not options.keep_psf:
        with as_usage():
            match.check_target_psf(tuple(options.target_psf))
