# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What runs a generator: torch, or OpenVINO where it is installed.

An engine is a callable from a stretched image ``(n_band, ny, nx)`` to the
generated one ``(n_band, 2 ny, 2 nx)``, both float32 `~numpy.ndarray`.  Nothing
else in the package touches a network.

An engine made with ``with_scale=True`` gives ``(2 n_band, 2 ny, 2 nx)``: after the
generated bands, for each the natural logarithm of the scale of its errors.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

import torch

from splus_srgan.models.openvino_engine import OpenVINOEngine
from splus_srgan.models.torch_engine import TorchEngine
from splus_srgan.utils.optional import has
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from typing import Literal

    from splus_srgan.models.generator import Generator

__all__ = ["PRECISIONS", "is_out_of_memory", "make_engine"]

PRECISIONS = ("auto", "float32", "bfloat16")
"""Precisions of the generator's body that can be asked for."""

_ENGINES = ("auto", "torch", "openvino")
_DOCSTRINGS = sys.flags.optimize < 2  # OpenVINO's converter parses its own


@cache
def _cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; emulation would be slower than float32."""
    if hasattr(torch.cpu, "_is_avx512_bf16_supported"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def resolve_device(device: str) -> str:
    """
    Return the device to use: CUDA where it is, else the CPU, for ``"auto"``.

    Raises `ValueError` for one that torch does not know, or does not find here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N'; got {device!r}"
        ) from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device must be one of this machine, and torch finds no CUDA here; got {device!r}; "
            "use 'cpu'"
        )
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device must be one of the {torch.cuda.device_count()} that torch finds here, "
            f"counted from cuda:0; got {device!r}"
        )
    return str(found)


def resolve_precision(
    precision: Literal["auto", "float32", "bfloat16"], device: str
) -> Literal["float32", "bfloat16"]:
    """bfloat16 where the hardware has it, else float32, for ``"auto"``."""
    check_one_of("precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if _cpu_has_bfloat16() else "float32"


def make_engine(
    generator: Generator,
    *,
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    engine: Literal["auto", "torch", "openvino"] = "auto",
    with_scale: bool = False,
) -> TorchEngine | OpenVINOEngine:
    """
    Choose what runs a generator.

    Parameters
    ----------
    generator : `~torch.nn.Module`
        Generator with its weights.
    device : str, optional
        ``"auto"`` takes CUDA where it is.
    precision : {"auto", "float32", "bfloat16"}, optional
        ``"auto"`` takes bfloat16 where the hardware has it.
    engine : {"auto", "torch", "openvino"}, optional
        ``"auto"`` takes OpenVINO for bfloat16 on the CPU, where it is installed, unless Python
        runs without docstrings (``-OO``), which it needs.
    with_scale : bool, optional
        Whether to give the scale of the errors too; the generator must have it.

    Returns
    -------
    engine : callable
        `TorchEngine` or `OpenVINOEngine`.

    Raises
    ------
    ValueError
        If an option is unknown, or the device does not exist.
    """
    check_one_of("engine", engine, _ENGINES)
    device = resolve_device(device)
    precision = resolve_precision(precision, device)
    if engine == "auto":
        suits = device == "cpu" and precision == "bfloat16" and has("openvino")
        engine = "openvino" if suits and _DOCSTRINGS else "torch"
    if engine == "openvino":
        if not _DOCSTRINGS:
            raise ValueError("engine 'openvino' reads docstrings, which 'python -OO' leaves out")
        if device != "cpu":
            raise ValueError(f"engine 'openvino' runs on the CPU only; got device={device!r}")
        return OpenVINOEngine(generator, precision=precision, with_scale=with_scale)
    return TorchEngine(generator, device=device, precision=precision, with_scale=with_scale)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # Messages about the CPU's memory: torch's on Windows, torch's elsewhere, and OpenVINO's.
    said = ("not enough memory", "can't allocate memory", "bad_alloc")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in said)
