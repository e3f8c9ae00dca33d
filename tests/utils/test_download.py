# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Downloads that are retried, checked, polite, and never leave a broken file behind."""

import bz2
import gzip
import lzma
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from io import BytesIO
from urllib.request import Request

import pytest
from astropy.utils.data import conf
from replay import SILENT, Replay, cached
from werkzeug import Response

from splus_srgan.exceptions import ServiceError
from splus_srgan.utils import download
from splus_srgan.utils.download import fetch_file
from splus_srgan.utils.transfer import Failure, _Redirects

CONTENT = b"a whole file " * 1000
# Patient enough for a busy machine; tests of silence have less patience.
FAST = {"timeout": 30, "backoff": 0.01, "min_interval": 0}


def validate(path):
    """Take `CONTENT` alone; other text is wrong, and anything else damaged."""
    content = path.read_bytes()
    if content.startswith(b"wrong"):
        raise ValueError(f"the service says {content.decode()!r}")
    if content != CONTENT:
        raise OSError(f"damaged: {len(content)} bytes")


@pytest.fixture
def service(replay_server, tmp_path, monkeypatch):
    """A service with one file, and a folder of its own for temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    replay = Replay(replay_server)
    replay.url = replay_server.url_for("/file")
    replay.serve("/file", lambda request: Response(CONTENT))
    yield replay
    replay.over.set()
    replay_server.check_handler_errors()
    assert not list((tmp_path / "tmp").iterdir()), "a temporary file was left behind"


PASSING = [
    "stall",
    "mute",
    "drip",
    "drip header",
    "truncated",
    "cut",
    "reset",
    "half a page of something else",
    408,
    500,
    502,
    503,
    504,
    (429, {"Retry-After": "0"}),
    (429, {}),
]


@pytest.mark.parametrize("failure", PASSING, ids=str)
def test_passing_failure_is_retried(service, failure):
    """One failure costs one more request, and the file that is kept is whole."""
    service.fail(failure)
    timeout = 1 if failure in SILENT else 30
    path = fetch_file(service.url, validate=validate, **{**FAST, "timeout": timeout})
    assert path.read_bytes() == CONTENT
    assert len(service.requests) == 2
    assert cached() == {service.url: str(path)}


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("stall", r"stalled after 6500 bytes for 0\.3 s"),
        ("mute", r"no answer within 0\.3 s"),
        ("drip", r"slower than 1024 bytes per second after \d+ bytes"),
        ("drip header", r"no answer within 0\.3 s"),
        ("truncated", "truncated: 6500 of 13000 bytes arrived"),
        ("cut", "damaged: 6500 bytes"),
        ("reset", "no connection"),
        ("half a page", "damaged: 11 bytes"),
        (500, "HTTP 500 INTERNAL SERVER ERROR"),
        ((503, {"Retry-After": "0"}), "HTTP 503 SERVICE UNAVAILABLE"),
    ],
    ids=str,
)
def test_lasting_failure_is_a_clear_error(service, failure, reason):
    """What stays broken is said, with what was asked, and nothing is kept."""
    service.fail(failure, failure)
    timeout = 0.3 if failure in SILENT else 30
    with pytest.raises(
        ServiceError, match=rf"^{reason}.* \(after 2 attempts\); asked http"
    ) as caught:
        fetch_file(service.url, validate=validate, **{**FAST, "timeout": timeout}, retries=1)
    assert caught.value.url == service.url
    assert len(service.requests) == 2
    assert cached() == {}


@pytest.mark.parametrize(
    ("failure", "reason", "status"),
    [
        (400, "HTTP 400 BAD REQUEST", 400),
        (404, "HTTP 404 NOT FOUND", 404),
        ("wrong layer", "the service says 'wrong layer'", None),
    ],
)
def test_final_answer_is_not_asked_for_again(service, failure, reason, status):
    service.fail(failure)
    with pytest.raises(ServiceError, match=f"^{reason}; asked http") as caught:
        fetch_file(service.url, validate=validate, **FAST)
    assert caught.value.status == status
    assert len(service.requests) == 1
    assert cached() == {}


def test_text_of_an_error_is_quoted(service):
    service.server.clear()
    service.serve("/file", lambda request: Response("bad  ra,dec\n", 400))
    with pytest.raises(ServiceError, match=r"^HTTP 400 BAD REQUEST: bad ra,dec; asked"):
        fetch_file(service.url, validate=validate, **FAST)


def test_nothing_is_fetched_twice(service):
    paths = {fetch_file(service.url, validate=validate, **FAST) for _ in range(3)}
    assert len(paths) == 1
    assert len(service.requests) == 1


def test_threads_share_one_download(service):
    with ThreadPoolExecutor(8) as pool:
        fetch = lambda _: fetch_file(service.url, validate=validate, **FAST)  # noqa: E731
        paths = set(pool.map(fetch, range(8)))
    assert len(paths) == 1
    assert len(service.requests) == 1


def test_at_most_four_requests_at_once(service):
    def slow(request):
        time.sleep(0.05)
        return Response(CONTENT)

    service.server.clear()
    service.serve("/file", slow)
    with ThreadPoolExecutor(12) as pool:
        fetch = lambda i: fetch_file(f"{service.url}?i={i}", validate=validate, **FAST)  # noqa: E731
        list(pool.map(fetch, range(12)))
    assert 2 <= service.most_at_once <= download.MAX_PARALLEL == 4


def test_requests_to_one_host_keep_their_distance(service):
    times = []

    def answer(request):
        times.append(time.monotonic())
        return Response(CONTENT)

    service.server.clear()
    service.serve("/file", answer)
    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        options = {**FAST, "min_interval": 0.1}
        fetch = lambda i: fetch_file(f"{service.url}?i={i}", validate=validate, **options)  # noqa: E731
        list(pool.map(fetch, range(4)))
    # Each may be late, but none is early.
    assert all(when >= start + 0.1 * i for i, when in enumerate(sorted(times)))


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(service, form):
    # A date has whole seconds, so two of them are at least one from now.
    value = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    service.fail((429, {"Retry-After": value}))
    start = time.monotonic()
    fetch_file(service.url, validate=validate, **FAST)
    assert time.monotonic() - start >= 0.9


@pytest.mark.parametrize("value", ["soon", "-5", "Wed, 99 Foo 2026"])
def test_odd_retry_after_is_no_obstacle(service, value):
    service.fail((503, {"Retry-After": value}))
    assert fetch_file(service.url, validate=validate, **FAST).is_file()


def test_too_long_a_wait_is_refused_at_once(service):
    service.fail((429, {"Retry-After": "3600"}))
    with pytest.raises(ServiceError, match="waiting 3600 s more would pass the deadline of 300 s"):
        fetch_file(service.url, validate=validate, **FAST)
    assert len(service.requests) == 1


def test_deadline_ends_a_steady_trickle(service):
    """Fast enough not to count as stalled, yet it has an end."""

    def trickle(request):
        def body():
            for _ in range(100):
                yield b"x" * 4096
                if service.over.wait(0.05):
                    return

        return Response(body())

    service.server.clear()
    service.serve("/file", trickle)
    start = time.monotonic()
    with pytest.raises(ServiceError, match=r"not complete by the deadline, after \d+ bytes"):
        fetch_file(service.url, validate=validate, **FAST, deadline=0.5)
    assert time.monotonic() - start < 20


def test_broken_file_in_the_cache_is_replaced(service):
    path = fetch_file(service.url, validate=validate, **FAST)
    path.write_bytes(CONTENT[:100])
    again = fetch_file(service.url, validate=validate, **FAST)
    assert again.read_bytes() == CONTENT
    assert len(service.requests) == 2


def test_broken_file_in_the_cache_goes_even_if_the_service_is_down(service):
    fetch_file(service.url, validate=validate, **FAST).write_bytes(b"")
    service.fail(400)
    with pytest.raises(ServiceError, match="HTTP 400"):
        fetch_file(service.url, validate=validate, **FAST)
    assert cached() == {}


def test_without_cache_the_file_is_the_callers(service):
    path = fetch_file(service.url, validate=validate, cache=False, **FAST)
    assert path.read_bytes() == CONTENT
    assert cached() == {}
    path.unlink()


@pytest.mark.filterwarnings("ignore::astropy.utils.data.CacheMissingWarning")
def test_cache_that_cannot_be_written_is_said(service, tmp_path):
    place = tmp_path / "cache" / "astropy"
    # Some versions of astropy have made the folder by now.
    if place.is_dir():
        shutil.rmtree(place)
    place.write_text("in the way")
    with pytest.raises(OSError, match=r"download cache cannot be written.*pass cache=False"):
        fetch_file(service.url, validate=validate, **FAST)


def test_interruption_leaves_nothing(service):
    def interrupt(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_file(service.url, validate=interrupt, **FAST)
    assert not service.failures


def test_bug_in_the_check_is_not_hidden(service):
    def buggy(path):
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        fetch_file(service.url, validate=buggy, **FAST)
    assert len(service.requests) == 1


def test_killed_process_leaves_no_file_in_the_cache(service, tmp_path):
    """Killed in the middle of a body, it starts again and is whole."""
    service.fail("stall")
    code = (
        "import sys\n"
        "from astropy.config import set_temp_cache\n"
        "from splus_srgan.utils.download import fetch_file\n"
        "with set_temp_cache(sys.argv[2]):\n"
        "    fetch_file(sys.argv[1], validate=print, timeout=60)\n"
    )
    killed = tmp_path / "tmp" / "killed"
    killed.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", code, service.url, str(tmp_path / "cache")],
        env={**os.environ, "TMPDIR": str(killed)},
    )
    deadline = time.monotonic() + 60
    while not service.requests:
        assert child.poll() is None
        assert time.monotonic() < deadline, "the download never began"
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not list((tmp_path / "cache").rglob("contents"))
    for file in killed.iterdir():
        file.unlink()
    killed.rmdir()
    assert fetch_file(service.url, validate=validate, **FAST).read_bytes() == CONTENT


def test_stop_ends_the_waiting(service):
    """Another thread may give up for this one."""
    stop = threading.Event()
    service.fail(503)
    threading.Timer(0.2, stop.set).start()
    start = time.monotonic()
    with pytest.raises(ServiceError, match="the download was stopped; asked"):
        fetch_file(
            service.url, validate=validate, **{**FAST, "backoff": 30, "timeout": 60}, stop=stop
        )
    assert time.monotonic() - start < 10
    assert len(service.requests) == 1


def test_redirection_is_followed(service):
    moved = Response(status=302, headers={"Location": service.url})
    service.serve("/old", lambda request: moved)
    url = service.url.replace("/file", "/old")
    assert fetch_file(url, validate=validate, **FAST).read_bytes() == CONTENT
    assert list(cached()) == [url]


def test_no_server_is_a_clear_error(service):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServiceError, match=r"^no connection .*refused.* \(after 2 attempts\)"):
        fetch_file(f"http://127.0.0.1:{port}/", validate=validate, **FAST, retries=1)


@pytest.mark.parametrize(
    "url", ["file:///etc/hosts", "ftp://example.org/a", "example.org", "http://"]
)
def test_only_http_is_fetched(url):
    with pytest.raises(ValueError, match="url must begin with http:// or https:// and a host; got"):
        fetch_file(url, validate=validate)


def test_credentials_never_show(service):
    """Neither in messages nor in the cache."""
    with pytest.raises(ValueError, match="url must have no user name or password") as caught:
        fetch_file("https://me:hunter2@example.org/a", validate=validate)
    assert "hunter2" not in str(caught.value)
    service.fail(400)
    with pytest.raises(ServiceError, match=r"asked http.*\?a=1&access_token=\.\.\.&b=2$") as caught:
        fetch_file(f"{service.url}?a=1&access_token=hunter2&b=2", validate=validate, **FAST)
    assert "hunter2" not in repr(vars(caught.value))
    fetch_file(f"{service.url}?password=hunter2", validate=validate, **FAST)
    assert list(cached()) == [f"{service.url}?password=..."]
    assert service.requests[-1] == "/file?password=hunter2"


def test_astropys_switch_is_respected(service):
    with (
        conf.set_temp("allow_internet", False),
        pytest.raises(ServiceError, match="allow_internet forbids downloads"),
    ):
        fetch_file(service.url, validate=validate, **FAST)
    assert service.requests == []


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"timeout": 0}, "timeout must be above 0; got 0"),
        ({"retries": -1}, "retries must be at least 0; got -1"),
        ({"backoff": "2"}, "backoff must be a real number; got '2'"),
        ({"deadline": -1}, "deadline must be above 0; got -1"),
        ({"min_interval": float("nan")}, "min_interval must be finite; got nan"),
    ],
)
def test_odd_options_are_refused(option, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fetch_file("http://127.0.0.1/", validate=validate, **option)


def test_service_error_survives_pickling():
    error = ServiceError("https://example.org/a?key=1", "gone", 404)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.url, copy.reason, copy.status) == ("https://example.org/a?key=...", "gone", 404)
    assert str(copy) == str(error) == "gone; asked https://example.org/a?key=..."


def test_no_thread_is_left(service):
    before = threading.active_count()
    service.fail("drip header", 503)
    fetch_file(service.url, validate=validate, **{**FAST, "timeout": 1})
    service.over.set()
    time.sleep(0.2)
    assert threading.active_count() <= before


# What an answer may do to this machine


def serve(service, content, **options):
    service.server.clear()
    service.serve("/file", lambda request: Response(content, **options))


def bomb(kind, size):
    """Little that unfolds to much."""
    if kind == "gzip":
        return gzip.compress(bytes(size), mtime=0)
    return bz2.compress(bytes(size)) if kind == "bzip2" else lzma.compress(bytes(size))


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_small_answers_that_unfold_without_end_are_refused(service, kind):
    serve(service, bomb(kind, 1 << 24))

    def never(path):
        raise AssertionError("it was unfolded")

    with pytest.raises(ServiceError, match=r"unfolds to more than 1048576 bytes"):
        fetch_file(service.url, validate=never, **FAST, largest=1 << 20)
    assert len(service.requests) == 1
    fetch_file(service.url, validate=lambda path: None, **FAST, largest=1 << 25)


def test_damaged_compressed_answers_are_asked_for_again(service):
    serve(service, bomb("gzip", 1 << 20)[:-50])
    with pytest.raises(ServiceError, match=r"compressed answer is damaged .*after 2 attempts"):
        fetch_file(service.url, validate=lambda path: None, **FAST, retries=1)


@pytest.mark.parametrize("told", [True, False])
def test_answers_that_are_too_large_are_refused(service, told):
    content = bytes(1 << 21)
    answer = (lambda: content) if told else (lambda: (content[k :: 1 << 6] for k in range(1 << 6)))
    service.server.clear()
    service.serve("/file", lambda request: Response(answer(), direct_passthrough=not told))
    with pytest.raises(ServiceError, match="too large"):
        fetch_file(service.url, validate=validate, **FAST, largest=1 << 20)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "where", ["ftp://127.0.0.1:1/a", "file:///etc/passwd", "data:,x", "gopher://h/"]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_to_other_protocols_are_not_followed(service, where, status):
    serve(service, b"", status=status, headers={"Location": where})
    with pytest.raises(ServiceError, match=r"a redirect to \w+ is not followed") as caught:
        fetch_file(service.url, validate=validate, **FAST)
    assert "passwd" not in caught.value.reason
    assert len(service.requests) == 1


def test_a_redirect_to_http_is_followed(service):
    serve(service, b"", status=302, headers={"Location": "/other"})
    service.serve("/other", lambda request: Response(CONTENT))
    assert fetch_file(service.url, validate=validate, **FAST).read_bytes() == CONTENT


def test_nobody_is_led_from_https_to_http():
    request = Request("https://example.org/a")
    with pytest.raises(Failure, match="from https to http is not followed"):
        _Redirects().redirect_request(request, BytesIO(), 302, "", {}, "http://example.org/a")


@pytest.mark.parametrize(
    "letter", ["\x1b[31m", "\x1b]0;owned\x07", "\x9b2J", "\r", "\x08", "\u202e"]
)
def test_the_text_of_a_service_does_not_rule_the_terminal(service, letter):
    serve(service, f"no such{letter}layer".encode(), status=404)
    with pytest.raises(ServiceError) as caught:
        fetch_file(service.url, validate=validate, **FAST)
    assert str(caught.value).isprintable()
    assert "no such" in caught.value.reason
    assert str(ServiceError(f"http://h/{letter}", f"wrong{letter}")).isprintable()
