# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Train the generator on simulated pairs, without a discriminator.

This is how the shipped weights were made::

    python -m splus_srgan.training.supervised render one --number 2600
    python -m splus_srgan.training.supervised render two --number 3900 --first 2600
    python -m splus_srgan.training.supervised train one -o first --minutes 95
    python -m splus_srgan.training.supervised train one -o second --minutes 18 \
        --start-from first --power 2 --peak-rate 2e-4 --seed 10
    python -m splus_srgan.training.supervised train one two -o third --minutes 80 \
        --start-from second --dilations 2 4 8 4 2 --optimizer muon --peak-rate 4e-4 \
        --crop 72 --batch-size 4 --seed 20
    python -m splus_srgan.training.supervised train one two -o fourth --minutes 13 \
        --start-from third --dilations 2 4 8 4 2 --optimizer muon --peak-rate 2e-4 \
        --crop 72 --batch-size 4 --power 2 --seed 30
    python -m splus_srgan.training.supervised export fourth -o weights \
        --name splus-grz --version 0.2

with one thread, and in a like manner with ``--single-band`` for one band; the card of the weights
lists the stages with all options and steps.  (The first 2600 fields were rendered before the
simulation knew of astrometric errors between the bands.)

Training checkpoints itself; the same command goes on where it stopped.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

from splus_srgan.models.generator import SRResNet
from splus_srgan.models.weights import ANY_BAND, save_weights
from splus_srgan.simulate import TARGET_PSF
from splus_srgan.surveys.splus import PIXEL_SCALE
from splus_srgan.training.dataset import SEEDS, PairSet, render_pairs
from splus_srgan.training.losses import flux_loss, pixel_loss, stretch, unstretch

SOFTENING, RANGE = 3.0, 2.0
_WARM_UP = 300  # steps
_EMA = 0.999
_PIXEL_SCALE = {1: 1.0, 2: 15.0}  # makes both powers count alike beside the flux


def learning_rate(progress, step, peak):
    """Linear warm-up, then a cosine from ``peak`` to a hundredth of it at progress 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return peak * min(1.0, (step + 1) / _WARM_UP) * (0.01 + 0.99 * cosine)


class BodyMuon:
    """
    Muon for the kernels of the body, Adam for everything else, as one optimizer.

    Muon (Jordan et al. 2024) makes the momentum of a matrix orthogonal before it steps.  A
    kernel ``(out, in, ny, nx)`` is the matrix ``(out, in ny nx)``; its steps are scaled to
    the size of Adam's, so that one learning rate serves both.

    Parameters
    ----------
    generator : `~splus_srgan.models.generator.SRResNet`
        Generator in channels-last format.
    rate : float
        Learning rate.
    """

    def __init__(self, generator, rate):
        kernels = [
            parameter
            for part in (generator.blocks, generator.join, generator.tail)
            for parameter in part.parameters()
            if parameter.ndim == 4
        ]
        known = {id(parameter) for parameter in kernels}
        others = [p for p in generator.parameters() if id(p) not in known]
        # The same memory, seen as matrices: torch's Muon takes nothing else.
        self._views = [(kernel, torch.nn.Parameter(_as_matrix(kernel))) for kernel in kernels]
        matrices = [matrix for _, matrix in self._views]
        options = {"weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
        self._parts = (
            torch.optim.Adam(others, lr=rate, betas=(0.9, 0.99)),
            torch.optim.Muon(matrices, lr=rate, **options),
        )

    @property
    def param_groups(self):
        """Groups of both."""
        return [group for part in self._parts for group in part.param_groups]

    def zero_grad(self, set_to_none=True):
        """Forget the gradients."""
        self._parts[0].zero_grad(set_to_none=set_to_none)
        for kernel, matrix in self._views:
            kernel.grad = matrix.grad = None

    def step(self):
        """Take one step."""
        for kernel, matrix in self._views:
            matrix.grad = _as_matrix(kernel.grad).contiguous()
        for part in self._parts:
            part.step()

    def state_dict(self):
        """State of both."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state):
        """Restore both."""
        for part, saved in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def _as_matrix(kernel):
    return kernel.detach().permute(0, 2, 3, 1).flatten(1)


def make_optimizer(generator, name, rate):
    """Adam for all, or `BodyMuon`."""
    if name == "muon":
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(
                f"optimizer='muon' needs torch 2.9 or newer; this is torch {torch.__version__}. "
                "Take 'adam'"
            )
        return BodyMuon(generator, rate)
    return torch.optim.Adam(generator.parameters(), lr=rate, betas=(0.9, 0.99))


def batch(pairs, rng, size):
    """Draw a batch of crops as tensors."""
    parts = zip(*(pairs.draw(rng) for _ in range(size)), strict=True)
    return [torch.from_numpy(np.stack(part)) for part in parts]


def losses(generator, noisy, truth, electrons, weight, *, precision, power=1):
    """Both losses of one batch."""
    y = stretch(noisy, SOFTENING, RANGE).contiguous(memory_format=torch.channels_last)
    bfloat16 = precision == "bfloat16"
    with torch.autocast(y.device.type, dtype=torch.bfloat16, enabled=bfloat16):
        made = generator(y)
    wanted = stretch(truth, SOFTENING, RANGE)
    pixel = _PIXEL_SCALE[power] * pixel_loss(RANGE * made, RANGE * wanted, weight, power=power)
    flux = flux_loss(unstretch(made, SOFTENING, RANGE), truth, electrons, weight)
    return pixel, flux


def train(
    folders,
    output,
    *,
    minutes,
    single_band,
    n_features,
    n_blocks,
    batch_size,
    crop,
    flux_weight,
    peak_rate,
    seed,
    precision,
    device,
    power=1,
    start_from=None,
    dilations=(),
    optimizer="adam",
):
    """Train for a time, or go on with a run that was stopped."""
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    pairs = PairSet(folders, crop=crop, single_band=single_band)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    n_bands = 1 if single_band else pairs.clean[0].shape[1]
    generator = SRResNet(
        n_bands, n_features=n_features, n_blocks=n_blocks, dilations=tuple(dilations)
    )
    generator = generator.to(device, memory_format=torch.channels_last)
    recipe = {
        "seed": seed,
        "power": power,
        "optimizer": optimizer,
        "peak_rate": peak_rate,
        "flux_weight": flux_weight,
        "batch_size": batch_size,
        "crop": crop,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "history": [],
    }
    if start_from is not None:
        earlier = torch.load(Path(start_from) / "checkpoint.pt", weights_only=True)
        grow(generator, earlier["average"])
        recipe["history"] = stages(earlier)
    optimizer = make_optimizer(generator, optimizer, peak_rate)
    average, step, spent = copy.deepcopy(generator), 0, 0.0
    checkpoint = output / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        generator.load_state_dict(state["generator"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent, recipe = state["step"], state["spent"], state["recipe"]
        rng.bit_generator.state = json.loads(state["rng"])
    log, sums, start = (output / "log.csv").open("a"), np.zeros(3), time.monotonic() - spent
    while (spent := time.monotonic() - start) < 60 * minutes:
        progress = spent / (60 * minutes)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, step, peak_rate)
        parts = [part.to(device) for part in batch(pairs, rng, batch_size)]
        pixel, flux = losses(generator, *parts, precision=precision, power=power)
        # The flux counts more once the picture is right.
        loss = pixel + flux_weight * (1 + 3 * progress) * flux
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), 0.5)
        optimizer.step()
        step += 1
        # Early on a long memory would only remember the start.
        keep = min(_EMA, step / (step + 20))
        with torch.no_grad():
            for old, new in zip(average.parameters(), generator.parameters(), strict=True):
                old.lerp_(new, 1 - keep)
        sums += pixel.item(), flux.item(), 1
        if step % 100 == 0:
            print(
                f"{step},{spent:.0f},{sums[0] / sums[2]:.5f},{sums[1] / sums[2]:.5f}",
                file=log,
                flush=True,
            )
            sums[:] = 0
        if step % 500 == 0:
            _save(checkpoint, generator, average, optimizer, step, spent, rng, recipe)
    _save(checkpoint, generator, average, optimizer, step, spent, rng, recipe)
    log.close()


def grow(generator, weights):
    """
    Load the weights of a generator with as many residual blocks, or fewer.

    The last convolutions of the blocks that it lacks are set to zero, so that the
    larger generator starts as the smaller one.

    Parameters
    ----------
    generator : `~splus_srgan.models.generator.SRResNet`
        Generator to fill, in place.
    weights : dict of str to `~torch.Tensor`
        State of the smaller one.
    """
    missing = generator.load_state_dict(weights, strict=False)
    strange = [name for name in missing.missing_keys if not name.startswith("blocks.")]
    if strange or missing.unexpected_keys:
        raise ValueError(
            "the run to start from has another kind of generator: "
            f"missing {strange}, unexpected {missing.unexpected_keys}"
        )
    new = {int(name.split(".")[1]) for name in missing.missing_keys}
    for index in new:
        last = [part for part in generator.blocks[index].body if hasattr(part, "kernel_size")][-1]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)


def _save(checkpoint, generator, average, optimizer, step, spent, rng, recipe):
    beside = checkpoint.with_suffix(".part")
    torch.save(
        {
            "generator": generator.state_dict(),
            "average": average.state_dict(),
            "options": generator.options,
            "optimizer": optimizer.state_dict(),
            "step": step,
            "spent": spent,
            "recipe": recipe,
            "rng": json.dumps(rng.bit_generator.state),
        },
        beside,
    )
    beside.replace(checkpoint)


def stages(state):
    """What a checkpoint went through: one entry per run, the first one first."""
    own = {key: value for key, value in state["recipe"].items() if key != "history"}
    own |= {"steps": state["step"], "minutes": round(state["spent"] / 60, 1)}
    return [*state["recipe"]["history"], own]


def export(run, folder, *, name, version, flux_anchor=1.0, scores=None):
    """
    Write the averaged generator of a run as weights with their card.

    Parameters
    ----------
    run : path-like
        Folder of the run, with its checkpoint.
    folder : path-like
        Where weights and card go.
    name, version : str
        Name and version of the weights.
    flux_anchor : float, optional
        Default strength of the flux anchor.
    scores : path-like, optional
        JSON file with what was measured.
    """
    state = torch.load(Path(run) / "checkpoint.pt", weights_only=True)
    generator = SRResNet(**state["options"])
    generator.load_state_dict(state["average"])
    one_band = state["options"]["n_bands"] == 1
    return save_weights(
        generator,
        folder,
        name=name,
        version=version,
        bands=[ANY_BAND] if one_band else ["g", "r", "z"],
        pixel_scale=PIXEL_SCALE,
        stretch={"softening": SOFTENING, "range": RANGE},
        target_psf={"profile": "Moffat", "fwhm": TARGET_PSF[0], "beta": TARGET_PSF[1]},
        flux_anchor=flux_anchor,
        turned=True,
        scores={} if scores is None else json.loads(Path(scores).read_text()),
        domain={"fwhm": [0.95, 2.4], "signal": 3e4},
        training={
            "script": "python -m splus_srgan.training.supervised",
            "data": f"simulated fields, seeds ({SEEDS['train']}, k)",
            "loss": "stretched images, absolute (power 1) or squared (2), and flux in boxes",
            "stages": stages(state),
        },
        license="BSD-3-Clause",
        acknowledgements=(
            "Trained on simulations alone, whose magnitudes, sizes, colours, seeing and noise "
            "follow S-PLUS and the Legacy Surveys."
        ),
    )


def main(arguments=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    commands = parser.add_subparsers(dest="command", required=True)
    render = commands.add_parser("render", help="render noise-free pairs")
    render.add_argument("folder")
    render.add_argument("--number", type=int, default=2600)
    render.add_argument("--first", type=int, default=0)
    run = commands.add_parser("train", help="train on rendered pairs")
    run.add_argument("folders", nargs="+")
    run.add_argument("-o", "--output", required=True)
    run.add_argument("--minutes", type=float, default=95)
    run.add_argument("--single-band", action="store_true")
    run.add_argument("--n-features", type=int, default=48)
    run.add_argument("--n-blocks", type=int, default=8)
    run.add_argument(
        "--dilations", type=int, nargs="*", default=(), help="one more residual block for each"
    )
    run.add_argument("--batch-size", type=int, default=8)
    run.add_argument("--crop", type=int, default=48)
    run.add_argument("--flux-weight", type=float, default=0.03)
    run.add_argument("--peak-rate", type=float, default=6e-4)
    run.add_argument("--power", type=int, choices=(1, 2), default=1, help="of the pixel loss")
    run.add_argument("--start-from", metavar="RUN", help="fine-tune the weights of this run")
    run.add_argument("--optimizer", choices=("adam", "muon"), default="adam")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    run.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    write = commands.add_parser("export", help="write weights and their card")
    write.add_argument("run")
    write.add_argument("-o", "--folder", required=True)
    write.add_argument("--name", required=True)
    write.add_argument("--version", required=True)
    write.add_argument("--flux-anchor", type=float, default=1.0)
    write.add_argument("--scores", help="JSON file with what was measured")
    options = vars(parser.parse_args(arguments))
    command = options.pop("command")
    if command == "render":
        render_pairs(options["folder"], options["number"], first=options["first"])
    elif command == "train":
        train(options.pop("folders"), options.pop("output"), **options)
    else:
        export(options.pop("run"), options.pop("folder"), **options)


if __name__ == "__main__":
    main()
