# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Whatever is typed or stands in a file: a result, or a line that says what is wrong."""

import ast
import io
import json
import os
import random
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import splus_srgan
from splus_srgan import __main__ as entry
from splus_srgan import read_bands
from splus_srgan.cli import main as cli
from splus_srgan.cli.main import COMMANDS, _parsers, main
from splus_srgan.cli.output import mend_streams, say, tell
from splus_srgan.cli.words import flag_names, in_command_words
from splus_srgan.enhance.batch_list import list_fields
from splus_srgan.enhance.restart import clean
from splus_srgan.evaluation.report.write import check_folder
from splus_srgan.exceptions import NoSkyWarning, printable
from splus_srgan.models.weights import find_card
from splus_srgan.pairs.folder.pairs import PairFolder
from splus_srgan.training.checkpoints import find_checkpoint
from splus_srgan.training.config.training import load_config
from splus_srgan.training.run_folder import checkpoint_folder

SEED = 20
CASES = 300


def told(capsys, arguments):
    """Status and standard error of a wrong call, which has to be one line."""
    status = main(arguments)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("splus-srgan: error: ")
    assert "Traceback" not in error
    return status, error


SWITCHES = {
    "enhance": ("overwrite", "preview", "dry_run", "quiet", "verbose", "debug"),
    "simulate": ("overwrite",),
    "demo": ("overwrite",),
    "evaluate": ("overwrite",),
    "match": ("overwrite", "keep_psf", "no_correct", "no_sheet"),
    "fetch": ("retry_failed", "keep_psf"),
    "calibrate": ("ensemble",),
}
NEEDED = {
    "enhance": ["x.fits", "-o", "out"],
    "evaluate": ["x.fits", "-o", "out"],
    "match": ["x.fits", "--target", "y.fits", "-o", "out"],
    "fetch": ["x.ecsv", "-o", "out"],
    "calibrate": ["splus-any", "-o", "out"],
    "simulate": ["-o", "out"],
    "demo": [],
}


@pytest.mark.parametrize("value", ['"false"', '"true"', "1", "0", "[]", "yes please", "null"])
@pytest.mark.parametrize("command", SWITCHES)
def test_switches_are_true_or_false(command, value, tmp_path, capsys, monkeypatch):
    """A file that says overwrite: "false" must not replace anything, nor be guessed at."""
    monkeypatch.chdir(tmp_path)
    for switch in SWITCHES[command]:
        Path("options.yaml").write_text(f"{switch}: {value}\n")
        status, error = told(capsys, [command, *NEEDED[command], "--config", "options.yaml"])
        assert status == 2
        assert f"--{switch.replace('_', '-')} must be true or false" in error
    assert not Path("out").exists()


BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
HOSTILE = {
    "bomb": BOMB,
    "itself": "run: &a {output: *a}\n",
    "deep": "bands: " + "[" * 3000 + "]" * 3000 + "\n",
    "deep_keys": "".join(f"{' ' * i}a:\n" for i in range(900)),
    "dots": ".".join("a" * 3000) + ": 1\n",
    "list": "- 1\n- 2\n",
    "scalar": "42\n",
    "binary": "\x01\x02",
    "unknown": "outptu: x\n",
    "text_for_list": "bands: r\nfiles: a.fits\n",
    "number_for_text": "output: {a: 1}\n",
    "escape": 'output: "\\e[31mred"\nseed: -1\ndata: "\\e[2J"\n',
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("command", ["enhance", "train", "simulate"])
def test_hostile_files_of_options_are_refused_in_a_line(command, name, tmp_path, capsys):
    path = tmp_path / f"{name}.yaml"
    path.write_text(HOSTILE[name])
    if command == "train":
        arguments = ["train", str(path), "-o", str(tmp_path / "out")]
    else:
        files = ["x.fits"] if command == "enhance" else []
        arguments = [command, *files, "-o", str(tmp_path / "out"), "--config", str(path)]
    start = time.monotonic()
    status, error = told(capsys, arguments)
    assert status == 2
    assert "\x1b" not in error
    assert time.monotonic() - start < 20
    assert not (tmp_path / "out").exists()


def test_a_configuration_in_toml_is_bounded_as_well(tmp_path, capsys):
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 3000 + "]" * 3000)
    assert told(capsys, ["train", str(path)])[0] == 2
    circle = {}
    circle["data"] = circle
    with pytest.raises(ValueError, match="nested at most"):
        load_config(circle)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_options_come_from_regular_files_alone(kind, tmp_path, capsys):
    path = {"pipe": tmp_path / "p", "device": Path("/dev/zero"), "folder": tmp_path}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    out = ["-o", str(tmp_path / "out")]
    status, error = told(capsys, ["simulate", "--config", str(path), *out])
    assert status == 2
    assert "give a regular file" in error


def test_outputs_are_regular_files_alone(tmp_path, capsys):
    os.mkfifo(tmp_path / "x_sr.fits")
    arguments = ["enhance", "x.fits", "-o", str(tmp_path), "--overwrite"]
    assert "is a folder, a pipe or a device" in told(capsys, arguments)[1]
    assert (tmp_path / "x_sr.fits").is_fifo()


@pytest.mark.parametrize("name", ["../../evil", "a/b", "", ".", "/tmp/evil", "a\nb", "x" * 300])
def test_names_are_no_paths(name, tmp_path, capsys):
    out = tmp_path / "deep" / "run"
    status, error = told(capsys, ["train", "--preset", "fidelity", "--name", name, "-o", str(out)])
    assert status == 2
    assert "--name must" in error
    assert list(tmp_path.rglob("*")) == []
    arguments = ["calibrate", "splus-any", "-o", str(out), "--minutes", "0", "--name", name]
    if name:
        assert told(capsys, arguments)[0] == 2
        assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("command", "content", "name"),
    [
        ("enhance", {"output": "o", "files": ["a", "b"]}, "files"),
        ("evaluate", {"output": "o", "files": ["a", "b"]}, "files"),
        ("fetch", {"output": "o", "table": "a"}, "table"),
        ("match", {"output": "o", "files": ["a"], "target": ["b"]}, "files"),
        ("calibrate", {"output": "o", "pairs": ["a"], "weights": "w"}, "pairs"),
        ("weights", {"action": "show", "name": "a"}, "name"),
    ],
)
def test_arguments_of_a_file_of_options_count(command, content, name, tmp_path):
    (tmp_path / "options.yaml").write_text(json.dumps(content))
    call = [command, "--config", str(tmp_path / "options.yaml")]
    call += ["w"] if command == "calibrate" else []
    call += ["x"] if command == "match" else []  # needs one that is typed
    options = _parsers()[""].parse_args(call)[command]
    assert options[name] == (["x"] if command == "match" else content[name])


@pytest.mark.parametrize(
    "call",
    [
        ["enhance", "x.fits", "-o", ""],
        ["enhance", "--batch", "", "-o", "o"],
        ["enhance", "x.fits", "-o", "o", "--weights", ""],
        ["evaluate", "--pairs", "", "-o", "o"],
        ["fetch", "", "-o", "o"],
        ["fetch", "--example", ""],
        ["train", ""],
        ["train", "--resume", ""],
    ],
)
def test_an_empty_text_names_no_place(call, tmp_path, monkeypatch, capsys):
    """As a variable of the shell that is not set; the working folder is not meant."""
    monkeypatch.chdir(tmp_path)
    status, error = told(capsys, call)
    assert status == 2
    assert "got an empty text" in error
    assert os.listdir() == []


def test_a_zero_byte_is_told_with_its_option(tmp_path, capsys):
    (tmp_path / "options.yaml").write_text(r'{"output": "a\u0000b", "files": ["x.fits"]}')
    status, error = told(capsys, ["enhance", "--config", str(tmp_path / "options.yaml")])
    assert status == 2
    assert "--output must be text without zero bytes" in error


def test_files_of_options_may_name_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "options.yaml").write_text("output: ~/made\nshape: [16, 16]\nbands: [r]\n")
    assert main(["simulate", "--config", str(tmp_path / "options.yaml")]) == 0
    assert sorted(os.listdir(tmp_path)) == ["made", "options.yaml", "work"]
    assert os.listdir() == []
    assert PairFolder("~/pairs", create=True).path == tmp_path / "pairs"
    assert check_folder("~/report")["report"] == tmp_path / "report" / "report.html"
    assert checkpoint_folder("~/run") == tmp_path / "run" / "checkpoints"
    (tmp_path / "config.yaml").write_text("{preset: seed, name: here}")
    assert load_config("~/config.yaml").name == "here"


@pytest.mark.parametrize(
    "call",
    [
        lambda name: PairFolder(name),
        lambda name: load_config(name),
        lambda name: clean(name),
        lambda name: list_fields(name),
        lambda name: find_card(name),
        lambda name: read_bands(name),
        lambda name: find_checkpoint(name),
    ],
)
def test_the_home_of_an_unknown_user_is_a_name_like_any_other(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((OSError, ValueError), match="~nobody-of-that-name"):
        call("~nobody-of-that-name/thing.fits")
    assert os.listdir() == []


@pytest.mark.skipif(os.name != "posix", reason="links and pipes are of POSIX")
@pytest.mark.parametrize("thing", ["pipe", "circle", "nowhere", "folder"])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("target.fits", ["simulate", "--shape", "16", "16"]),
        ("comparison.png", ["demo"]),
        ("report.html", ["evaluate", "--simulate", "1"]),
    ],
)
def test_what_cannot_be_replaced_is_told_before_the_work(name, call, thing, tmp_path, capsys):
    path = tmp_path / name
    {
        "pipe": lambda: os.mkfifo(path),
        "circle": lambda: path.symlink_to(name),
        "nowhere": lambda: path.symlink_to("no/such/folder"),
        "folder": path.mkdir,
    }[thing]()
    status, error = told(capsys, [*call, "-o", str(tmp_path), "--overwrite"])
    assert status == 1
    assert name in error or "such" in error
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\x9bb", "a\rb", "a\udcffb"])
def test_what_is_said_does_not_rule_the_terminal(text, capsys):
    say(f"{text}\nsecond")
    tell(text)
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == "second"
    assert out.splitlines()[0] == err.strip() == printable(text)
    assert all(letter.isprintable() for letter in printable(text))


def test_a_stream_without_a_letter_is_no_failure(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    mend_streams()
    say("0.1 ± 0.2")
    sys.stdout.flush()
    assert raw.getvalue().strip() == rb"0.1 \xb1 0.2"


def test_a_warning_that_is_an_error_is_told_as_one(monkeypatch, tmp_path, capsys):
    """As "python -W error" has it."""

    def warned(options):
        raise NoSkyWarning("no sky found")

    monkeypatch.setattr(COMMANDS["simulate"], "run", warned)
    status, error = told(capsys, ["simulate", "-o", str(tmp_path)])
    assert (status, error) == (1, "splus-srgan: error: no sky found\n")


def test_library_words_become_those_of_the_command_line():
    flags = {"overwrite": "--overwrite", "sky": "--sky", "uncertainty": "--uncertainty"}
    for text, wanted in (
        ("its level is 0; give sky= if wrong", "its level is 0; give --sky if wrong"),
        ("overwrite=True (--overwrite) replaces it", "--overwrite replaces it"),
        ("take uncertainty='ensemble', or", "take --uncertainty ensemble, or"),
        ("sky must be a number; got 'x'", "--sky must be a number; got 'x'"),
        ("the blue sky must be", "the blue sky must be"),
        ("\x1b[31mred\nlines", "[31mred lines"),
        ("no PSF; give psf=, or sky=0 to do without", "no PSF; give --sky 0 to do without"),
        ("no PSF; give psf=, or sky=0.5", "no PSF; give --sky 0.5"),
        ("no sky in r; give psf= (or wait)", "no sky in r"),
        ("unusual (a spike; psf='measure' finds it) in r", "unusual (a spike) in r"),
        ("is no image; wrap it: CCDData(data, unit='adu')", "is no image; wrap it"),
        ("sky must be given: Wiener(psf=(1.2, 3))", "--sky must be given"),
        (
            "needs uncertainty=True; take uncertainty=False",
            "needs --uncertainty generator; take --uncertainty none",
        ),
        ("take space='seed'", "take --data.space seed"),
        # Names that somebody gave are no keywords.
        ("a/psf=1.fits and psf=1.fits do not exist", "a/psf=1.fits and psf=1.fits do not exist"),
        ("cannot read: 'psf=3'", "cannot read: 'psf=3'"),
    ):
        assert in_command_words(text, flags | {"data.space": "--data.space"}) == wanted


def _messages():
    """Texts of the package, with a 3 for each value that they are given."""
    for path in sorted(Path(splus_srgan.__file__).parent.rglob("*.py")):
        tree = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        formatted = [node.values for node in tree if isinstance(node, ast.JoinedStr)]
        parts = {id(part) for values in formatted for part in values}
        whole = [
            [node] for node in tree if isinstance(node, ast.Constant) and id(node) not in parts
        ]
        for values in formatted + whole:
            text = "".join(
                str(getattr(part, "value", "3")) if isinstance(part, ast.Constant) else "3"
                for part in values
            )
            if re.search(r"\b[a-z_]{2,}=", text) and "\n" not in text:
                yield text


MESSAGES = list(_messages())


@pytest.mark.parametrize("command", COMMANDS)
def test_no_message_advises_a_keyword_of_python(command):
    """Every text of the package that names keywords, in the words of each command."""
    flags = flag_names(_parsers()[command])
    advice = re.compile(r"\b(give|pass|use|take|choose|check|by)( [a-z]+)? [a-z_]+=")
    assert len(MESSAGES) > 40
    for text in MESSAGES:
        told = in_command_words(text, flags)
        after = told.removeprefix(re.split("[;:] ", told)[0])  # what is wrong comes first
        assert not advice.search(after), (text, told)


WORDS = (
    "", "-1", "0", "1", "3.5", "nan", "inf", "1e400", "true", "null", "~", "[]", "{}", "[1, 2",
    "a:", "&a [*a]", "r", "g=1", "=", "x" * 5000, "é", "\x1b[2J", "../..", "/dev/null/x",
    "nowhere.fits",
    "{a: {b: {c: 1}}}", "!!python/name:os.system", "- - - -", "1_000", "12:30:00", "'", '"',
    "--", "-",
    "0x10", "2026-01-01", "*", "@x", "%s", "\\",
)  # fmt: skip


def random_call(rng, flags):
    """A command with options of its own and values of all kinds."""
    command = rng.choice(list(flags))
    call = [command, *NEEDED.get(command, [])] if rng.random() < 0.7 else [command]
    for _ in range(rng.randint(1, 3)):
        call.append(rng.choice(flags[command]))
        call += rng.choices(WORDS, k=rng.randint(0, 2))
    return call


def options_of(command, capsys):
    """Names of the options of a command, by its help."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    found = set(re.findall(r"--[\w.-]+", capsys.readouterr().out))
    return sorted(found - {"--help", "--print_config", "--debug"})


def test_random_calls_end_in_a_status_and_a_line(tmp_path, monkeypatch, capsys):
    """Seeded; what would start real work is stopped where it would begin."""
    monkeypatch.chdir(tmp_path)
    flags = {name: options_of(name, capsys) for name in COMMANDS}
    parsers = cli._parsers()  # building them is what takes the time
    monkeypatch.setattr(cli, "_parsers", lambda: parsers)
    for name in COMMANDS:
        monkeypatch.setattr(f"splus_srgan.cli.{name}.run", lambda options: None)
    rng = random.Random(SEED)
    seen = set()
    for _ in range(CASES):
        call = random_call(rng, flags)
        status = main(call)
        error = capsys.readouterr().err
        seen.add(status)
        assert status in (0, 2), (call, error)
        assert "Traceback" not in error, call
        assert "a fault of the program" not in error, (call, error)
        assert error.count("\n") == (status == 2), (call, error)
        assert "\x1b" not in error, call
    assert seen == {0, 2}
    assert not list(tmp_path.iterdir())


CHILD = [sys.executable, "-m", "splus_srgan"]


def test_a_closed_pipe_is_silent():
    process = subprocess.Popen(
        [*CHILD, "weights", "show", "splus-grz"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 141
    assert error == b""


@pytest.mark.parametrize("home", ["/dev/null", "/nonexistent/home"])
def test_closed_streams_and_no_home_are_harmless(home, tmp_path):
    """What is written to a closed standard error must not end up in a file."""
    out = tmp_path / "out"
    command = f"{sys.executable} -m splus_srgan simulate --shape 32 32 -o {out} 2>&- 0<&-"
    environment = os.environ | {"HOME": home, "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert (out / "input.fits").read_bytes().startswith(b"SIMPLE")


ALL_OF_A_FIELD = """
import sys, time, urllib.request
import splus_srgan
for name in splus_srgan.__all__:
    getattr(splus_srgan, name)
from splus_srgan.cli.main import main
place = sys.argv[1]
print(main(["simulate", "--shape", "40", "40", "--bands", "r", "-o", place]))
print(main(["enhance", f"{place}/input.fits", "-o", f"{place}/sharp.fits"]))
print(main(["weights", "list"]), main(["weights", "verify", "splus-any"]))
time.sleep(0.5)  # for what another thread may send
try:
    urllib.request.urlopen("http://control.invalid/seen")
except OSError:
    pass
"""


@pytest.fixture
def proxy():
    """Address of a proxy, and the first line of each connection to it."""
    told = []

    class Listener(socketserver.StreamRequestHandler):
        def handle(self):
            told.append(self.rfile.readline().decode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", told
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("home", ["file", "file/below"])
def test_without_a_home_all_works_and_nobody_is_told(home, tmp_path, proxy):
    """Import, enhance and weights where the home folder cannot be read or made."""
    (tmp_path / "file").write_text("no folder")
    address, told = proxy
    names = ("http_proxy", "https_proxy", "all_proxy")
    environment = dict.fromkeys([*names, *map(str.upper, names)], address)
    environment |= {"HOME": str(tmp_path / home), "no_proxy": "", "NO_PROXY": "", "CI": ""}
    gone = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "MPLCONFIGDIR", "TORCH_HOME")
    kept = {key: value for key, value in os.environ.items() if key not in gone}
    done = subprocess.run(
        [sys.executable, "-c", ALL_OF_A_FIELD, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env=kept | environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    statuses = [line for line in done.stdout.splitlines() if line.strip("0123 ") == ""]
    assert statuses == ["0", "0", "0 0"], done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "sharp.fits").is_file()
    # That alone which the program above asks for at its end.
    assert told == ["GET http://control.invalid/seen HTTP/1.1\r\n"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_interrupt(number, monkeypatch, tmp_path, capsys):
    def simulate(*args, **kwargs):
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr("splus_srgan.simulate.field.simulate_field", simulate)
    before = signal.getsignal(number)
    assert main(["simulate", "-o", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err.startswith("splus-srgan: interrupted")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("moment", ["import", "start"])
def test_an_interrupt_before_the_work_is_no_traceback(moment, monkeypatch, capsys):
    """Python and the arguments take a second or more, in which Ctrl-C may come as well."""

    class Interrupted:
        def __getattr__(self, name):
            raise KeyboardInterrupt

    if moment == "import":
        monkeypatch.setitem(sys.modules, "splus_srgan.cli.main", Interrupted())
    else:
        monkeypatch.setattr(cli, "_parsers", lambda: Interrupted().parse)
    assert entry.main() == 130
    assert capsys.readouterr().err == "splus-srgan: interrupted\n"


def test_a_hangup_that_is_ignored_stays_so(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "splus_srgan.cli.weights.run", lambda options: os.kill(os.getpid(), signal.SIGHUP)
    )
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["weights"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_fault_of_the_program_is_one_line(monkeypatch, capsys):
    def fail(options):
        raise KeyError("gone")

    monkeypatch.setattr("splus_srgan.cli.weights.run", fail)
    status, error = told(capsys, ["weights"])
    assert status == 1
    assert "unexpected KeyError: 'gone' (a fault of the program: --debug shows where)" in error
    with pytest.raises(KeyError):
        main(["weights", "--debug"])


def test_python_without_docstrings():
    """The options of train are described from docstrings, which ``python -OO`` takes away."""
    command = [sys.executable, "-OO", "-W", "ignore", "-m", "splus_srgan", "weights"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "splus-grz" in done.stdout
