# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Engines: torch in both precisions, OpenVINO, and the choice between them."""

import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.enhance import runner as _runner
from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.models import engines
from splus_srgan.models.engines import (
    is_out_of_memory,
    make_engine,
    resolve_device,
    resolve_precision,
)
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.symmetries import TurnedEngine
from splus_srgan.models.torch_engine import TorchEngine
from splus_srgan.models.weights import load_card, load_generator


@pytest.fixture(scope="module", params=[1, 3])
def generator(request):
    torch.manual_seed(1)
    generator = SRResNet(request.param, n_features=16, n_blocks=2).eval()
    torch.nn.init.normal_(generator.last.weight, std=0.05)
    return generator


@pytest.fixture(scope="module")
def image(generator):
    rng = np.random.default_rng(0)
    return rng.normal(size=(generator.options["n_bands"], 24, 31)).astype(np.float32)


def plain(generator, image):
    """The generator as everybody would run it."""
    with torch.inference_mode():
        return generator(torch.from_numpy(image)[None])[0].numpy()


def test_torch_float32_is_the_generator(generator, image):
    engine = TorchEngine(generator, device="cpu", precision="float32")
    result = engine(image)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    assert_allclose(result, plain(generator, image), rtol=0, atol=1e-5)


def test_bfloat16_is_close_to_float32(generator, image):
    """The skip stays float32, so only the correction is rounded, to 1 % of itself."""
    wide = TorchEngine(generator, device="cpu", precision="float32")(image)
    narrow = TorchEngine(generator, device="cpu", precision="bfloat16")(image)
    assert narrow.dtype == np.float32
    with torch.inference_mode():
        skip = torch.nn.functional.interpolate(
            torch.from_numpy(image)[None], scale_factor=2, mode="bicubic", align_corners=False
        )[0].numpy()
    correction = np.abs(wide - skip).max()
    assert correction > 0
    assert_allclose(narrow, wide, rtol=0, atol=0.02 * correction)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_bands_keep_their_places(generator, image, precision):
    """What is put into one band comes out of it."""
    engine = TorchEngine(generator, device="cpu", precision=precision)
    for band in range(len(image)):
        alone = np.zeros_like(image)
        alone[band] = 100.0
        means = engine(alone).mean(axis=(1, 2))
        assert np.argmax(means) == band


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_engines_take_any_memory_layout(generator, image, precision):
    engine = TorchEngine(generator, device="cpu", precision=precision)
    strided = np.asfortranarray(image)
    flipped = np.ascontiguousarray(image[:, ::-1])[:, ::-1]
    assert_array_equal(engine(strided), engine(image))
    assert_array_equal(engine(flipped), engine(image))
    assert_array_equal(engine(image.astype(">f4")), engine(image))


def test_engine_leaves_the_generator_alone(generator, image):
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    for precision in ("float32", "bfloat16"):
        TorchEngine(generator, device="cpu", precision=precision)(image)
    after = generator.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_engine_is_thread_safe(generator, image):
    engine = TorchEngine(generator, device="cpu", precision="float32")
    images = [image + k for k in range(4)]
    serial = [engine(one) for one in images]
    results = [None] * len(images)

    def work(k):
        results[k] = engine(images[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, expected in zip(results, serial, strict=True):
        assert_array_equal(result, expected)


# The choice


def test_engine_can_be_asked_for(generator):
    engine = make_engine(generator, device="cpu", precision="float32", engine="torch")
    assert isinstance(engine, TorchEngine)
    assert (engine.name, engine.precision, str(engine.device)) == ("torch", "float32", "cpu")


def test_openvino_is_taken_for_bfloat16_where_it_is(generator, monkeypatch):
    monkeypatch.setattr(engines, "has", lambda module: module == "openvino")
    assert make_engine(generator, device="cpu", precision="bfloat16").name == "openvino"
    assert make_engine(generator, device="cpu", precision="float32").name == "torch"
    monkeypatch.setattr(engines, "has", lambda module: False)
    assert make_engine(generator, device="cpu", precision="bfloat16").name == "torch"


def test_auto_takes_what_the_machine_has(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(ValueError, match=r"one of the 2 that torch finds here.*got 'cuda:2'"):
        resolve_device("cuda:2")
    assert resolve_device(torch.device("cpu")) == "cpu"
    monkeypatch.setattr(engines, "_cpu_has_bfloat16", lambda: True)
    assert resolve_precision("auto", "cpu") == "bfloat16"
    monkeypatch.setattr(engines, "_cpu_has_bfloat16", lambda: False)
    assert resolve_precision("auto", "cpu") == "float32"
    assert resolve_precision("bfloat16", "cpu") == "bfloat16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onnx"}, "engine must be one of 'auto', 'torch', 'openvino'; got 'onnx'"),
        (
            {"precision": "float16"},
            "precision must be one of 'auto', 'float32', 'bfloat16'; got 'float16'",
        ),
        ({"device": "toaster"}, "device must be 'auto', 'cpu', 'cuda' or 'cuda:N'; got 'toaster'"),
    ],
)
def test_wrong_options_are_named(generator, options, message):
    with pytest.raises(ValueError, match=message):
        make_engine(generator, **options)


def test_cuda_that_is_not_there_is_refused(generator, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch finds no CUDA here; got 'cuda'; use 'cpu'"):
        make_engine(generator, device="cuda", precision="float32")


def test_openvino_runs_on_the_cpu_only(generator, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="engine 'openvino' runs on the CPU only; got device="):
        make_engine(generator, device="cuda", precision="float32", engine="openvino")


# Out of memory


def test_openvino_is_not_taken_where_docstrings_are_left_out(monkeypatch):
    """Its converter parses its own; the slow test of ``python -OO`` sees the rest."""
    monkeypatch.setattr(engines, "_DOCSTRINGS", False)
    monkeypatch.setattr(engines, "has", lambda name: True)
    generator = SRResNet(1, n_features=4, n_blocks=1)
    engine = make_engine(generator, device="cpu", precision="bfloat16")
    assert engine.name == "torch"
    with pytest.raises(ValueError, match="reads docstrings, which 'python -OO' leaves out"):
        make_engine(generator, device="cpu", engine="openvino")


def test_out_of_memory_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**52, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("not enough memory"))


def runner_of(engine):
    """The enhancer's runner with an engine of our own."""
    runner = object.__new__(_runner.Runner)
    runner.engine, runner.radius = engine, 2
    return runner


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_smaller_blocks_are_tried_when_memory_runs_out(error):
    sizes = []

    def engine(image):
        sizes.append(image.shape[1:])
        if image.shape[1] > 40:
            raise error
        return image.repeat(2, axis=1).repeat(2, axis=2)

    image = np.random.default_rng(0).normal(size=(1, 128, 128)).astype(np.float32)
    runner = runner_of(engine)
    with pytest.warns(SplusSrganWarning, match="memory ran out with blocks of 128 pixels") as told:
        result = runner.generate(image, block_size=128, bar=None)
    assert len(told) == 1
    assert_array_equal(result, image.repeat(2, axis=1).repeat(2, axis=2))
    assert sizes[0] == (128, 128)
    assert max(sizes[-1]) <= 40
    # Said once, and remembered.
    sizes.clear()
    runner.generate(image, block_size=128, bar=None)
    assert max(max(size) for size in sizes) <= 40


def test_memory_error_is_raised_where_small_blocks_do_not_help():
    def engine(image):
        raise MemoryError("none left")

    with pytest.raises(MemoryError, match=r"\(none left\) with blocks of only 32 pixels"):
        runner_of(engine).generate(np.zeros((1, 64, 64), np.float32), block_size=32, bar=None)


def test_other_errors_are_not_retried():
    calls = []

    def engine(image):
        calls.append(image.shape)
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        runner_of(engine).generate(np.zeros((1, 256, 64), np.float32), block_size=256, bar=None)
    assert len(calls) == 1


def test_turned_engine_cancels_a_shift():
    """An engine that moves everything up and right leaves the centroid where it was."""

    class Shifting:
        name, device, precision, pixels = "shifting", "cpu", "float32", 100

        def __call__(self, y):
            return np.roll(y.repeat(2, 1).repeat(2, 2), (1, 3), (1, 2))

    image = np.zeros((1, 11, 15), np.float32)
    image[0, 5, 7] = 4.0
    engine = TurnedEngine(Shifting())
    fine = engine(image)[0]
    rows, columns = np.indices(fine.shape)
    assert engine.name == "shifting"
    assert_allclose(fine.sum(), 16)
    assert_allclose([(fine * rows).sum() / 16, (fine * columns).sum() / 16], [10.5, 14.5])


@pytest.mark.parametrize("shape", [(16, 24), (13, 29), (3, 5)])
def test_float32_layers_are_the_same_ones_computed_otherwise(shape):
    """Of few channels and of pixels far apart: what the engine replaces, it must not change."""
    torch.manual_seed(0)
    generator = SRResNet(2, n_features=8, n_blocks=1, dilations=(2, 3))
    torch.nn.init.normal_(generator.last.weight, std=0.1)
    engine = TorchEngine(generator, device="cpu", precision="float32")
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    with torch.inference_mode():
        wanted = generator(torch.from_numpy(image)[None])[0].numpy()
    assert_allclose(engine(image), wanted, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "shape"), [("splus-any", (1, 150, 131)), ("splus-grz", (3, 128, 90))]
)
def test_strips_give_the_same_bits(name, shape):
    """Upsampled features take the most memory, so they are made strip by strip."""
    generator = load_generator(load_card(name)).eval()
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    engine = TorchEngine(generator, device="cpu", precision="float32")
    expected = engine(image)
    assert_allclose(expected, plain(generator, image), atol=1e-5)
    engine._generator.tail.pixels = 2**12
    assert_array_equal(engine(image), expected)
