# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Checks of the enhancer's options, which need no torch, so that mistakes show at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from splus_srgan.enhance.tiles import MIN_BLOCK
from splus_srgan.enhance.uncertainty import MODES
from splus_srgan.utils.validate import check_integer, check_one_of

if TYPE_CHECKING:
    from typing import Any, Literal

    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.utils.types import ProgressBar

__all__ = ["check_device", "check_head", "check_options", "check_uncertainty"]


def check_options(
    device: Any,
    precision: str,
    engine: str,
    block_size: Any,
    turned: bool | None,
    progress_bar: ProgressBar | None,
) -> None:
    """
    Refuse wrong options of an enhancer; the engine checks the hardware.

    Parameters
    ----------
    device, precision, engine, block_size, turned, progress_bar
        As `~splus_srgan.enhance.enhancer.SRGANEnhancer` takes them.

    Raises
    ------
    TypeError, ValueError
        If one is wrong.
    """
    if block_size != "auto":
        check_integer("block_size", block_size, minimum=MIN_BLOCK)
    if not (turned is None or isinstance(turned, bool)):
        raise TypeError(f"turned must be True, False or None; got {turned!r}")
    if progress_bar is not None and not callable(progress_bar):
        raise TypeError(f"progress_bar must be callable or None; got {progress_bar!r}")
    check_one_of("precision", precision, ("auto", "float32", "bfloat16"))
    check_one_of("engine", engine, ("auto", "torch", "openvino"))
    check_device(device)


def check_device(device: Any) -> None:
    """Refuse what is no name of a device; whether the machine has it, the engine checks."""
    if not isinstance(device, str) and not hasattr(device, "type"):
        raise TypeError(f"device must be a string such as 'cpu' or 'cuda:0'; got {device!r}")
    # Names as torch has them; it is not imported for this.
    if not re.fullmatch(r"auto|(cpu|cuda|mps|xpu)(:\d+)?", str(device)):
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N'; got {device!r}")


def check_uncertainty(value: bool | Literal["ensemble"]) -> bool | Literal["ensemble"]:
    """Return the requested mode, if it is among `MODES`."""
    # 1 equals True, but nobody means True by it.
    if not (isinstance(value, bool | str) and value in MODES):
        raise ValueError(f"uncertainty must be one of False, True, 'ensemble'; got {value!r}")
    return value


def check_head(card: WeightsCard, uncertainty: bool | str) -> None:
    """Raise `ValueError` if the generator of a model card lacks the head that is asked for."""
    if uncertainty is True and not card.scale:
        raise ValueError(
            f"uncertainty=True needs weights that predict it, and {card.name!r} do not: take "
            "uncertainty='ensemble', or train a head for them (splus-srgan calibrate)"
        )
