# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
One generator, run in the ways in which others run theirs, beside ours.

The same weights on the same stretched image, all in one run and in turn: plain torch in
float32 in one piece, the tiling of Real-ESRGAN (tiles with a few pixels around them), the
sliding window of MONAI, ONNX Runtime and OpenVINO in float32; and ours, with its second
pass and without.  For the seed paper's generator, Keras beside them.  Seconds per megapixel of
the input, the share of the machine's matrix ceiling that the arithmetic of the generator
reaches (ceilings measured in the same run), and the largest difference from the image made
in one piece by torch.  What is not installed is said and left out.
"""

import math
import time
import warnings

import numpy as np
import torch
from _common import busy_note, make_parser, parse, print_table, write_table
from torch.utils.flop_counter import FlopCounterMode

from splus_srgan.enhance.runner import Runner
from splus_srgan.models.engines import make_engine, resolve_precision
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.utils.optional import has

PAPER = "paper"
TILE, TILE_PAD = 192, 10  # of Real-ESRGAN's tiles; the pad is its default
WINDOW, OVERLAP = 128, 0.25  # of MONAI's windows; the overlap is its default


def ceiling(dtype, *, side=2048, repeats=5):
    """Operations a second of the machine's largest matrix product."""
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    torch.mm(a, b)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def operations(generator, shape):
    """Floating-point operations of one pass over an image, a multiply-add counted as two."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        generator(torch.zeros(1, *shape))
    return counter.get_total_flops()


def in_one_piece(generator):
    """Give plain torch, the whole image at once, as a training script does."""

    def run(image):
        with torch.inference_mode():
            return generator(torch.from_numpy(image)[None])[0].numpy()

    return run


def in_padded_tiles(generator):
    """Real-ESRGAN's way: tiles with a fixed pad, whatever the receptive field."""
    whole = in_one_piece(generator)

    def run(image):
        n_band, ny, nx = image.shape
        fine = np.empty((n_band, 2 * ny, 2 * nx), np.float32)
        for top in range(0, ny, TILE):
            for left in range(0, nx, TILE):
                bottom, right = min(top + TILE, ny), min(left + TILE, nx)
                first_y, first_x = max(top - TILE_PAD, 0), max(left - TILE_PAD, 0)
                part = image[:, first_y : bottom + TILE_PAD, first_x : right + TILE_PAD]
                made = whole(np.ascontiguousarray(part))
                rows = slice(2 * (top - first_y), 2 * (bottom - first_y))
                columns = slice(2 * (left - first_x), 2 * (right - first_x))
                fine[:, 2 * top : 2 * bottom, 2 * left : 2 * right] = made[:, rows, columns]
        return fine

    return run


def in_sliding_windows(generator):
    """MONAI's way: overlapping windows, of which the mean is taken."""
    from monai.inferers import sliding_window_inference

    def run(image):
        size = tuple(min(WINDOW, n) for n in image.shape[1:])
        with torch.inference_mode():
            made = sliding_window_inference(
                torch.from_numpy(image)[None], size, 1, generator, overlap=OVERLAP
            )
        return made[0].numpy()

    return run


def in_onnx_runtime(generator, shape):
    """ONNX Runtime in float32, on the CPU."""
    import io

    import onnxruntime

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(generator, (torch.zeros(1, *shape),), file, dynamo=False)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        file.getvalue(), settings, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image[None]})[0][0]


def in_keras(n_bands, shape):
    """The seed paper's generator in Keras; its weights are drawn anew, so it is timed alone."""
    from _keras_recipe import make_generator

    if shape[1] != shape[2]:
        raise ValueError(f"the shape must be square for Keras; got {shape}")
    model = make_generator(shape[1], n_bands)
    return lambda image: model.predict_on_batch(image.transpose(1, 2, 0)[None])


def engine_runner(generator, engine, precision):
    """One engine of ours, the image in one piece, one pass."""
    return make_engine(generator, device="cpu", engine=engine, precision=precision)


def ours(card, precision):
    """The way from the enhancer: blocks with their halo, and the second pass of the model card."""
    runner = Runner(card, "cpu", precision, "auto", False)
    return lambda image: runner.generate(image, block_size=384, bar=None)


def peers(generator, card, shape, precision):
    """
    All ways to run a generator.

    Returns
    -------
    ways : dict of str to callable
        Each takes an image and gives one of twice the size.
    absent : list of str
        What is not installed.
    """
    ways, absent = {"torch float32, one piece": in_one_piece(generator)}, []
    ways["torch float32, padded tiles"] = in_padded_tiles(generator)
    optional = {
        "monai": ("MONAI sliding window", lambda: in_sliding_windows(generator)),
        "onnxruntime": ("ONNX Runtime float32", lambda: in_onnx_runtime(generator, shape)),
        "openvino": (
            "OpenVINO float32",
            lambda: engine_runner(generator, "openvino", "float32"),
        ),
    }
    if card is None:
        optional["tensorflow"] = ("Keras", lambda: in_keras(shape[0], shape))
    for module, (name, make) in optional.items():
        if has(module):
            ways[name] = make()
        else:
            absent.append(module)
    if card is None:
        ways["ours, one pass"] = engine_runner(generator, "auto", precision)
    else:
        ways["ours, one pass"] = engine_runner(generator, "auto", precision)
        ways["ours, as enhanced"] = ours(card, precision)
    return ways, absent


def timed(ways, image, repeats):
    """Run all ways in turn, the first round to warm up; seconds and what was made."""
    seconds, made = {name: [] for name in ways}, {}
    for number in range(repeats + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            made[name] = np.asarray(run(image))
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds, made


def compare(name, options, ceilings):
    """One generator: a row for each way."""
    card = None if name == PAPER else load_card(name)
    if card is None:
        torch.manual_seed(0)
        big = {"first_kernel": 9, "last_kernel": 9, "n_tail_features": 256}
        generator = SRResNet(3, norm="batch", output="tanh", **big).eval()
    else:
        generator = load_generator(card).eval()
    n_band = 3 if card is None else len(card.bands)
    shape = (n_band, options.side, options.side)
    image = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    precision = resolve_precision(options.precision, "cpu")
    ways, absent = peers(generator, card, shape, precision)
    if absent:
        print(f"{name}: left out, not installed: {', '.join(absent)}")
    seconds, made = timed(ways, image, options.repeats)
    work = operations(generator, shape)
    reference = made["torch float32, one piece"]
    rows = []
    for way, values in seconds.items():
        median = float(np.median(values))
        low = precision if way.startswith("ours") else "float32"
        differs = math.nan
        if made[way].shape == reference.shape:
            differs = float(np.abs(made[way] - reference).max())
        rows.append(
            {
                "generator": name,
                "way": way,
                "precision": low,
                "seconds_per_mpx": median / (options.side**2 / 1e6),
                "share_of_ceiling": work / median / ceilings[low],
                "times_as_fast_as_one_piece": float(
                    np.median(seconds["torch float32, one piece"]) / median
                ),
                "largest_difference": differs,
            }
        )
    return rows


def main():
    """Run."""
    parser = make_parser(__doc__)
    parser.add_argument("--side", type=int, default=512, help="of the image; default 512")
    parser.add_argument("--repeats", type=int, default=5, help="of each timing; default 5")
    options = parse(parser)
    # Where the processor has no bfloat16, its emulation is no ceiling of anything.
    kinds = dict.fromkeys(("float32", resolve_precision("auto", "cpu"), options.precision))
    ceilings = {kind: ceiling(getattr(torch, kind)) for kind in kinds if kind != "auto"}
    told = ", ".join(f"{name} {value / 1e12:.3f}" for name, value in ceilings.items())
    print(f"ceiling  {told} TFLOP/s ({torch.get_num_threads()} threads)")
    rows = [row for name in (*options.weights, PAPER) for row in compare(name, options, ceilings)]
    print_table(
        f"{options.side} x {options.side} pixels, medians of {options.repeats} in turn; "
        "differences in stretched units",
        ("generator, way", "s/Mpx", "of ceiling", "times torch", "differs by"),
        [
            (
                f"{r['generator']}: {r['way']} ({r['precision']})",
                f"{r['seconds_per_mpx']:.2f}",
                f"{r['share_of_ceiling']:.2f}",
                f"{r['times_as_fast_as_one_piece']:.2f}",
                f"{r['largest_difference']:.1e}",
            )
            for r in rows
        ],
    )
    print(f"  ({busy_note()})")
    write_table(options.output, rows)


if __name__ == "__main__":
    main()
