# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The command ``splus-srgan``: each subcommand is a thin skin over one public function.

Nothing that takes long to import is imported before the arguments are known to be
right, so that ``--help`` and mistakes are answered at once.
"""

import json
import signal
import sys
import threading
import time
import warnings
from argparse import ArgumentError
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt

from splus_srgan._version import __version__
from splus_srgan.cli import evaluate as _cli_evaluate
from splus_srgan.cli import pairs as _cli_pairs
from splus_srgan.cli import train as _cli_train
from splus_srgan.cli.common import output_stem, progress
from splus_srgan.utils.files import check_folder, make_folder

__all__ = ["build_parser", "main"]

PROGRAM = "splus-srgan"

_UNCERTAINTY = {"none": False, "generator": True, "ensemble": "ensemble"}

# Raised for what the user gave: told in one line.  Anything else is a bug: told in full.
_USER_ERRORS = (ValueError, TypeError, OSError, ImportError, MemoryError, FloatingPointError)


def main(arguments=None):
    """
    Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    status : int
        0 for success, 2 for bad input, 130 when interrupted.
    """
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
    except ArgumentError as error:
        return _fail(error, hint=f"see {PROGRAM} --help")
    command = options.command
    options = options[command]
    with warnings.catch_warnings():
        import astropy  # noqa: F401 (its import takes warnings over: only now are they ours)

        warnings.showwarning = _show_warning
        try:
            _COMMANDS[command](options)
        except KeyboardInterrupt as error:
            told = f": {error}" if str(error) else ""
            print(f"{PROGRAM}: interrupted{told}", file=sys.stderr)
            return 130
        except _USER_ERRORS as error:
            if options.debug:
                raise
            return _fail(error)
    return 0


def _fail(error, *, hint=None):
    """Report an error in one line and give the exit status of bad input."""
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"{PROGRAM}: error: {message}" + (f" ({hint})" if hint else ""), file=sys.stderr)
    return 2


def _show_warning(message, category, *args, **kwargs):
    print(f"{PROGRAM}: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _enhance(options):
    from splus_srgan.images.io.fields import read_bands

    target = Path(options.output) / f"{output_stem(options.files)}_sr.fits"
    _check_free([target], options.overwrite)
    field = read_bands(options.files, bands=options.bands, unit=options.unit)

    from splus_srgan.enhance.enhancer import SRGANEnhancer

    enhancer = SRGANEnhancer(
        options.weights,
        device=options.device,
        precision=options.precision,
        block_size=options.block_size,
        uncertainty=_UNCERTAINTY[options.uncertainty],
        progress_bar=progress,
    )
    start = time.perf_counter()
    make_folder(target.parent)
    with _tidy_termination():
        enhancer.to_file(field, target, overwrite=options.overwrite)
    seconds = time.perf_counter() - start
    ny, nx = (2 * n for n in next(iter(field.values())).shape)
    print(f"{target}: {', '.join(field)}; {ny} x {nx} pixels in {seconds:.1f} s")


@contextmanager
def _tidy_termination():
    """Take SIGTERM, as batch systems send it at the end of the time, for Ctrl-C: nothing stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*args):
        raise KeyboardInterrupt("terminated")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _simulate(options):
    folder = Path(options.output)
    paths = [folder / name for name in ("input.fits", "target.fits", "sources.ecsv")]
    _check_free(paths, options.overwrite)

    from splus_srgan.images.io.fields import write_bands
    from splus_srgan.simulate.field import simulate_field

    shape, bands = tuple(options.shape), tuple(options.bands)
    field = simulate_field(options.seed, shape=shape, bands=bands, kind=options.kind)
    make_folder(folder)
    write_bands(paths[0], field.observed, overwrite=options.overwrite)
    write_bands(paths[1], field.target, overwrite=options.overwrite)
    field.sources.write(paths[2], overwrite=options.overwrite)
    print("\n".join(str(path) for path in paths))


def _demo(options):
    from splus_srgan.cli.demo import run_demo

    result = run_demo(
        options.output,
        seed=options.seed,
        shape=tuple(options.shape),
        weights=options.weights,
        device=options.device,
        overwrite=options.overwrite,
        progress_bar=progress,
    )
    print(result.report())


def _weights(options):
    from splus_srgan.models import weights

    if options.action == "show":
        if options.name is None:
            raise ValueError(f"weights show needs a name: one of {', '.join(weights.available())}")
        print(json.dumps(weights.load_card(options.name).to_dict(), indent=2))
        return
    for name in [options.name] if options.name else weights.available():
        if options.action == "verify":
            weights.verify(name)
            print(f"{name}: the file has the hash that its card states")
        else:
            card = weights.load_card(name).to_dict()
            print(f"{name}: bands {', '.join(card['bands'])}")


def _fetch(options):
    _cli_pairs.run_fetch(options, progress)


def _match(options):
    _cli_pairs.run_match(options, progress)


def _train(options):
    _cli_train.run(options)


def _evaluate(options):
    _cli_evaluate.run(options, progress_bar=progress)


_COMMANDS = {"enhance": _enhance, "simulate": _simulate, "demo": _demo, "weights": _weights}
_COMMANDS |= {"fetch": _fetch, "match": _match, "train": _train, "evaluate": _evaluate}


def _check_free(paths, overwrite):
    """Refuse before any work what could not be written after it."""
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; give --overwrite to replace it")
        check_folder(path.parent)


def build_parser():
    """
    Build the parser of the command line.

    Returns
    -------
    parser : `jsonargparse.ArgumentParser`
        Parser with one subcommand per task.
    """
    parser = ArgumentParser(
        prog=PROGRAM,
        description="Super-resolution of S-PLUS images that keeps flux, WCS, masks and units.",
        version=__version__,
        exit_on_error=False,
    )
    commands = parser.add_subcommands(dest="command", title="commands")
    builders = (_enhance_parser, _simulate_parser, _demo_parser, _weights_parser)
    builders += (_fetch_parser, _match_parser, _train_parser, _evaluate_parser)
    for build in builders:
        name, description, subparser = build()
        subparser.add_argument("--debug", action="store_true", help="show where an error arose")
        commands.add_subcommand(name, subparser, help=description)
    return parser


def _subparser(description):
    parser = ArgumentParser(description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="read options from this YAML file")
    return parser


def _add_output(parser, default=None):
    parser.add_argument(
        "-o", "--output", metavar="DIR", default=default, required=default is None,
        help="folder to write to; made if needed",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def _add_engine(parser):
    parser.add_argument("--weights", default="auto", help="a shipped name, or the path of a card")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")


def _add_field(parser, seed, shape):
    parser.add_argument(
        "--seed", type=NonNegativeInt, default=seed, help="the same seed, the same field"
    )
    parser.add_argument(
        "--shape", type=int, nargs=2, metavar=("NY", "NX"), default=shape, help="input pixels"
    )


def _enhance_parser():
    description = "bring the images of a field onto a grid of half the pixel size"
    parser = _subparser(description)
    parser.add_argument("files", nargs="+", metavar="FILE", help="FITS files of one field")
    _add_output(parser)
    _add_engine(parser)
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument(
        "--block-size", type=int | Literal["auto"], default="auto", help="auto, or input pixels"
    )
    parser.add_argument(
        "--uncertainty",
        type=Literal["none", "generator", "ensemble"],
        default="none",
        help="of each pixel: none, what the generator predicts, or the spread of eight runs",
    )
    parser.add_argument(
        "--bands", nargs="+", metavar="BAND",
        help="bands to take; where headers do not say them, those of the files, in order",
    )  # fmt: skip
    parser.add_argument("--unit", help="unit of the pixels where a file states none")
    return "enhance", description, parser


def _simulate_parser():
    description = "simulate a field as S-PLUS sees it, with its truth"
    parser = _subparser(description)
    _add_output(parser)
    _add_field(parser, 1, [128, 128])
    parser.add_argument("--bands", nargs="+", metavar="BAND", default=["g", "r", "z"], help="bands")
    parser.add_argument("--kind", help="galaxy, fill, cluster, stars or blank; drawn if not given")
    return "simulate", description, parser


def _demo_parser():
    description = "simulate a field, enhance it, and show what was gained"
    parser = _subparser(description)
    _add_output(parser, default=f"{PROGRAM}-demo")
    _add_field(parser, 15, [256, 256])
    _add_engine(parser)
    return "demo", description, parser


def _weights_parser():
    description = "list the shipped weights, show a card, or verify the files"
    parser = _subparser(description)
    actions = ("list", "show", "verify")
    parser.add_argument("action", nargs="?", choices=actions, default="list", help="what to do")
    parser.add_argument("name", nargs="?", help="registered name; all by default")
    return "weights", description, parser


def _fetch_parser():
    parser = _subparser(_cli_pairs.FETCH)
    _cli_pairs.add_fetch_options(parser)
    return "fetch", _cli_pairs.FETCH, parser


def _match_parser():
    parser = _subparser(_cli_pairs.MATCH)
    _cli_pairs.add_match_options(parser)
    return "match", _cli_pairs.MATCH, parser


def _train_parser():
    parser = ArgumentParser(description=_cli_train.DESCRIPTION, exit_on_error=False)
    _cli_train.add_arguments(parser)
    return "train", _cli_train.DESCRIPTION, parser


def _evaluate_parser():
    parser = _subparser(_cli_evaluate.DESCRIPTION)
    _add_output(parser)
    _add_engine(parser)
    _cli_evaluate.add_arguments(parser)
    return "evaluate", _cli_evaluate.DESCRIPTION, parser
