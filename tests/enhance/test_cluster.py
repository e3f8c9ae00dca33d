# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A batch, and one field, on the workers of a cluster: the same bytes, also if one is lost."""

import errno
import functools
import os
import pickle
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import dask
import numpy as np
import pytest
from small_weights import save_small

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.cli.main import main
from splus_srgan.enhance import field as _field
from splus_srgan.enhance import remote
from splus_srgan.enhance.batch import enhance_batch
from splus_srgan.enhance.batch_list import list_fields
from splus_srgan.enhance.field import Enhancement
from splus_srgan.enhance.tiles import sections
from splus_srgan.exceptions import FallbackWarning, SplusSrganWarning
from splus_srgan.images.io.fields import read_bands, write_bands
from splus_srgan.models.weights import load_card
from splus_srgan.utils.cluster import (
    calls_as_completed,
    check_scheduler,
    one_at_a_time,
    open_client,
)

distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")
from cluster_helpers import cluster_here  # noqa: E402

# Where warnings are errors, one fails a field here, but not on a worker with filters of its own.
pytestmark = pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.NoSkyWarning")


class Copier:
    """Stands for the enhancer, where it does not matter."""

    def __init__(self, fault=None):
        self.fault, self.progress_bar = fault, print

    def to_file(self, images, path, *, overwrite):
        if self.fault is not None:
            raise self.fault
        if path.name.startswith("b_"):
            warnings.warn("b is strange", FallbackWarning, stacklevel=2)
        write_bands(path, images, overwrite=overwrite)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    for k, name in enumerate("abcd"):
        field = simulate_field(k, shape=(48, 48), bands=("r",), kind="stars").observed
        write_bands(folder / f"{name}.fits", field)
    (folder / "broken.fits").write_bytes(b"SIMPLE  = nothing")
    return folder


@pytest.fixture(scope="module")
def client():
    """A cluster of one worker."""
    with cluster_here(1) as cluster, distributed.Client(cluster) as client:
        yield client


def undated(folder):
    """Bytes of each output, without the cards that say when it was made."""
    found = {}
    for path in folder.glob("*.fits"):
        content = bytearray(path.read_bytes())
        for start in range(0, len(content), 80):
            if content[start : start + 8] in (b"SRDATE  ", b"CHECKSUM"):
                content[start : start + 80] = bytes(80)
        found[path.name] = bytes(content)
    return found


def test_same_bytes(client, folder, tmp_path, one_thread):
    enhancer = SRGANEnhancer(device="cpu", precision="float32", check_input=False)
    fields = list_fields(folder)[:2]
    enhance_batch(enhancer, fields, tmp_path / "here")
    enhance_batch(enhancer, fields, tmp_path / "there", client=client)
    assert len(undated(tmp_path / "here")) == 2
    assert undated(tmp_path / "here") == undated(tmp_path / "there")


def test_rows_warnings_and_what_is_skipped(client, folder, tmp_path, monkeypatch):
    """Paths are relative here, and the worker's folder is another."""
    monkeypatch.chdir(folder)
    fields = list_fields("*.fits")
    seen = []

    def bar(items):
        for item in items:
            seen.append(item.name)
            yield item

    with pytest.warns(FallbackWarning, match="^b: b is strange$"):
        summary = enhance_batch(Copier(), fields, tmp_path, client=client, progress_bar=bar)
    assert seen == list(summary["name"]) == ["a", "b", "broken", "c", "d"]
    assert list(summary["status"]) == ["done", "done", "failed", "done", "done"]
    assert "broken.fits" in summary["reason"][2]
    made = read_bands(tmp_path / "d_sr.fits")["r"].data
    np.testing.assert_array_equal(made, read_bands(folder / "d.fits")["r"].data)
    (tmp_path / "c_sr.fits").unlink()
    summary = enhance_batch(Copier(), fields, tmp_path, client=client, resume=True)
    assert list(summary["status"]) == ["skipped", "skipped", "failed", "done", "skipped"]


def test_warnings_of_other_threads_are_not_those_of_a_call():
    """A worker may be a thread of the process whose own warnings are shown meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # its thread is there before the call

        def call():
            with one_at_a_time() as told, ThreadPoolExecutor(1) as own:
                warnings.warn("of the call", FallbackWarning, stacklevel=2)
                warnings.warn("not of this package", UserWarning, stacklevel=2)
                pool.submit(warnings.warn, "of the caller", FallbackWarning).result()
                own.submit(warnings.warn, "of its thread", FallbackWarning).result()
            return told

        with pytest.warns(FallbackWarning, match="^of the caller$") as shown:
            told = call()
    assert [str(one.message) for one in shown] == ["of the caller"]
    assert told == [(FallbackWarning, "of the call"), (FallbackWarning, "of its thread")]


def test_a_file_that_changed_is_read_anew(client, folder, tmp_path):
    (path,) = [tmp_path / "one.fits"]
    for name in "ab":
        path.unlink(missing_ok=True)
        path.write_bytes((folder / f"{name}.fits").read_bytes())
        enhance_batch(Copier(), list_fields(path.parent / "one*"), tmp_path / name, client=client)
    made = [read_bands(tmp_path / name / "one_sr.fits")["r"].data for name in "ab"]
    assert (made[0] != made[1]).any()


def test_a_full_disk_ends_the_batch(client, folder, tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        enhance_batch(Copier(full), list_fields(folder), tmp_path, client=client)


def test_few_calls_are_submitted_at_a_time(client):
    most, submit = [0], client.submit

    class Counting:
        status, scheduler = "running", client.scheduler
        nthreads, cancel, gather = client.nthreads, client.cancel, client.gather

        def submit(self, *args, **options):
            most[0] += 1
            return submit(*args, **options)

    calls = {str(k): (k,) for k in range(12)}
    found = {}
    for k, (name, value) in enumerate(calls_as_completed(Counting(), abs, calls.items())):
        found[name] = value
        assert most[0] <= k + 2  # one worker
    assert found == {name: k for name, (k,) in calls.items()}


WRONG = ["", "local", "local:", "local:0", "local:-1", "local:1.5", "local:x", "local:²", "here:1"]
WRONG += ["http://host:8786", "tcp://host", "tcp://host:x", "tcp://:1", "tcp://host:99999"]


@pytest.mark.parametrize("scheduler", WRONG)
def test_schedulers_that_are_none(scheduler):
    with pytest.raises(ValueError, match=r"must be tcp://HOST:PORT.*local:N.* got"):
        check_scheduler(scheduler)


def test_a_scheduler_that_does_not_answer():
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.3s"}),
        pytest.raises(ConnectionError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9;"),
        open_client("tcp://127.0.0.1:9"),
    ):
        pass


def test_a_cluster_without_the_package(monkeypatch):
    monkeypatch.setattr("splus_srgan.utils.optional.has", lambda module: False)
    message = "needs distributed, which is not installed; install what the extra 'distributed'"
    with pytest.raises(ImportError, match=message), open_client("local:2"):
        pass


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_task_only(folder, tmp_path):
    """Two processes to the bytes of one, where a worker dies in the midst of a field."""
    enhancer = SRGANEnhancer(device="cpu", precision="float32", check_input=False)
    fields = [field for field in list_fields(folder) if field.name != "broken"]
    enhance_batch(enhancer, fields, tmp_path / "here")
    with open_client("local:2") as client:
        pids = set(client.run(os.getpid).values())
        enhance_batch(enhancer, fields[:2], tmp_path / "there", client=client)
        thread = threading.Thread(target=kill_a_busy_one, args=(client,))
        thread.start()
        summary = enhance_batch(enhancer, fields, tmp_path / "there", overwrite=True, client=client)
        thread.join()
        assert set(summary["status"]) == {"done"}
        assert len(pids & set(client.run(os.getpid).values())) == 1
    assert undated(tmp_path / "here") == undated(tmp_path / "there")


def kill_a_busy_one(client):
    while not (busy := [address for address, keys in client.processing().items() if keys]):
        time.sleep(0.005)
    os.kill(client.run(os.getpid, workers=busy[:1])[busy[0]], signal.SIGKILL)


# Sections of one field

OPTIONS = {"engine": "torch", "device": "cpu", "precision": "float32", "check_input": False}


@pytest.fixture(scope="module")
def workers():
    """Client of two workers."""
    with cluster_here(2) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return save_small(tmp_path_factory.mktemp("weights"), n_features=8, flux_anchor=0.0)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A field in a file, with missing pixels and a sky that is a map."""
    images = simulate_field((4, 1), shape=(110, 96), bands=("r",), kind="galaxy").observed
    images["r"].data[20:24, 30:33] = np.nan
    return write_bands(tmp_path_factory.mktemp("field") / "field.fits", images)


@pytest.fixture
def small_sections(small_sections, one_thread):
    """Six sections."""


@pytest.fixture
def made(monkeypatch):
    """A list of the threads that made a section each."""
    threads, compute = [], Enhancement.compute_section

    def counted(self, part, bar=None):
        threads.append(threading.current_thread())
        return compute(self, part, bar)

    monkeypatch.setattr(Enhancement, "compute_section", counted)
    return threads


def seen_after(number, act):
    """A progress bar that does something when as many sections are done."""

    def bar(items):
        for k, item in enumerate(items):
            if k == number:
                act()
            yield item

    return bar


@pytest.mark.parametrize("memmap", [True, False])
def test_sections_have_the_same_bytes(
    workers, card, field, small_sections, tmp_path, monkeypatch, memmap
):
    monkeypatch.chdir(field.parent)
    images = read_bands(field.name, memmap=memmap)
    monkeypatch.chdir(tmp_path)  # a worker may be in any folder
    sky = np.linspace(-1, 1, 110 * 96).reshape(110, 96)
    seen, sent, submit = [], [], workers.submit
    options = OPTIONS | ({"uncertainty": "ensemble"} if memmap else {"flux_anchor": 1})

    def spy(*args, **given):
        sent.extend(args)
        return submit(*args, **given)

    def bar(items):
        for item in items:
            seen.append(item)
            yield item

    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    SRGANEnhancer(card, **options).to_file(images, "here/a.fits", sky=sky)
    monkeypatch.setattr(workers, "submit", spy)
    there = SRGANEnhancer(card, **options, progress_bar=bar, client=workers)
    there.to_file(images, "there/a.fits", sky=sky)
    assert undated(tmp_path / "here") == undated(tmp_path / "there")
    assert len(seen) == 6
    pixels = [one for one in sent if isinstance(one, np.ndarray) and one.dtype == np.float32]
    assert len(pixels) == (0 if memmap else 6)  # workers read files themselves


def test_arrays_in_memory_and_the_command_line(workers, card, field, small_sections, tmp_path):
    images = read_bands(field)
    here = SRGANEnhancer(card, **OPTIONS)
    there = pickle.loads(pickle.dumps(SRGANEnhancer(card, **OPTIONS, client=workers)))
    assert there.client is None  # it belongs to its process
    there.client = workers
    for part in (images, {"r": images["r"][:48, :48]}):
        np.testing.assert_array_equal(here(part)["r"].data, there(part)["r"].data)
    weights = card.path.with_suffix(".json")
    arguments = ["enhance", str(field), "--weights", str(weights), "--device", "cpu"]
    arguments += ["--precision", "float32", "--no-check-input"]
    assert main([*arguments, "-o", str(tmp_path / "here" / "a.fits")]) == 0
    where = ["--scheduler", workers.scheduler.address]
    assert main([*arguments, *where, "-o", str(tmp_path / "there" / "a.fits")]) == 0
    assert undated(tmp_path / "here") == undated(tmp_path / "there")


def test_a_lost_worker_costs_its_sections_only(
    card, field, small_sections, tmp_path, made, monkeypatch
):
    monkeypatch.setattr(_field, "sections", functools.partial(sections, side=32))
    images = read_bands(field, memmap=True)
    SRGANEnhancer(card, **OPTIONS).to_file(images, tmp_path / "here.fits")
    made.clear()
    with cluster_here(2) as cluster, distributed.Client(cluster) as client:

        def lose():
            client.sync(cluster.workers[0].close, executor_wait=False)

        enhancer = SRGANEnhancer(card, **OPTIONS, client=client, progress_bar=seen_after(2, lose))
        enhancer.to_file(images, tmp_path / "there.fits")
        assert len(client.nthreads()) == 1
    # It had at most the four that were submitted, in work or not handed over.
    assert 12 <= len(made) <= 12 + 4
    here, there = undated(tmp_path).values()
    assert here == there


@pytest.mark.parametrize("first", ["here", "there"])
def test_a_run_resumes_with_a_cluster_or_without(
    workers, card, field, small_sections, tmp_path, made, first
):
    def interrupt():
        raise KeyboardInterrupt

    images, path = read_bands(field, memmap=True), tmp_path / "a.fits"
    where = {"here": None, "there": workers}
    bar = seen_after(3, interrupt)
    enhancer = SRGANEnhancer(card, **OPTIONS, client=where.pop(first), progress_bar=bar)
    with pytest.raises(KeyboardInterrupt, match=r"the finished part of .* resumes from there"):
        enhancer.to_file(images, path)
    deadline = time.monotonic() + 5
    while workers.futures and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not workers.futures  # what was not begun is cancelled
    made.clear()
    SRGANEnhancer(card, **OPTIONS, client=where.popitem()[1]).to_file(images, path)
    # A worker may still be at a section of the first run.
    assert sum((one is threading.main_thread()) == (first == "there") for one in made) == 3
    SRGANEnhancer(card, **OPTIONS).to_file(images, tmp_path / "whole.fits")
    resumed, whole = undated(tmp_path).values()
    assert resumed == whole


def test_warnings_and_errors_of_workers(
    workers, card, field, small_sections, tmp_path, monkeypatch
):
    images = read_bands(field)
    enhancer = SRGANEnhancer(card, **OPTIONS, client=workers)
    compute = Enhancement.compute_section

    def strange(self, part, bar=None):
        warnings.warn("smaller blocks", SplusSrganWarning, stacklevel=2)
        return compute(self, part, bar)

    with monkeypatch.context() as patch:
        patch.setattr(Enhancement, "compute_section", strange)
        with pytest.warns(SplusSrganWarning, match="^smaller blocks$"):
            enhancer(images)
    monkeypatch.setattr(Enhancement, "compute_section", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        enhancer.to_file(images, tmp_path / "a.fits")
    assert not list(tmp_path.iterdir())
    # One worker after the other is lost.
    monkeypatch.setattr(remote, "calls_as_completed", lambda *_: ((0, None) for _ in "x"))
    with pytest.raises(ConnectionError, match=r"enhanced section 1 were lost, one after the other"):
        enhancer(images)
    with pytest.raises(ConnectionError, match=r"every worker was lost that loaded .* 'small'"):
        SRGANEnhancer(card, **OPTIONS, client=workers)(images)


def test_workers_that_cannot_do_the_same(workers, card, field, tmp_path, monkeypatch):
    options = {"card": card, "device": "cpu", "precision": "float32", "engine": "torch"}
    options |= {"uncertainty": False}
    runner = remote.RemoteRunner(workers, **options)
    assert pickle.loads(pickle.dumps(runner)).radius == runner.radius
    runner.engine = remote.EngineFacts("torch", "cpu", "bfloat16")
    with pytest.raises(ConnectionError, match=r"workers differ: .*bfloat16.*float32.* name device"):
        pickle.loads(pickle.dumps(runner))
    elsewhere = replace(card, folder=str(tmp_path))
    with pytest.raises(ConnectionError, match=r"a worker has no weights .*same path there"):
        SRGANEnhancer(elsewhere, **OPTIONS, client=workers)(read_bands(field))
    shipped = replace(load_card("splus-any"), folder=str(tmp_path))  # each machine has them
    assert remote.RemoteRunner(workers, **options | {"card": shipped}).radius > 0
    path = write_bands(tmp_path / "field.fits", read_bands(field))
    images = read_bands(path, memmap=True)
    enhancer = SRGANEnhancer(card, **OPTIONS, client=workers)
    submit = workers.submit

    def without_the_file(*args, **given):
        path.unlink(missing_ok=True)
        return submit(*args, **given)

    enhancer(images)  # now it knows the workers
    monkeypatch.setattr(workers, "submit", without_the_file)
    with pytest.raises(ConnectionError, match=r"a worker cannot read the input .*same paths"):
        enhancer.to_file(images, tmp_path / "a.fits")


def test_clients_that_no_work_can_be_given_to(card, field):
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client; got 'tcp://x:1'"):
        SRGANEnhancer(card, client="tcp://x:1")
    with cluster_here(0) as cluster, distributed.Client(cluster) as client:
        enhancer = SRGANEnhancer(card, **OPTIONS, client=client)
        with pytest.raises(ConnectionError, match=r"client must have workers; .* has none: start"):
            enhancer(read_bands(field))
    with pytest.raises(ConnectionError, match=r"client must be connected .* it is closed"):
        enhancer(read_bands(field))
    with pytest.raises(ConnectionError, match=r"client must be connected"):
        enhance_batch(Copier(), list_fields(field.parent), field.parent / "out", client=client)


@pytest.mark.slow
def test_a_process_that_is_killed_costs_its_sections_only(card, field, small_sections, tmp_path):
    images = read_bands(field, memmap=True)
    SRGANEnhancer(card, **OPTIONS).to_file(images, tmp_path / "here.fits")
    with open_client("local:2") as client:
        bar = seen_after(2, lambda: kill_a_busy_one(client))
        enhancer = SRGANEnhancer(card, **OPTIONS, client=client, progress_bar=bar)
        enhancer.to_file(images, tmp_path / "there.fits")
    here, there = undated(tmp_path).values()
    assert here == there
