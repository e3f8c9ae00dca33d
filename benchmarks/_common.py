# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What the benchmarks share: options, the header that says what ran where, tables, statistics."""

import argparse
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from astropy.table import QTable

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.evaluation.measure.regions import psnr_by_region
from splus_srgan.images.io.fields import stated_sky
from splus_srgan.models.weights import load_card
from splus_srgan.pixels.psf import TARGET_PSF, core_profile
from splus_srgan.simulate.field import PSFS
from splus_srgan.utils.quiet import quiet

TEST_SEED, VALIDATION_SEED = 3, 2
_simulation = {"psf": PSFS[0]}  # `parse` changes it: the fields of a run are all of one kind
CARDS = ["splus-grz", "splus-any"]
BANDS = ("g", "r", "z")
TILES = (
    "MC0050",
    "SPLUS-s23s18",
    "SPLUS-s25s12",
    "SPLUS-s25s14",
    "SPLUS-s26s19",
    "SPLUS-s28s28",
    "STRIPE82-0019",
    "SPLUS-s24s32",
    "blank-0.1+0.1",
)
_PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "openvino",
    "astropy",
    "photutils",
    "scikit-image",
    "bm3d",
    "distributed",
    "splus_srgan",
)


def make_parser(description, *, fields=40):
    """Options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--fields",
        type=int,
        default=fields,
        metavar="N",
        help="simulated test fields, seeds (3, k); default %(default)s",
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=CARDS,
        metavar="CARD",
        help="names or paths of weights; default: %(default)s",
    )
    parser.add_argument(
        "--psf",
        default=_simulation["psf"],
        choices=PSFS,
        help="PSFs of the simulated fields; default %(default)s, with wings",
    )
    parser.add_argument("--no-fit-stars", action="store_true", help="leave stars to the generator")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--engine", default="auto", choices=("auto", "torch", "openvino"))
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE.ecsv",
        help="write every single measurement there",
    )
    return parser


def add_real(parser):
    """The option for the folder of real data, without which the benchmark does not run."""
    folder = os.environ.get("SPLUS_SRGAN_REAL_DATA")
    parser.add_argument(
        "--real",
        type=Path,
        default=folder,
        required=folder is None,
        help="folder of real data; default: environment variable SPLUS_SRGAN_REAL_DATA",
    )


def parse(parser):
    """Parse the options and print what runs where."""
    options = parser.parse_args()
    _simulation["psf"] = options.psf
    print_header(options.weights)
    print("options  " + "  ".join(f"{key}={value}" for key, value in vars(options).items()))
    return options


def print_header(weights=()):
    """Print machine, versions and weights."""
    print(
        f"machine  {_cpu_name()}, {os.cpu_count()} cores ({len(_usable_cores())} usable), "
        f"load {_load():.1f}, {platform.system()} {platform.machine()}"
    )
    print(
        f"versions python {platform.python_version()}, "
        + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    )
    for name in weights:
        card = load_card(name)
        print(f"weights  {card.name} {card.version} sha256 {card.sha256[:16]}")
    sys.stdout.flush()


def _cpu_name():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def _usable_cores():
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())


def _load():
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "(absent)"


def busy_note():
    """A line that says whether other work disturbs the timings."""
    load, cores = _load(), len(_usable_cores())
    if load > 0.5 + 1.0:
        return f"load {load:.1f} on {cores} cores: the machine is BUSY, timings are upper limits"
    return f"load {load:.1f} on {cores} cores: nothing else runs"


def fields(number, *, seed=TEST_SEED, **keywords):
    """Give the simulated fields with seeds ``(seed, k)``, and say how far it is."""
    for k in range(number):
        if sys.stderr.isatty():
            print(f"\rfield {k + 1}/{number} ", end="", file=sys.stderr)
        yield k, simulate_field((seed, k), **({"bands": BANDS} | _simulation | keywords))
    if sys.stderr.isatty():
        print("\r" + 20 * " " + "\r", end="", file=sys.stderr)


def make_enhancers(options, **keywords):
    """One enhancer for each model card."""
    chosen = {"precision": options.precision, "engine": options.engine}
    chosen |= {"fit_stars": not options.no_fit_stars} | keywords
    names = [load_card(weights).name for weights in options.weights]
    if len(set(names)) < len(names):
        raise SystemExit(f"--weights must have different names in their model cards; got {names}")
    return {
        name: SRGANEnhancer(weights, **chosen)
        for name, weights in zip(names, options.weights, strict=True)
    }


def enhance(enhancer, images, **given):
    """Enhance a field without its warnings."""
    with quiet():
        return enhancer(images, **given)


def without_sky(made):
    """Outputs by band without the sky that their headers state."""
    return {b: np.asarray(one.data, float) - stated_sky(one.meta) / 4 for b, one in made.items()}


def sharpened(made):
    """Whether an output has the PSF of the truth; methods that only denoise state none."""
    return next(iter(made.values())).psf is not None


def by_region(field, band, image, *, sharp):
    """PSNR (dB) of a band: whole frame, isophote of S/N > 3, sky, and at the PSF of the input."""
    seen = field.conditions[band]
    wings = (seen.wings,)
    return psnr_by_region(
        field.target[band].data,
        image,
        sigma=field.sigma[band],
        zero_point=seen.zero_point,
        psf=core_profile(seen.fwhm, seen.beta, seen.wings) + wings,
        image_psf=TARGET_PSF + wings if sharp else None,
    )


def write_table(path, rows, *, units=None, meta=None):
    """Write rows of plain values as an ECSV table."""
    if path is None:
        return
    table = QTable(rows=rows)
    for name, unit in (units or {}).items():
        if name in table.colnames:
            table[name].unit = unit
    table.meta.update(meta or {})
    table.meta["versions"] = {name: _version(name) for name in _PACKAGES}
    table.meta["machine"] = _cpu_name()
    table.write(path, format="ascii.ecsv", overwrite=True)
    print(f"\nwrote {path}: {len(table)} rows")


def print_table(title, names, rows):
    """Print aligned columns; numbers are given as text."""
    print(f"\n{title}")
    cells = [list(map(str, names)), *[list(map(str, row)) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    for row in cells:
        first, *others = zip(row, widths, strict=True)
        print("  " + first[0].ljust(first[1]) + "".join("  " + c.rjust(w) for c, w in others))
    sys.stdout.flush()
