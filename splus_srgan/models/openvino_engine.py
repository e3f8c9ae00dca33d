# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Run a generator with OpenVINO on the CPU."""

from __future__ import annotations

import importlib
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from splus_srgan.models.processes import note_threads
from splus_srgan.utils.quiet import own_filters

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Literal

    from numpy.typing import NDArray

    from splus_srgan.models.generator import Generator
    from splus_srgan.utils.types import FloatArray

__all__ = ["OpenVINOEngine", "load_openvino"]

_MOST_SHAPES = 4  # whose compiled networks are kept
_HINTS = {"bfloat16": "bf16", "float32": "f32"}
_TELEMETRY = "openvino_telemetry"
_EXAMPLE = (16, 24)  # pixels; the traced network holds for any shape
# Tracing is not safe in threads, and all of a process go through here.
_ONE_AT_A_TIME = threading.RLock()


class OpenVINOEngine:
    """
    Run a generator with OpenVINO on the CPU.

    The network is converted once, when it is first used, and compiled for each shape of image,
    which takes a moment and some hundred megabytes; the last four are kept.

    Parameters
    ----------
    generator : `~torch.nn.Module`
        Generator with its weights.
    precision : {"float32", "bfloat16"}
        Precision of the body; last layer, skip and low pass are always float32.
    with_scale : bool, optional
        Whether to give the scale of the errors too; the generator must have it.
    """

    name = "openvino"

    def __init__(
        self,
        generator: Generator,
        *,
        precision: Literal["float32", "bfloat16"],
        with_scale: bool = False,
    ) -> None:
        self.with_scale = with_scale
        self.device = torch.device("cpu")
        self.precision = precision
        self._generator = generator.eval()
        self._lock = threading.Lock()
        self._models = None
        self._compiled: dict[tuple[tuple[int, ...], int], list[Any]] = {}

    def __call__(self, y: FloatArray) -> NDArray[np.float32]:
        """Generate from one stretched image."""
        note_threads(True)
        y = np.ascontiguousarray(y, dtype=np.float32)[None]
        body, head = self._parts(y.shape)
        given = {"y": load_openvino().Tensor(y)}
        given["features"] = _infer(body, given).get_output_tensor()
        return np.array(_infer(head, given).get_output_tensor().data[0], dtype=np.float32)

    def _parts(self, shape):
        """Body and head of the generator, compiled for one input shape."""
        with self._lock:
            # The number of threads is a choice of the caller's, who may change it.
            key = shape, torch.get_num_threads()
            if key in self._compiled:
                self._compiled[key] = self._compiled.pop(key)  # the last one used
            else:
                while len(self._compiled) >= _MOST_SHAPES:
                    del self._compiled[next(iter(self._compiled))]
                self._compiled[key] = self._compile(*key)
            return self._compiled[key]

    def _compile(self, shape, threads):
        if self._models is None:
            # Here and not in the thread of the conversion, which this one waits for.
            with own_filters():
                # OpenVINO reads what newer versions of PyTorch deprecate.
                warnings.filterwarnings("ignore", r"`torch\.jit\.")
                self._models = _undisturbed(_convert, self._generator, self.with_scale)
        sides = [self._generator.feature_factor * n for n in shape[2:]]
        shapes = {"y": list(shape), "features": [1, self._generator.last.in_channels, *sides]}
        compiled = []
        for model, precision in zip(self._models, (self.precision, "float32"), strict=True):
            own = model.clone()
            own.reshape({port.any_name: shapes[port.any_name] for port in own.inputs})
            settings = {
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "INFERENCE_NUM_THREADS": threads,
            }
            compiled.append(_core().compile_model(own, "CPU", settings))
        return compiled


def _infer(compiled, given):
    """A request that was carried out; tensors by the names of the inputs are not copied."""
    request = compiled.create_infer_request()
    for port in compiled.inputs:
        request.set_tensor(port, given[port.any_name])
    request.infer()
    return request


class _Body(torch.nn.Module):
    """The part of a generator that may run in low precision."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def forward(self, y):
        return self.generator.features(y)


class _Head(torch.nn.Module):
    """The part that always runs in float32: last layer, skip, low pass and scale of the errors."""

    def __init__(self, generator, with_scale):
        super().__init__()
        self.generator, self.with_scale = generator, with_scale

    def forward(self, y, features):
        if not self.with_scale:
            return self.generator.finish(y, features)
        return torch.cat(self.generator.finish_with_scale(y, features), 1)


def _convert(generator, with_scale):
    """Body and head as models of OpenVINO, for images of any shape."""
    y = torch.zeros(1, generator.in_channels, *_EXAMPLE, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        features = generator.features(y)
    parts = (_Body(generator), (y,)), (_Head(generator, with_scale), (y, features))
    openvino, models = load_openvino(), []
    for part, example in parts:
        with torch.no_grad():
            # Its own check runs the network twice more, and is not safe in threads.
            traced = torch.jit.trace(part.eval(), example, check_trace=False)
            model = openvino.convert_model(traced, example_input=example)
        for port, name in zip(model.inputs, ("y", "features"), strict=False):
            port.get_tensor().set_names({name})  # the converter may have others
        models.append(model)
    return models


def _undisturbed(function, *arguments):
    """
    Call a function where no signal to the process can interrupt it.

    Python handles signals in the main thread: an exception from there, within what C++ calls,
    would abort the process.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="splus_srgan-convert")
    try:
        return pool.submit(_alone, function, *arguments).result()
    finally:
        pool.shutdown(wait=False)


def _alone(function, *arguments):
    with _ONE_AT_A_TIME:
        return function(*arguments)


@cache
def _core():
    """The one core of this process: dropped ones leave their signal stack behind."""
    return load_openvino().Core()


def load_openvino() -> ModuleType:
    """
    Import OpenVINO without its telemetry.

    With its telemetry package it reports its use to an analytics service, and writes below
    the home folder, as soon as it is imported.  Without the package it sends nothing, so the
    package is hidden from it.

    Returns
    -------
    openvino : module
        OpenVINO.
    """
    with _ONE_AT_A_TIME:
        tools = sys.modules.get("openvino.tools.ovc.telemetry_utils")
        stub = sys.modules.get("openvino.tools.ovc.telemetry_stub")
        if tools is None or stub is None or tools.tm is not stub:
            _silence()
        return sys.modules["openvino"]


def _silence():
    hidden = {name: sys.modules[name] for name in sys.modules if _is_telemetry(name)}
    for name in {_TELEMETRY, *hidden}:
        sys.modules[name] = None  # importing it fails, as where it is not installed
    try:
        importlib.import_module("openvino.tools.ovc")
        stub = importlib.import_module("openvino.tools.ovc.telemetry_stub")
    finally:
        del sys.modules[_TELEMETRY]
        sys.modules.update(hidden)
    # OpenVINO may have been imported before.
    for name, module in list(sys.modules.items()):
        if name.startswith("openvino.") and _is_telemetry(
            getattr(vars(module).get("tm"), "__name__", "")
        ):
            module.tm = stub


def _is_telemetry(name):
    return name == _TELEMETRY or name.startswith(f"{_TELEMETRY}.")
