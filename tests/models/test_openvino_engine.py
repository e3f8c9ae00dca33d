# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The OpenVINO engine: its numbers, threads, signals, and that it tells nobody of its work."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.models import openvino_engine, processes
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.openvino_engine import OpenVINOEngine
from splus_srgan.models.torch_engine import TorchEngine
from splus_srgan.models.weights import load_generator

pytest.importorskip("openvino")

# A small generator and an engine of it, for processes of their own.
SETUP = """
import gc, os, signal, sys, threading, time
import numpy as np, torch
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.openvino_engine import OpenVINOEngine
torch.manual_seed(1)
generator = SRResNet(1, n_features=8, n_blocks=2).eval()
engine = OpenVINOEngine(generator, precision="float32")
image = lambda n: np.ones((1, n, 16), np.float32)
"""


def run(code, **environment):
    """Run a program in a process of its own; what it printed."""
    for name in ("CI", "TF_BUILD", "JENKINS_URL"):
        environment[name] = ""
    done = subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout.split()


@pytest.fixture(scope="module", params=[1, 3])
def generator(request):
    torch.manual_seed(1)
    generator = SRResNet(request.param, n_features=16, n_blocks=2, low_pass=2, scale="laplace")
    torch.nn.init.normal_(generator.last.weight, std=0.05)
    return generator.eval()


def noise(generator, shape, seed=0):
    n_bands = generator.options["n_bands"]
    return np.random.default_rng(seed).normal(size=(n_bands, *shape)).astype(np.float32)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.03)])
def test_openvino_agrees_with_torch(precision, tolerance):
    """One small generator and one shape: compiling takes seconds."""
    torch.manual_seed(2)
    generator = SRResNet(2, n_features=8, n_blocks=1).eval()
    torch.nn.init.normal_(generator.last.weight, std=0.05)
    image = np.random.default_rng(0).normal(size=(2, 17, 22)).astype(np.float32)
    engine = OpenVINOEngine(generator, precision=precision)
    expected = TorchEngine(generator, device="cpu", precision="float32")(image)
    scale = np.abs(expected).max()
    for _ in range(2):  # the second time it is compiled already
        assert_allclose(engine(image), expected, rtol=0, atol=tolerance * scale)


def test_openvino_forgets_what_it_does_not_need(generator):
    """Each shape takes memory; many cutouts of different sizes must not fill it."""
    engine = OpenVINOEngine(generator, precision="float32")
    torch_engine = TorchEngine(generator, device="cpu", precision="float32")
    for side in (16, 17, 18, 16, 19, 20, 16):
        image = noise(generator, (side, 16), side)
        assert_allclose(engine(image), torch_engine(image), rtol=0, atol=1e-4)
    assert [shape[2] for shape, *_ in engine._compiled] == [18, 19, 20, 16]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("weights", ["splus-grz", "splus"])
def test_strips_give_what_the_whole_image_gives(weights, precision, monkeypatch):
    """The layers after the trunk see a few rows at once, and enough around them."""
    generator = load_generator(weights)
    shape = generator.in_channels, 70, 44
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    results = []
    for strip in (70 * 44, 24 * 44, 17 * 44):
        monkeypatch.setattr(openvino_engine, "_STRIP", strip)
        engine = OpenVINOEngine(generator, precision=precision, with_scale=True)
        results.append(engine(image))
    # One of two engines that sum in another order would differ by some units of the last digit.
    scale = np.abs(results[0]).max()
    assert_allclose(results[1], results[0], rtol=0, atol=1e-6 * scale)
    assert_allclose(results[2], results[0], rtol=0, atol=1e-6 * scale)


def test_strips_must_see_enough(monkeypatch):
    """With one row less around them, it is no longer so: the margin is not there by luck."""
    generator = load_generator("splus-grz")
    image = np.random.default_rng(1).normal(size=(3, 70, 44)).astype(np.float32)
    whole = OpenVINOEngine(generator, precision="float32", with_scale=True)(image)
    monkeypatch.setattr(openvino_engine, "_STRIP", 24 * 44)
    enough = generator.end_radius(True)
    monkeypatch.setattr(type(generator), "end_radius", lambda self, with_scale: enough - 1)
    narrow = OpenVINOEngine(generator, precision="float32", with_scale=True)(image)
    assert np.abs(narrow - whole).max() > 1e-4


@pytest.mark.parametrize("options", [{"output": "tanh"}, {"dilations": [2, 3]}, {"norm": "batch"}])
def test_every_form_of_generator_is_converted(options):
    torch.manual_seed(3)
    generator = SRResNet(2, n_features=8, n_blocks=1, **options).eval()
    torch.nn.init.normal_(generator.last.weight, std=0.05)
    image = noise(generator, (19, 26))
    expected = TorchEngine(generator, device="cpu", precision="float32")(image)
    assert_allclose(OpenVINOEngine(generator, precision="float32")(image), expected, atol=1e-5)


def test_scale_of_the_errors_is_made_in_the_engine(generator):
    image = noise(generator, (18, 23))
    options = {"precision": "float32", "with_scale": True}
    expected = TorchEngine(generator, device="cpu", **options)(image)
    assert_allclose(OpenVINOEngine(generator, **options)(image), expected, atol=1e-5)


def test_default_types_of_the_caller_do_not_matter(generator):
    image = noise(generator, (18, 23))
    expected = OpenVINOEngine(generator, precision="float32")(image)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert_array_equal(OpenVINOEngine(generator, precision="float32")(image), expected)
    finally:
        torch.set_default_dtype(before)


def test_threads_get_what_one_thread_gets(generator):
    """Of different shapes, so that each has to prepare something."""
    images = [noise(generator, (16 + k, 20), k) for k in range(8)]
    engine = OpenVINOEngine(generator, precision="float32")
    serial = [engine(image) for image in images]
    engine, results = OpenVINOEngine(generator, precision="float32"), [None] * len(images)
    start = threading.Barrier(len(images))

    def work(k):
        start.wait()
        results[k] = engine(images[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, expected in zip(results, serial, strict=True):
        assert_array_equal(result, expected)


def test_nobody_is_told(tmp_path):
    """No socket is opened, no name is looked up, and nothing is written to the home folder."""
    told = run(
        """
        def watch(event, arguments):
            if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
                print(event, arguments, flush=True)
        sys.addaudithook(watch)
        engine(image(16))
        import openvino
        openvino.convert_model(torch.nn.ReLU(), example_input=torch.zeros(3))
        time.sleep(0.5)
        for thread in threading.enumerate():
            if "telemetry" in thread.name.lower():
                print(thread.name)
        """,
        HOME=str(tmp_path),
        http_proxy="http://localhost:9",
        https_proxy="http://localhost:9",
    )
    assert told == []
    assert list(tmp_path.rglob("*telemetry*")) == []
    assert not (tmp_path / "intel").exists()


def test_openvino_imported_before_is_silenced_too(tmp_path):
    told = run(
        """
        import openvino
        def watch(event, arguments):
            if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
                print(event, arguments, flush=True)
        from openvino.tools.ovc import telemetry_utils
        engine(image(16))
        print(telemetry_utils.tm.__name__, "openvino_telemetry" in sys.modules)
        """,
        HOME=str(tmp_path),
        http_proxy="http://localhost:9",
        https_proxy="http://localhost:9",
    )
    assert told == ["openvino.tools.ovc.telemetry_stub", "True"]


def test_interrupt_after_models_were_dropped_is_an_interrupt():
    told = run(
        """
        for n in range(16, 23):
            engine(image(n))
        del engine
        gc.collect()
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert told == ["interrupted"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer here")
def test_interrupt_during_the_conversion_is_an_interrupt():
    told = run(
        """
        import openvino
        engine(image(16))
        for k in range(12):
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            engine = OpenVINOEngine(generator, precision="float32")
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.005 + 0.03 * k)
                engine(image(16))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                print("interrupted")
        print(engine(image(16)).shape)
        """
    )
    assert told[-3:] == ["(1,", "32,", "32)"]
    assert told.count("interrupted") >= 3


def _call(engine, queue):
    try:
        queue.put(engine(np.ones((1, 16, 16), np.float32)).shape)
    except RuntimeError as error:
        queue.put(str(error))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "threads", "refused"), [("openvino", 1, True), ("torch", 2, True), ("torch", 1, False)]
)
def test_fork_after_use_is_refused_and_does_not_hang(monkeypatch, kind, threads, refused):
    monkeypatch.setattr(processes, "_process", None)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        generator = SRResNet(1, n_features=8, n_blocks=1).eval()
        if kind == "torch":
            engine = TorchEngine(generator, device="cpu", precision="float32")
        else:
            engine = OpenVINOEngine(generator, precision="float32")
        engine(np.ones((1, 16, 16), np.float32))
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=_call, args=(engine, queue), daemon=True)
        child.start()
        child.join(30)
        hanging = child.is_alive()
        child.kill()
        assert not hanging
        told = queue.get()
    finally:
        torch.set_num_threads(before)
    if refused:
        assert "multiprocessing.get_context('spawn')" in told
    else:
        assert told == (1, 32, 32)


def test_its_version_is_known_before_it_has_run():
    """The journal of a large field names it, before the first section is made."""
    import openvino

    told = run(
        """
        from splus_srgan.enhance.runner import Runner
        from splus_srgan.models.weights import load_card
        runner = Runner(load_card("splus-any"), "cpu", "float32", "openvino", False)
        print("openvino" in sys.modules, *runner.libraries)
        """
    )
    expected = ["torch", torch.__version__, "openvino", openvino.__version__]
    assert told == ["False", *" ".join(expected).split()]


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads /proc")
def test_no_thread_is_bound_to_a_core():
    """Two processes would be bound to the same ones; seen while the engine is at work."""
    told = run("""
        free, bound = os.sched_getaffinity(0), set()
        def look():
            while looking:
                for task in os.listdir("/proc/self/task"):
                    try:
                        bound.add(frozenset(os.sched_getaffinity(int(task))))
                    except ProcessLookupError:
                        pass
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            engine(image(256))  # compiles, when OpenVINO visits each core
            looking = True
            watcher = threading.Thread(target=look)
            watcher.start()
            for _ in range(50):
                engine(image(256))
            looking = False
            watcher.join()
        print(bound == {frozenset(free)})
    """)
    assert told == ["True"]
