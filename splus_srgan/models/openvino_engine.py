# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Run a generator with OpenVINO on the CPU."""

from __future__ import annotations

import importlib
import math
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
from splus_srgan.utils.windows import SIDE_MULTIPLE, equal_parts, windows

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Literal

    from numpy.typing import NDArray

    from splus_srgan.models.generator import Generator
    from splus_srgan.utils.types import FloatArray

__all__ = ["OpenVINOEngine", "load_openvino"]

_MOST_SHAPES = 4  # whose compiled networks are kept, with memory for
_MOST_PIXELS = 2**19  # in all, if they are several
_HINTS = {"bfloat16": "bf16", "float32": "f32"}
_LINKS = {"widen": "x", "finish": "features"}  # what parts are given by the one before
_TELEMETRY = "openvino_telemetry"
_EXAMPLE = (16, 24)  # pixels; the traced network holds for any shape
_UPSCALING = 2
_STRIP = 2**14  # input pixels; what the layers after the trunk see at once stays in the cache
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
        self._compiled: dict[tuple[tuple[int, ...], int, int], list[Any]] = {}

    def pixels(self, *, whole: bool) -> int:
        """
        Input pixels that it may see at once: it takes 0.6 kB for each.

        Parameters
        ----------
        whole : bool
            Whether they are a whole image, beside which there is little else in memory.

        Returns
        -------
        pixels : int
            Number of pixels, the halo included.
        """
        number = 2**20 if whole else 3 * 2**17
        return number if self.precision == "bfloat16" else number // 2

    def __call__(self, y: FloatArray) -> NDArray[np.float32]:
        """Generate from one stretched image."""
        note_threads(True)
        y = np.ascontiguousarray(y, dtype=np.float32)[None]
        ny, nx = y.shape[2:]
        margin = self._generator.end_radius(self.with_scale)
        strips = equal_parts(ny, max(4 * margin, _STRIP // nx))
        seen = windows(strips, margin=margin, length=ny, multiple=SIDE_MULTIPLE)
        trunk, *ends = self._parts(y.shape, seen[0][1] - seen[0][0])
        tensor = load_openvino().Tensor
        request = trunk.create_infer_request()
        x = _infer(request, y=tensor(y))
        requests = [end.create_infer_request() for end in ends]
        n_planes = ends[-1].output(0).shape[1]
        fine = np.empty((n_planes, _UPSCALING * ny, _UPSCALING * nx), np.float32)
        for (first, last), (start, stop) in zip(strips, seen, strict=True):
            made = _rows(x, start, stop, axis=1 if requests[:-1] else 2)
            for one in requests[:-1]:
                made = _infer(one, x=made)
            rows = np.ascontiguousarray(y[:, :, start:stop])
            strip = _infer(requests[-1], y=tensor(rows), features=made).data[0]
            kept = slice(_UPSCALING * (first - start), _UPSCALING * (last - start))
            fine[:, _UPSCALING * first : _UPSCALING * last] = strip[:, kept]
        return fine

    def _parts(self, shape, rows):
        """Trunk for one shape of images, and what comes after it for strips of so many rows."""
        with self._lock:
            # The number of threads is a choice of the caller's, who may change it.
            key = shape, rows, torch.get_num_threads()
            if key in self._compiled:
                self._compiled[key] = self._compiled.pop(key)  # the last one used
            else:
                while len(self._compiled) >= _MOST_SHAPES or (
                    self._compiled and self._kept(shape) > _MOST_PIXELS
                ):
                    del self._compiled[next(iter(self._compiled))]
                self._compiled[key] = self._compile(*key)
            return self._compiled[key]

    def _kept(self, shape):
        """Pixels of images of all shapes that are kept, and of one more."""
        return sum(math.prod(one[2:]) for one in (shape, *(key[0] for key in self._compiled)))

    def _compile(self, shape, rows, threads):
        if self._models is None:
            # Here and not in the thread of the conversion, which this one waits for.
            with own_filters():
                # OpenVINO reads what newer versions of PyTorch deprecate.
                warnings.filterwarnings("ignore", r"`torch\.jit\.")
                self._models = _undisturbed(_convert, self._generator, self.with_scale)
        compiled = []
        for name, (model, channels) in self._models.items():
            own, inputs = model.clone(), {}
            sides = shape[2] if name == "trunk" else rows, shape[3]
            for port, number in channels.items():
                factor = self._generator.feature_factor if port == "features" else 1
                inputs[port] = [1, number, *(factor * side for side in sides)]
            own.reshape(inputs)
            precision = "float32" if name == "finish" else self.precision
            settings = {
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "INFERENCE_NUM_THREADS": threads,
                # Processes that are each bound to the first cores would share these alone.
                "ENABLE_CPU_PINNING": False,
            }
            if "widen" in self._models:
                own = _linked(own, name, self.precision)
            compiled.append(_core().compile_model(own, "CPU", settings))
        return compiled


def _linked(model, name, precision):
    """
    What one part gives to the next has its channels last, as convolutions compute them.

    Between the trunk and what widens it, it is bfloat16 besides, where that is computed so.
    """
    layout, bfloat16 = load_openvino().Layout, load_openvino().Type.bf16
    steps = importlib.import_module("openvino.preprocess").PrePostProcessor(model)
    links = [steps.input(_LINKS[name])] if name in _LINKS else []
    if name != "finish":
        links.append(steps.output())
    for link in links:
        link.tensor().set_layout(layout("NHWC"))
        link.model().set_layout(layout("NCHW"))
    if precision == "bfloat16" and name != "finish":
        (steps.output() if name == "trunk" else links[0]).tensor().set_element_type(bfloat16)
    return steps.build()


def _infer(request, **given):
    """Result of a request; tensors are not copied."""
    for name, tensor in given.items():
        request.set_tensor(name, tensor)
    request.infer()
    return request.get_output_tensor()


def _rows(tensor, start, stop, axis):
    """Rows of a tensor, as one of their own."""
    part = np.ascontiguousarray(tensor.data[(slice(None),) * axis + (slice(start, stop),)])
    return load_openvino().Tensor(part, load_openvino().Shape(part.shape), tensor.element_type)


class _Part(torch.nn.Module):
    """One of the methods of a generator as a module, which can be traced."""

    def __init__(self, generator, method):
        super().__init__()
        self.generator, self.method = generator, method

    def forward(self, *given):
        made = getattr(self.generator, self.method)(*given)
        return torch.cat(made, 1) if isinstance(made, tuple) else made


def _convert(generator, with_scale):
    """Parts of the generator, in their order, as models for any shape, with their channels."""
    openvino, models = load_openvino(), {}
    with torch.no_grad():
        y = torch.zeros(1, generator.in_channels, *_EXAMPLE, dtype=torch.float32, device="cpu")
        x = generator.trunk(y)
        parts = {"trunk": ("trunk", {"y": y})}
        if generator.feature_factor > 1:
            parts["widen"] = "widen", {"x": x}
        finish = "finish_with_scale" if with_scale else "finish"
        parts["finish"] = finish, {"y": y, "features": generator.widen(x)}
        for name, (method, given) in parts.items():
            example = tuple(given.values())
            # Its own check runs the network twice more, and is not safe in threads.
            traced = torch.jit.trace(_Part(generator, method).eval(), example, check_trace=False)
            model = openvino.convert_model(traced, example_input=example)
            for port, own in zip(model.inputs, given, strict=True):
                port.get_tensor().set_names({own})  # the converter may have others
            models[name] = model, {own: tensor.shape[1] for own, tensor in given.items()}
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
