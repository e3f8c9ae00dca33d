# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A batch on the workers of a cluster: the same bytes, failures as rows, lost workers."""

import errno
import os
import signal
import threading
import time
import warnings

import dask
import numpy as np
import pytest

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.enhance.batch import enhance_batch
from splus_srgan.enhance.batch_list import list_fields
from splus_srgan.exceptions import FallbackWarning
from splus_srgan.images.io.fields import read_bands, write_bands
from splus_srgan.utils.cluster import calls_as_completed, check_scheduler, open_client

distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")

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
    """A worker in this process."""
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            host="127.0.0.1",
            protocol="tcp://",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
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
        nthreads, cancel = client.nthreads, client.cancel

        def submit(self, *args, **options):
            most[0] += 1
            return submit(*args, **options)

    calls = {str(k): (k,) for k in range(12)}
    found = {}
    for k, (name, value) in enumerate(calls_as_completed(Counting(), abs, calls)):
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
