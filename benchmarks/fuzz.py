# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Hostile input: what becomes of files that are broken, cut, absurd or made to harm.

Each case is drawn from a seed and run in a process of its own, with limits on time and
memory: mutated headers and pixels of FITS files (read, and enhanced), model cards and weights,
configurations, tables of galaxies, folders of pairs and answers of a service.  Allowed are a
result and a named error in one line; counted apart are raw errors (of a kind that no user
can make sense of), tracebacks on the command line, crashes, hangs, too much memory, and
files left behind.  Exit status 1 if there was one of these.
"""

import argparse
import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
import string
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from _common import print_header, print_table
from astropy.io import fits

from splus_srgan import read_bands, simulate_field, write_bands
from splus_srgan.exceptions import RegistrationError, ServiceError, WeightsError

SECONDS, MEMORY = 20, 2 << 30
SOUND = ("result", "error")
_ERRORS = (ValueError, TypeError, OSError, MemoryError, ImportError, RegistrationError)
_ERRORS += (ServiceError, WeightsError)
# Kinds of ValueError and OSError that come from inside and say nothing to a user.
_RAW = (UnicodeError, json.JSONDecodeError)
_ABSURD = ("-1", "0", "2", "3", "65536", "4294967296", "1E400", "-1E400", "NaN", "T", "F")
_ABSURD += ("'text'", "R", "''", "1.5", "-32", "1E-320", "(1,2)", "2147483647", "0x10", "'É'")
_KEYS = """
    SIMPLE BITPIX NAXIS NAXIS1 NAXIS2 NAXIS3 EXTEND PCOUNT GCOUNT TFIELDS BSCALE BZERO BLANK
    BUNIT BANDS BAND FILTER SATURATE GAIN EXPTIME CRPIX1 CRPIX2 CRVAL1 CRVAL2 CTYPE1 CTYPE2
    CD1_1 CD1_2 CD2_1 CD2_2 CDELT1 CDELT2 PC1_1 PC2_2 CUNIT1 CUNIT2 WCSAXES LONPOLE LATPOLE
    RADESYS EQUINOX PV1_1 PV2_1 A_ORDER B_ORDER A_2_0 B_0_2 AP_ORDER LTV1 LTM1_1 EXTNAME
    XTENSION FWHMMEAN FWHMBETA PSFWINGS SRSKY SRFSKY SRZP MAGZERO TELRA CROTA2 D2IMDIS1 CPDIS1
    DP1 MJD-OBS DATE-OBS BSOFTEN BOFFSET DATASUM CHECKSUM ZIMAGE ZCMPTYPE ZNAXIS1 ZTILE1 THEAP
"""


def sound_files(folder):
    """The files that cases are made of."""
    field = simulate_field((3, 7), shape=(32, 40), bands=("g", "r"))
    sharp = simulate_field((3, 7), shape=(32, 40), bands=("g", "r")).target
    write_bands(folder / "bands.fits", field.observed)
    write_bands(folder / "sharp.fits", sharp)
    image = field.observed["r"]
    fits.PrimaryHDU(image.data, image.header).writeto(folder / "plain.fits")
    fits.HDUList(
        [fits.PrimaryHDU(), fits.CompImageHDU(image.data.astype(np.float32), image.header)]
    ).writeto(folder / "packed.fits.fz")
    return folder


# --- Cases: each writes its files into a folder and gives what is to be done with them. ---


def headers(rng, sound, folder):
    """Cards of a FITS file replaced by absurd ones, and added."""
    source = rng.choice(("bands.fits", "plain.fits", "packed.fits.fz"))
    raw = bytearray((sound / source).read_bytes())
    places = [k for k in range(0, len(raw) - 80, 80) if raw[k + 8 : k + 10] == b"= "]
    ends = [k for k in range(0, len(raw) - 80, 80) if raw[k : k + 80] == b"END".ljust(80)]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        card = f"{rng.choice(_KEYS.split()):8}= {rng.choice(_ABSURD):>20}".ljust(80)[:80]
        if rng.random() < 0.3:
            known = rng.choice(places)
            card = raw[known : known + 10].decode("latin-1") + card[10:]
        place = rng.choice([*places, *ends[:1]]) if rng.random() < 0.8 else rng.choice(places)
        raw[place : place + 80] = card.encode("latin-1", "replace").ljust(80)[:80]
    path = folder / source
    path.write_bytes(raw)
    return lambda: read_bands(path)


def data(rng, sound, folder):
    """Bytes of a FITS file flipped, and files cut short."""
    source = rng.choice(("bands.fits", "plain.fits", "packed.fits.fz"))
    raw = bytearray((sound / source).read_bytes())
    if rng.random() < 0.5:
        del raw[rng.randrange(len(raw)) :]
    else:
        for _ in range(rng.choice((1, 10, 1000))):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    path = folder / source
    path.write_bytes(raw)
    return lambda: read_bands(path)


def pixels(rng, sound, folder):
    """Wild pixels and sound headers, through the enhancer and into a file."""
    images = read_bands(sound / "bands.fits")
    image = images["r"]
    values = np.array(image.data)
    wild = rng.choice((1e4, -1e4, 1e30, -1e30, 3e38, np.inf, np.nan, 0.0, 1e-40))
    kind = rng.choice(("one", "row", "block", "scale", "all"))
    y, x = rng.randrange(values.shape[0]), rng.randrange(values.shape[1])
    if kind == "one":
        values[y, x] = wild
    elif kind == "row":
        values[y] = wild
    elif kind == "block":
        values[y : y + 8, x : x + 8] = wild
    elif kind == "scale":
        values *= rng.choice((1e-38, 1e-20, 1e20, 1e30, -1))
    else:
        values[...] = wild
    image.data = values
    target = folder / "out.fits"

    def run():
        from splus_srgan import SRGANEnhancer

        SRGANEnhancer("splus-any", device="cpu").to_file({"r": image}, target)
        made = read_bands(target)["r"]
        valid = ~np.asarray(made.mask) if made.mask is not None else slice(None)
        if not np.isfinite(made.data[valid]).all():
            raise AssertionError("pixels without a mask that are not finite")

    return run


def model_cards(rng, sound, folder):
    """Model cards with fields of another type, absent or absurd; weights with flipped bytes."""
    from splus_srgan.models.weights import load_card, load_generator

    card = load_card("splus-any").path
    raw = json.loads(card.with_suffix(".json").read_text())
    weights = bytearray(card.with_suffix(".safetensors").read_bytes())
    if rng.random() < 0.8:
        for _ in range(rng.choice((1, 2))):
            _mutate(raw, rng)
    else:
        for _ in range(rng.choice((1, 20))):
            weights[rng.randrange(4096)] = rng.randrange(256)
    path = folder / "splus-any.json"
    text = json.dumps(raw)
    if rng.random() < 0.1:
        text = text[: rng.randrange(len(text))]
    path.write_text(text)
    path.with_suffix(".safetensors").write_bytes(weights)
    return lambda: load_generator(load_card(path))


def _mutate(node, rng):
    """Replace, remove or add something somewhere in nested lists and dictionaries."""
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = rng.choice(keys)
        if rng.random() < 0.5 or not isinstance(node[key], dict | list):
            wild = (None, -1, 0, 1e308, float("nan"), "text", "", [], {}, True, [[[]]], "../x")
            if rng.random() < 0.2:
                del node[key]
            else:
                node[key] = rng.choice(wild)
            return
        node = node[key]


def configs(rng, sound, folder):
    """YAML of the command line: wrong types, anchors, deep nesting, text that is no YAML."""
    kind = rng.choice(("types", "anchors", "deep", "noise", "self"))
    if kind == "types":
        keys = ("weights", "overwrite", "output", "device", "block_size", "files", "bands", "name")
        values = ("false", '"false"', "[1, 2]", "{a: 1}", "-1", ".nan", "../x", "null", "1e999")
        text = "".join(f"{rng.choice(keys)}: {rng.choice(values)}\n" for _ in range(3))
    elif kind == "anchors":
        text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        text += "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 10))
    elif kind == "deep":
        text = "output: " + "[" * 3000 + "]" * 3000
    elif kind == "self":
        text = "a: &a {b: *a}\n"
    else:
        text = "".join(rng.choice(string.printable) for _ in range(200))
    path = folder / "options.yaml"
    path.write_text(text)
    command = rng.choice(("enhance", "train", "simulate", "evaluate"))
    if command == "train":
        arguments = ["train", str(path), "--print_config"]
    else:
        arguments = [command, "--config", str(path)]
        arguments += [str(folder / "none.fits")] if command == "enhance" else []
        arguments += ["-o", str(folder / "out"), "--overwrite"] if rng.random() < 0.3 else []
        if command != "enhance":
            arguments += ["--seed", "-1"] if command == "simulate" else ["--simulate", "0"]
    return lambda: _command(arguments)


def _command(arguments):
    """Run the command line; a traceback in what it says is a fault."""
    from splus_srgan.cli.main import main

    said = io.StringIO()
    before, sys.stderr = sys.stderr, said
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    finally:
        sys.stderr = before
    if "Traceback" in said.getvalue():
        raise AssertionError("a traceback on the command line")
    if status:
        raise ValueError(said.getvalue().strip().splitlines()[-1] if said.getvalue() else status)


def tables(rng, sound, folder):
    """Tables of galaxies for ``fetch``, broken; no survey answers."""
    text = "name,ra,dec\na,10.0,-1.0\nb,11.0,-1.5\n"
    kind = rng.choice(("cell", "bytes", "columns"))
    if kind == "cell":
        cells = ("nan", "1e400", "", "x", "../../evil", "\x1b[31m", "-91", "a/b", "'", '"')
        text = text.replace(rng.choice(("10.0", "-1.5", "a", "ra", "b")), rng.choice(cells), 1)
    elif kind == "columns":
        text = rng.choice(("", "ra\n1\n", "name,ra\na,1\n", "ra,dec\n", "name,ra,dec\na,1\n"))
    raw = bytearray(text.encode())
    if kind == "bytes":
        for _ in range(3):
            raw[rng.randrange(len(raw))] = rng.randrange(128)
    path = folder / "galaxies.csv"
    path.write_bytes(raw)
    pairs = folder / "pairs"

    def run():
        from astropy.table import Table

        from splus_srgan.pairs.folder.pairs import fetch_pairs

        sources = {f"{side}_source": _gone for side in ("input", "target")}
        fetch_pairs(Table.read(path), pairs, **sources)
        if not all(pairs in made.parents for made in folder.rglob("record.json")):
            raise AssertionError("a pair outside the folder")

    return run


def _gone(position):
    """Stand in for a survey that does not answer."""
    raise ServiceError("nobody answers")


_gone.release = "dr0"


def pair_folders(rng, sound, folder):
    """Folders of pairs with a tampered record."""
    from splus_srgan.pairs.folder.pairs import PairFolder

    shutil.copytree(sound / "pairs", folder / "pairs")
    path = folder / "pairs" / "one" / "record.json"
    raw = json.loads(path.read_text())
    _mutate(raw, rng)
    text = json.dumps(raw)
    path.write_text(text if rng.random() < 0.9 else text[: rng.randrange(len(text))])

    def run():
        pairs = PairFolder(folder / "pairs")
        for name in pairs:
            pairs[name]

    return run


def answers(rng, sound, folder):
    """Files as a service may send them: cut, of another kind, with wild headers."""
    from splus_srgan.surveys.legacy import read_cutout

    image = np.random.default_rng(rng.randrange(1 << 30)).normal(size=(2, 32, 32))
    hdu = fits.PrimaryHDU(image.astype(np.float32))
    hdu.header["BANDS"], hdu.header["IMAGETYP"] = "gr", "IMAGE"
    hdu.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 0.0})
    hdu.header.update({"CD1_1": -7e-5, "CD2_2": 7e-5, "CRPIX1": 16.5, "CRPIX2": 16.5})
    buffer = io.BytesIO()
    hdu.writeto(buffer)
    raw = bytearray(buffer.getvalue())
    kind = rng.choice(("cut", "bytes", "text", "card"))
    if kind == "cut":
        del raw[rng.randrange(len(raw)) :]
    elif kind == "bytes":
        for _ in range(30):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    elif kind == "text":
        raw = bytearray(b"<html>no such layer\x1b[31m</html>")
    else:
        place = 80 * rng.randrange(3, 20)
        card = f"{rng.choice(_KEYS.split()):8}= {rng.choice(_ABSURD):>20}".ljust(80)[:80]
        raw[place : place + 80] = card.encode("latin-1", "replace")[:80]
    path = folder / "answer.fits"
    path.write_bytes(raw)
    return lambda: read_cutout(path)


KINDS = {
    case.__name__: case
    for case in (
        headers, data, pixels, model_cards, configs, tables, pair_folders, answers,
    )
}  # fmt: skip


# --- Running them. ---


def _warm_up(sound):
    """Import once what the cases need, so that none pays for it; no thread must be running."""
    import splus_srgan.cli.main
    import splus_srgan.surveys.legacy
    import splus_srgan.training.config.training
    from splus_srgan.models.weights import load_card, load_generator
    from splus_srgan.pairs.folder.pairs import match_files

    load_generator(load_card("splus-any"))
    splus_srgan.cli.main.build_parser()
    match_files([sound / "bands.fits"], [sound / "sharp.fits"], sound / "pairs", name="one")


def outcome(kind, seed, sound):
    """Run one case in a process of its own; give its class and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        reader, writer = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(reader)
            _child(kind, seed, sound, Path(folder), writer)
        os.close(writer)
        told = _wait(process, reader)
        os.close(reader)
        left = [p.name for p in Path(folder).rglob("*") if p.is_file() and _is_debris(p.name)]
        if left and told[0] in SOUND:
            return "left behind", ", ".join(left)
        return told


def _is_debris(name):
    return name.startswith(".") or name.endswith((".part", ".tmp"))


def _child(kind, seed, sound, folder, writer):
    """Run in the process of the case: it never returns."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    warnings.simplefilter("ignore")
    try:
        # Text seeds are hashed the same way in every process and version.
        run = KINDS[kind](random.Random(f"{kind} {seed}"), sound, folder)
        told = _classify(run)
    except BaseException:
        told = "case", traceback.format_exc()
    os.write(writer, pickle.dumps((told[0], told[1][-2000:])))
    os._exit(0)


def _classify(run):
    """Call and tell what came of it."""
    try:
        run()
    except MemoryError:
        return "memory", "MemoryError"
    except _RAW as error:
        return "raw", f"{type(error).__name__}: {error}"
    except _ERRORS as error:
        text = str(error)
        if not text.strip() or "\n" in text.strip() or "Traceback" in text:
            return "raw", f"{type(error).__name__}: {text!r}"
        return "error", f"{type(error).__name__}: {text}"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "raw", f"{type(error).__name__}: {error} ({Path(where.filename).name})"
    return "result", ""


def _wait(process, reader):
    """Class of a case from the end of its process."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            said = os.read(reader, 1 << 16)
            if said:
                return pickle.loads(said)
            return "crash", f"signal {os.waitstatus_to_exitcode(status)}"
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "hang", f"longer than {SECONDS} s"


def main():
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=2500, help="of each kind; default 2500")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    parser.add_argument("--errors", action="store_true", help="print what named errors say, too")
    parser.add_argument("--show", type=int, default=5, help="faults to print of each class")
    options = parser.parse_args()
    print_header()
    print(f"seeds    {options.seed} to {options.seed + options.cases - 1} of each kind")
    faults, rows, start = [], [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        sound = sound_files(Path(folder))
        _warm_up(sound)
        for kind in options.kinds:
            counts = Counter()
            for seed in range(options.seed, options.seed + options.cases):
                name, said = outcome(kind, seed, sound)
                counts[name] += 1
                if name not in SOUND or (options.errors and name == "error"):
                    faults.append((kind, seed, name, said))
            rows.append((kind, counts))
    classes = (*SOUND, "raw", "memory", "crash", "hang", "left behind", "case")
    print_table(
        f"Outcomes, {time.monotonic() - start:.0f} s",
        ("kind", *classes),
        [(kind, *(counts[name] for name in classes)) for kind, counts in rows],
    )
    shown = Counter()
    for kind, seed, name, said in faults:
        shown[kind, name] += 1
        if shown[kind, name] <= options.show:
            print(f"  {kind} {seed}: {name}: {said.strip().splitlines()[-1][:300]}")
    return 1 if any(name not in SOUND for _, _, name, _ in faults) else 0


if __name__ == "__main__":
    sys.exit(main())
