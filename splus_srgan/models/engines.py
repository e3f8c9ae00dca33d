# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What runs a generator: torch, or OpenVINO where it is installed.

An engine is a callable from a stretched image ``(n_band, ny, nx)`` to the
generated one ``(n_band, 2 ny, 2 nx)``, both float32 `~numpy.ndarray`.  Nothing
else in the package touches a network.

An engine made with ``with_scale=True`` gives ``(2 n_band, 2 ny, 2 nx)``: after the
generated bands, for each the natural logarithm of the scale of its errors.
"""

import copy
import threading
import warnings
from functools import cache

import numpy as np
import torch
from torch.nn import functional

from splus_srgan.utils.optional import has
from splus_srgan.utils.validate import check_one_of

__all__ = [
    "PRECISIONS",
    "EnsembleEngine",
    "OpenVINOEngine",
    "TorchEngine",
    "TurnedEngine",
    "make_engine",
]

PRECISIONS = ("auto", "float32", "bfloat16")
"""Precisions of the generator's body that can be asked for."""

_ENGINES = ("auto", "torch", "openvino")
_MOST_SHAPES = 4  # for which OpenVINO keeps what it has compiled


class TorchEngine:
    """
    Run a generator with torch.

    Parameters
    ----------
    generator : `~torch.nn.Module`
        Generator with its weights.
    device : str
        Such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    precision : {"float32", "bfloat16"}
        Precision of the body; the last layer is always float32.
    with_scale : bool, optional
        Whether to give the scale of the errors too; the generator must have it.
    """

    name = "torch"

    def __init__(self, generator, *, device, precision, with_scale=False):
        self.with_scale = with_scale
        self.device = torch.device(device)
        self.precision = precision
        # float32 with channels last is three times slower on CPUs, bfloat16 twice faster.
        fast = precision == "bfloat16" or self.device.type == "cuda"
        self._format = torch.channels_last if fast else torch.contiguous_format
        generator = copy.deepcopy(generator).eval()
        if not fast:
            _keep_rounding(generator)
        self._generator = generator.to(self.device, memory_format=self._format)
        # Half of a GPU's float32 digits would be lost without a word.
        if self.device.type == "cuda" and precision == "float32":
            torch.backends.cudnn.allow_tf32 = False

    def __call__(self, y):
        """Generate from one stretched image."""
        tensor = torch.from_numpy(np.ascontiguousarray(y, dtype=np.float32))[None]
        tensor = tensor.to(self.device).contiguous(memory_format=self._format)
        bfloat16 = self.precision == "bfloat16"
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bfloat16),
        ):
            if self.with_scale:
                fine = torch.cat(self._generator.forward_with_scale(tensor), 1)
            else:
                fine = self._generator(tensor)
            return fine[0].contiguous().cpu().numpy()


def _keep_rounding(generator):
    """
    Make blocks agree with the whole image to the last bit, in float32 on the CPU.

    oneDNN sums in an order that depends on the width of the image where a layer has few
    input channels or reads pixels far apart, and not elsewhere; so such layers are computed
    as layers of many channels and of adjacent pixels, with the same result.
    """
    generator.first[0] = _ManyChannels(generator.first[0])
    if generator.scale is not None:
        generator.scale.of_generated = _ManyChannels(generator.scale.of_generated)
        generator.scale.wide = _Phases(generator.scale.wide)
    for block in generator.blocks:
        for name, layer in block.body.named_children():
            if max(getattr(layer, "dilation", (1,))) > 1:
                setattr(block.body, name, _Phases(layer))


class _ManyChannels(torch.nn.Module):
    """A convolution with as many input channels as it has output channels; the added are 0."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.added = max(0, layer.out_channels - layer.in_channels)
        pad = (0, 0, 0, 0, 0, self.added)
        layer.weight = torch.nn.Parameter(functional.pad(layer.weight.detach(), pad))

    def forward(self, x):
        return self.layer(functional.pad(x, (0, 0, 0, 0, 0, self.added)))


class _Phases(torch.nn.Module):
    """A convolution of pixels ``d`` apart: every d-th pixel in each axis is an image by itself."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.step = layer, layer.dilation[0]
        self.padding = tuple(n // self.step for n in layer.padding)

    def forward(self, x):
        n, channels, ny, nx = x.shape
        d, rows, columns = self.step, -(-ny // self.step), -(-nx // self.step)
        x = functional.pad(x, (0, columns * d - nx, 0, rows * d - ny))
        x = x.reshape(n, channels, rows, d, columns, d).permute(0, 3, 5, 1, 2, 4)
        x = functional.conv2d(
            x.reshape(n * d * d, channels, rows, columns),
            self.layer.weight,
            self.layer.bias,
            padding=self.padding,
        )
        x = x.reshape(n, d, d, -1, rows, columns).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(n, -1, rows * d, columns * d)[..., :ny, :nx].contiguous()


class OpenVINOEngine:
    """
    Run a generator with OpenVINO on the CPU.

    The network is compiled for each shape of image, which costs about a second and some
    hundred megabytes; the last four are kept.

    Parameters
    ----------
    generator : `~torch.nn.Module`
        Generator with its weights.
    precision : {"float32", "bfloat16"}
        Precision of the body; the last layer runs in torch, in float32.
    with_scale : bool, optional
        Whether to give the scale of the errors too; the generator must have it.
    """

    name = "openvino"

    def __init__(self, generator, *, precision, with_scale=False):
        self.with_scale = with_scale
        self.device = torch.device("cpu")
        self.precision = precision
        self._generator = generator.eval()
        self._lock = threading.Lock()
        self._compiled = {}

    def _features(self, shape):
        """The body compiled for one input shape."""
        import openvino

        with self._lock:
            if shape in self._compiled:
                self._compiled[shape] = self._compiled.pop(shape)  # the last one used
            else:
                while len(self._compiled) >= _MOST_SHAPES:
                    del self._compiled[next(iter(self._compiled))]
                body = _Features(self._generator)
                example = torch.zeros(shape)
                with warnings.catch_warnings():
                    # OpenVINO traces with what newer versions of PyTorch deprecate.
                    warnings.filterwarnings("ignore", r"`torch\.jit\.")
                    model = openvino.convert_model(body, example_input=example, input=[shape])
                hint = {"bfloat16": "bf16", "float32": "f32"}[self.precision]
                settings = {
                    "INFERENCE_PRECISION_HINT": hint,
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                }
                self._compiled[shape] = openvino.Core().compile_model(model, "CPU", settings)
            return self._compiled[shape]

    def __call__(self, y):
        """Generate from one stretched image."""
        y = np.ascontiguousarray(y, dtype=np.float32)[None]
        request = self._features(y.shape).create_infer_request()
        features = torch.from_numpy(np.asarray(request.infer([y])[0], dtype=np.float32))
        with torch.inference_mode():
            fine = self._generator.finish(torch.from_numpy(y), features)
            if self.with_scale:
                fine = torch.cat((fine, self._generator.log_scale(features, fine)), 1)
            return fine[0].numpy()


class TurnedEngine:
    r"""
    Mean of what an engine makes of an image and of the image turned by 180 degrees.

    Whatever shift of sources training left in a generator cancels exactly.  Scales
    :math:`s_1, s_2` of the errors become that of an even mixture,
    :math:`s^2 = (s_1^2 + s_2^2) / 2 + (y_1 - y_2)^2 / 4`.

    Parameters
    ----------
    engine : callable
        `TorchEngine` or `OpenVINOEngine`.
    """

    def __init__(self, engine):
        self.engine, self.with_scale = engine, getattr(engine, "with_scale", False)
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision

    def __call__(self, y):
        """Generate from one stretched image."""
        straight = self.engine(y)
        turned = self.engine(y[:, ::-1, ::-1].copy())[:, ::-1, ::-1]
        n_band = len(y)
        result = np.float32(0.5) * (straight + turned)
        if self.with_scale:
            half = np.float32(0.5) * (straight[:n_band] - turned[:n_band])
            power = 0.5 * (np.exp(2 * straight[n_band:]) + np.exp(2 * turned[n_band:])) + half**2
            result[n_band:] = 0.5 * np.log(power)
        return result


class EnsembleEngine:
    """
    What an engine makes of an image, and how that differs between the symmetries of a square.

    A generator has no reason to treat an image and its mirror image alike: how much it
    does not is a measure of its errors.

    Parameters
    ----------
    engine : callable
        `TorchEngine` or `OpenVINOEngine`, without the scale.
    turned : bool
        Whether the image is the mean of two, as in `TurnedEngine`; what is given does not
        depend on the other six.
    """

    with_scale = True

    def __init__(self, engine, *, turned):
        self.engine, self.turned = engine, turned
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision

    def __call__(self, y):
        """Generate, and give the logarithm of the standard deviation of the eight results."""
        # The first two of them are those of `TurnedEngine`.
        results = [_undo(self.engine(_turn(y, *how)), *how) for how in _SYMMETRIES]
        image = results[0]
        if self.turned:
            image = np.float32(0.5) * (results[0] + results[1])
        spread = np.maximum(np.std(results, axis=0), _SMALLEST_SPREAD)
        return np.concatenate((image, np.log(spread))).astype(np.float32)


_SYMMETRIES = tuple((turns, flip) for flip in (False, True) for turns in (0, 2, 1, 3))
_SMALLEST_SPREAD = np.float32(1e-6)  # rounding; a logarithm needs something


def _turn(y, turns, flip):
    y = np.rot90(y, turns, axes=(1, 2))
    return np.ascontiguousarray(y[:, :, ::-1] if flip else y)


def _undo(y, turns, flip):
    y = y[:, :, ::-1] if flip else y
    return np.rot90(y, -turns, axes=(1, 2))


class _Features(torch.nn.Module):
    """The part of a generator that an engine may run in low precision."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def forward(self, y):
        return self.generator.features(y)


@cache
def _cpu_has_bfloat16():
    """Whether the CPU multiplies bfloat16 in hardware; emulation would be slower than float32."""
    if hasattr(torch.cpu, "_is_avx512_bf16_supported"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def resolve_device(device):
    """The device to use: CUDA where it is, else the CPU, for ``"auto"``."""
    if device != "auto":
        try:
            return str(torch.device(device))
        except RuntimeError as error:
            raise ValueError(
                f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N'; got {device!r}"
            ) from error
    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_precision(precision, device):
    """bfloat16 where the hardware has it, else float32, for ``"auto"``."""
    check_one_of("precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if _cpu_has_bfloat16() else "float32"


def make_engine(generator, *, device="auto", precision="auto", engine="auto", with_scale=False):
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
        ``"auto"`` takes OpenVINO for bfloat16 on the CPU, where it is installed.
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
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"device {device!r} was asked for, but torch finds no CUDA here; use 'cpu'"
        )
    if engine == "auto":
        suits = device == "cpu" and precision == "bfloat16" and has("openvino")
        engine = "openvino" if suits else "torch"
    if engine == "openvino":
        if device != "cpu":
            raise ValueError(f"engine 'openvino' runs on the CPU only; got device={device!r}")
        return OpenVINOEngine(generator, precision=precision, with_scale=with_scale)
    return TorchEngine(generator, device=device, precision=precision, with_scale=with_scale)


def is_out_of_memory(error):
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # What torch says of the CPU's memory on Windows, and elsewhere.
    said = ("not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in said)
