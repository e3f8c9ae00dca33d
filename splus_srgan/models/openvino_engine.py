# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Run a generator with OpenVINO on the CPU."""

from __future__ import annotations

import importlib
import math
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
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
_TELEMETRY = "openvino_telemetry"
_EXCHANGED = ("before ", "share ")  # parts around the exchanges of a field's bands
_NARROW = ("x", "shared")  # what parts on the grid of the input give each other
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
        self._compiled: dict[tuple[tuple[int, ...], int, int], dict[str, Any]] = {}

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

    @property
    def exchanges(self) -> bool:
        """Whether bands of a field see each other, so that they have to be given together."""
        return bool(getattr(self._generator, "exchanges", ()))

    @property
    def band_pixels(self) -> int:
        """Input pixels, of all bands, that a joint generator may see at once: 1 GB."""
        return 3 * 2**20

    def __call__(self, y: FloatArray) -> NDArray[np.float32]:
        """Generate from one stretched image, or from the planes of each band of a field."""
        note_threads(True)
        y = np.ascontiguousarray(y, dtype=np.float32)
        images = y if y.ndim == 4 else y[None]
        ny, nx = images.shape[2:]
        margin = self._generator.end_radius(self.with_scale)
        strips = equal_parts(ny, max(4 * margin, _STRIP // nx))
        seen = windows(strips, margin=margin, length=ny, multiple=SIDE_MULTIPLE)
        parts = self._parts((1, *images.shape[1:]), seen[0][1] - seen[0][0])
        requests = {
            name: part.create_infer_request()
            for name, part in parts.items()
            if not name.startswith(_EXCHANGED)
        }
        n_planes = parts["finish"].output(0).shape[1]
        fine = np.empty((len(images), n_planes, _UPSCALING * ny, _UPSCALING * nx), np.float32)
        trunks = _exchanged if "after" in parts else _trunks
        for image, made, x in zip(images, fine, trunks(parts, requests, images), strict=True):
            _finish(requests, image[None], x, made, strips, seen)
        return fine if y.ndim == 4 else fine[0]

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
        compiled = {}
        for name, (model, channels, gives) in self._models.items():
            own, inputs = model.clone(), {}
            sides = rows if name in ("widen", "finish") else shape[2], shape[3]
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
            own = _linked(own, channels, gives, self.precision)
            compiled[name] = _core().compile_model(own, "CPU", settings)
        return compiled


def _linked(model, takes, gives, precision):
    """
    What one part gives to the next has its channels last, as convolutions compute them.

    On the grid of the input it is bfloat16 besides, where that is computed so.
    """
    layout, bfloat16 = load_openvino().Layout, load_openvino().Type.bf16
    steps = importlib.import_module("openvino.preprocess").PrePostProcessor(model)
    links = [(name, steps.input(name)) for name in takes if name != "y"]
    links += [(name, steps.output(number)) for number, name in enumerate(gives)]
    for name, link in links:
        link.tensor().set_layout(layout("NHWC"))
        link.model().set_layout(layout("NCHW"))
        if precision == "bfloat16" and name in _NARROW:
            link.tensor().set_element_type(bfloat16)
    return steps.build()


def _trunks(parts, requests, images):
    """What the trunk gives for each image."""
    for image in images:
        yield _infer(requests["trunk"], y=_tensor(image[None]))[0]


def _exchanged(parts, requests, images):
    """What the trunk gives for each band of a field, which see each other on the way."""
    number, each, shared = 0, [{"y": _tensor(image[None])} for image in images], {}
    while f"share {number}" in parts:
        shared = _share(parts, number, each, shared)
        for name in _EXCHANGED:
            _forget(parts[f"{name}{number}"])
        number += 1
    for k, image in enumerate(images):
        yield _infer(requests["after"], y=_tensor(image[None]), **each[k], **shared)[0]
        each[k] = {}


def _share(parts, number, each, shared):
    """One exchange: what it gives to all bands, whose features take the place of what was."""
    before, sums = parts[f"before {number}"].create_infer_request(), []
    for k, given in enumerate(each):
        x, *made = _infer(before, **given, **shared)
        each[k] = {"x": _rows(x, 0, None)}
        if not sums:
            sums = [one.data.copy() for one in made]
            continue
        for total, one in zip(sums, made, strict=True):
            total += one.data
    weighted, weight = map(_tensor, sums)
    share = parts[f"share {number}"].create_infer_request()
    return {"shared": _rows(_infer(share, weighted=weighted, weight=weight)[0], 0, None)}


def _forget(part):
    """Give back what a part keeps for the next time: all parts together would be much."""
    with suppress(RuntimeError):  # in use by another thread
        part.release_memory()


def _finish(requests, y, x, fine, strips, seen):
    """Everything after the trunk, strip by strip."""
    for (first, last), (start, stop) in zip(strips, seen, strict=True):
        features = _rows(x, start, stop)
        if "widen" in requests:
            features = _infer(requests["widen"], x=features)[0]
        rows = _tensor(y[:, :, start:stop])
        strip = _infer(requests["finish"], y=rows, features=features)[0].data[0]
        kept = slice(_UPSCALING * (first - start), _UPSCALING * (last - start))
        fine[:, _UPSCALING * first : _UPSCALING * last] = strip[:, kept]


def _infer(request, **given):
    """Results of a request, which the next one overwrites; tensors are not copied."""
    for name, tensor in given.items():
        request.set_tensor(name, tensor)
    request.infer()
    return request.output_tensors


def _tensor(array):
    return load_openvino().Tensor(np.ascontiguousarray(array, dtype=np.float32))


def _rows(tensor, start, stop):
    """Rows of a tensor whose channels are last, as one of their own."""
    part = tensor.data[:, start:stop].copy()
    return load_openvino().Tensor(part, load_openvino().Shape(part.shape), tensor.element_type)


class _Part(torch.nn.Module):
    """Something that a generator does as a module, which can be traced."""

    def __init__(self, generator, function):
        super().__init__()
        self.generator, self.function = generator, function

    def forward(self, *given):
        return self.function(*given)


def _convert(generator, with_scale):
    """Parts of the generator, in their order, as models for any shape, with their channels."""
    openvino, models = load_openvino(), {}
    with torch.no_grad():
        for name, function, given, gives in _traceable(generator, with_scale):
            example = tuple(given.values())
            # Its own check runs the network twice more, and is not safe in threads.
            part = _Part(generator, function).eval()
            traced = torch.jit.trace(part, example, check_trace=False)
            model = openvino.convert_model(traced, example_input=example)
            for port, own in zip(model.inputs, given, strict=True):
                port.get_tensor().set_names({own})  # the converter may have others
            channels = {own: tensor.shape[1] for own, tensor in given.items()}
            models[name] = model, channels, gives
    return models


def _traceable(generator, with_scale):
    """Name and function of each part, an example of what it takes, and names of what it gives."""
    y = torch.zeros(1, generator.in_channels, *_EXAMPLE, dtype=torch.float32, device="cpu")
    wider, given = generator.feature_factor > 1, {"y": y}
    end = ("x",) if wider else ("features",)
    if not getattr(generator, "exchanges", ()):
        yield "trunk", generator.trunk, given, end
        x = generator.trunk(y)
    else:
        for k, exchange in enumerate(generator.exchanges.values()):
            before = partial(generator.before_exchange, k)
            yield f"before {k}", before, given, ("x", "weighted", "weight")
            x, *sums = before(*given.values())
            sums = dict(zip(("weighted", "weight"), sums, strict=True))
            yield f"share {k}", exchange.share, sums, ("shared",)
            given = {"x": x, "shared": exchange.share(**sums)}
        given = {"y": y, **given}
        yield "after", generator.after_exchanges, given, end
        x = generator.after_exchanges(*given.values())
    if wider:
        yield "widen", generator.widen, {"x": x}, ("features",)
    ended = {"y": y, "features": generator.widen(x)}
    if with_scale:
        yield "finish", lambda *given: torch.cat(generator.finish_with_scale(*given), 1), ended, ()
    else:
        yield "finish", generator.finish, ended, ()


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
