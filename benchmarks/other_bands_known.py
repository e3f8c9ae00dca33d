# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
How much a band could gain from the others at best: with the truth of all others known.

The second stage for any subset of the bands corrects what the first stage makes of a band by what
all bands show.  Here, the same network is trained with the *noise-free truth* of the eleven other
bands in the place of what the first stage makes of them, and is shown the truth of the two
bands beside it in wavelength, too: nobody has that, so what it gains over the first stage is
about the most that a generator of this size could gain from other bands.  What is left after it is
noise of the band itself.

    python benchmarks/other_bands_known.py --steps 3000 --train 300 -o known.ecsv

It trains on one core for about an hour; ``--steps 0`` measures the shipped weights alone.  The
best classical method that sees all bands is measured beside, unless ``--no-classical``.
"""

import copy
import time

import numpy as np
import torch
from _common import (
    TEST_SEED,
    by_region,
    make_parser,
    parse,
    print_table,
    quiet,
    sharpened,
    without_sky,
    write_table,
)
from joint_bands import mean_and_error
from scipy import ndimage

from splus_srgan import simulate_field
from splus_srgan.evaluation.baselines.methods import default_baselines
from splus_srgan.evaluation.measure.regions import REGIONS
from splus_srgan.models import guide
from splus_srgan.models.joint import JointResNet, joint_planes, told_values
from splus_srgan.models.stages import FirstStage
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.models.wiener import restored_phases, wiener_kernels
from splus_srgan.pixels.psf import TARGET_PSF, core_profile
from splus_srgan.pixels.stretch import NoiseAsinhStretch
from splus_srgan.splus import BANDS as FACTS
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.training.optimizers import learning_rate, make_optimizer, update_average

BANDS = tuple(FACTS)
TRAIN_SEED, CROP, EDGE = 1, 48, 8
PEAK, CROPS, PER_CROP = 6e-4, 2, 6
SHAPE, TRAIN_SHAPE = (128, 128), (96, 96)
STRETCH = {"softening": 3.0, "range": 2.0}
FIRST, OURS = "first stage", ("splus", "others known")
_EXTRA = 2 * guide.PHASES
# As the shipped second stage was trained.
_SOFTENING, _EPSILON = 0.7, 0.3


class Field:
    """A simulated field as the second stage sees it, with the truth of the other bands."""

    def __init__(self, seed, first, shape):
        self.simulated = simulate_field(seed, shape=shape, bands=BANDS)
        field = self.simulated
        sky, sigma = (np.array([part[b] for b in BANDS]) for part in (field.sky, field.sigma))
        observed = np.stack([np.asarray(field.observed[b].data, np.float32) for b in BANDS])
        truth = np.stack([np.asarray(field.target[b].data, np.float32) for b in BANDS])
        self.stretch = NoiseAsinhStretch(sky, sigma, **STRETCH)
        self.y = np.float32(self.stretch(observed))
        self.target = np.float32(NoiseAsinhStretch(0.0, sigma / 4, **STRETCH)(truth))
        self.made = first(self.y, bands=BANDS)
        seen = [field.conditions[b] for b in BANDS]
        psfs = [(*core_profile(s.fwhm, s.beta, s.wings), s.wings) for s in seen]
        self.kernels = np.stack(
            [wiener_kernels(psf, target=TARGET_PSF, pixel_scale=PIXEL_SCALE) for psf in psfs]
        )
        self.told = np.stack(
            [
                told_values(b, n_bands=len(BANDS), psf=psf, sigma=s / one.adu_per_nmgy)
                for b, psf, s, one in zip(BANDS, psfs, sigma, seen, strict=True)
            ]
        )

    def planes(self, bands, window=np.s_[:, :], *, known):
        """What the network reads for some bands, in a window of rows and columns."""
        ny, nx = self.y.shape[1:]
        rows, columns = window[0].indices(ny), window[1].indices(nx)
        # Filter and guides see beyond the window, as far as the field goes.
        wide = tuple(
            slice(max(0, a - guide.REACH), min(n, b + guide.REACH))
            for (a, b, _), n in zip((rows, columns), (ny, nx), strict=True)
        )
        inner = tuple(
            slice(a - part.start, b - part.start)
            for (a, b, _), part in zip((rows, columns), wide, strict=True)
        )
        fine = tuple(slice(2 * part.start, 2 * part.stop) for part in wide)
        y, made, truth = self.y[:, *wide], self.made[:, *fine], self.target[:, *fine]
        if known:
            guided = known_planes(y, made, truth, bands)
        else:
            guided = guide.guided_planes(y, made, **STRETCH)[bands]
        filtered = restored_phases(y[bands], self.kernels[bands], **STRETCH)
        planes = joint_planes(guided[:, :, *inner], filtered[:, :, *inner], self.told[bands])
        if not known:
            return planes
        near = np.stack([[_phases(truth[other]) for other in nearest(k)] for k in bands])
        near = near.reshape(len(bands), _EXTRA, *near.shape[-2:])[:, :, *inner]
        return np.concatenate((planes, near), 1)

    def linear(self, fine):
        """A stretched result as fluxes in ADU."""
        stretch = NoiseAsinhStretch(0.0, self.stretch.sigma / 4, **STRETCH)
        return stretch.inverse(fine)


def nearest(k):
    """The bands before and after one in wavelength, or two beside the first and the last."""
    first = min(max(k - 1, 0), len(BANDS) - 3)
    return [other for other in range(first, first + 3) if other != k]


def _linear(stretched):
    return np.float32(STRETCH["softening"]) * np.sinh(np.float32(STRETCH["range"]) * stretched)


def _phases(stretched):
    return guide.to_phases(np.arcsinh(_linear(stretched) / np.float32(guide.FAINT)))


def known_planes(y, made, truth, bands):
    """As `guide.guided_planes`, but with the truth of all bands except the one to be guided."""
    own, others = _linear(made), _linear(truth)
    sums = []
    for scale in guide.SCALES:
        means = _means(others, scale)
        excess, power = means * (others - means), means**2 + np.float32(1e-6)
        sums.append((_means(own, scale), excess, power, excess.sum(0), power.sum(0)))
    planes = []
    for k in bands:
        faint = np.arcsinh(own[k] / np.float32(guide.FAINT))
        parts = [y[k][None], guide.to_phases(made[k]), guide.to_phases(faint)]
        for means, excess, power, all_excess, all_power in sums:
            ratio = 1 + (all_excess - excess[k]) / (all_power - power[k])
            guided = np.arcsinh(means[k] * ratio / np.float32(guide.FAINT))
            parts.append(guide.to_phases(guided - faint))
        planes.append(np.concatenate(parts))
    return np.stack(planes)


def _means(images, scale):
    return ndimage.gaussian_filter(images, (0, scale, scale), mode="nearest", truncate=3.0)


def make_network(card):
    """The shipped second stage, with kernels of zero for what it does not know."""
    shipped = load_generator(card)
    same = {name: shipped.options[name] for name in ("n_features", "n_blocks", "bright")}
    network = JointResNet(BANDS, **same)
    weights = {k: v for k, v in shipped.state_dict().items() if not k.startswith("scale.")}
    network.load_state_dict(weights)
    old = network.first[0]
    new = torch.nn.Conv2d(old.in_channels + _EXTRA, old.out_channels, 3, padding=1)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, : old.in_channels] = old.weight
        new.bias.copy_(old.bias)
    network.first[0] = new
    return network.train().requires_grad_(True)


def train(network, fields, steps, minutes):
    """Train with the truth of the other bands known; give the moving average of the weights."""
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = make_optimizer(network, "muon", PEAK)
    rng, began = np.random.default_rng(17), time.monotonic()
    for step in range(steps):
        planes, targets = zip(*(draw(fields, rng) for _ in range(CROPS)), strict=True)
        planes, target = (torch.from_numpy(np.concatenate(p)) for p in (planes, targets))
        with torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
            made = network(planes)
        off = _seen_by_loss(made) - _seen_by_loss(target)
        loss = torch.sqrt(off**2 + _EPSILON**2).mean() - _EPSILON
        progress = max(step / steps, (time.monotonic() - began) / 60 / minutes)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, step, PEAK, warm_up=100)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        update_average(average, network, step + 1, 0.995)
        if step % 100 == 0:
            done = (time.monotonic() - began) / 60
            print(f"step {step}, loss {loss.item():.5f}, {done:.1f} min", flush=True)
        if progress >= 1:
            break
    return average


def _seen_by_loss(stretched):
    """Without the edge, in the stretch of the loss."""
    inner = stretched[..., 2 * EDGE : -2 * EDGE, 2 * EDGE : -2 * EDGE]
    linear = STRETCH["softening"] * torch.sinh(STRETCH["range"] * inner)
    return torch.asinh(linear / _SOFTENING)


def draw(fields, rng):
    """Planes and targets of some bands in a crop of a field, turned at random."""
    field = fields[rng.integers(len(fields))]
    size = CROP + 2 * EDGE
    a, b = (int(rng.integers(n - size + 1)) for n in field.y.shape[1:])
    bands = rng.choice(len(BANDS), PER_CROP, replace=False)
    window = slice(a, a + size), slice(b, b + size)
    planes = field.planes(bands, window, known=True)
    target = field.target[bands][:, None, 2 * a : 2 * (a + size), 2 * b : 2 * (b + size)]
    return planes, np.ascontiguousarray(target)


def measure(options, first, shipped, known):
    """Rows of PSNR of each method, field and band."""
    rows = []
    for k in range(options.fields):
        if simulate_field((TEST_SEED, k), shape=(16, 16), bands=("r",)).kind == "blank":
            continue
        field = Field((TEST_SEED, k), first, SHAPE)
        every = np.arange(len(BANDS))
        made = {FIRST: field.made}
        with torch.inference_mode():
            planes = torch.from_numpy(field.planes(every, known=False))
            made[OURS[0]] = shipped(planes)[:, 0].numpy()
            if known is not None:
                planes = torch.from_numpy(field.planes(every, known=True))
                made[OURS[1]] = known(planes)[:, 0].numpy()
        images = {
            method: (dict(zip(BANDS, field.linear(fine), strict=True)), True)
            for method, fine in made.items()
        }
        if not options.no_classical:
            images |= classical(field.simulated)
        for method, (image, sharp) in images.items():
            rows += [
                {"field": k, "band": b, "method": method}
                | by_region(field.simulated, b, image[b], sharp=sharp)
                for b in BANDS
            ]
    return rows


def classical(field):
    """What the classical methods that see all bands make of a field."""
    made = {}
    for name, method in default_baselines(len(BANDS)).items():
        if name not in ("low rank", "weighted sum"):
            continue
        with quiet():
            images = method(field.observed, sky=field.sky, sigma=field.sigma)
        made[name] = without_sky(images), sharpened(images)
    return made


def report(rows):
    """Print the gains over the first stage, and over the better classical method."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    ours = [m for m in methods if m in OURS]
    others = [m for m in methods if m not in (*OURS, FIRST)]
    bases = [FIRST] + (["classical"] if others else [])
    for region in REGIONS:
        table, gains = [], []
        for band in BANDS:
            values = {
                method: np.array(
                    [r[region] for r in rows if (r["method"], r["band"]) == (method, band)]
                )
                for method in methods
            }
            # Neither an error of 0 nor an empty region has a mean in dB.
            values = {m: np.where(np.isfinite(v), v, np.nan) for m, v in values.items()}
            if others:
                values["classical"] = values[max(others, key=lambda m: np.nanmean(values[m]))]
            found = [mean_and_error(values[m] - values[base]) for base in bases for m in ours]
            table.append((band, *(f"{gain:+.2f}+-{error:.2f}" for gain, error in found)))
            gains.append([gain for gain, _ in found])
        table.append(("median", *(f"{gain:+.2f}" for gain in np.median(gains, axis=0))))
        heads = [f"{m} over {base}" for base in bases for m in ours]
        print_table(f"{region}: gain in PSNR (dB)", ("band", *heads), table)


def main():
    """Train, measure, report."""
    parser = make_parser(__doc__)
    parser.set_defaults(weights=["splus"])
    parser.add_argument("--train", type=int, default=300, metavar="N", help="fields to train on")
    parser.add_argument("--steps", type=int, default=3000, help="of the training")
    parser.add_argument("--minutes", type=float, default=60, help="of the training, at most")
    parser.add_argument("--no-classical", action="store_true")
    options = parse(parser)
    card = load_card(options.weights[0])
    # Where it is said to be restored together, g, r and z are; here each is by itself.
    first = FirstStage(card, precision=options.precision, engine=options.engine)
    first.cards = [one for one in first.cards if one.takes_any_band]
    known = None
    if options.steps:
        fields = [Field((TRAIN_SEED, k), first, TRAIN_SHAPE) for k in range(options.train)]
        known = train(make_network(card), fields, options.steps, options.minutes)
    rows = measure(options, first, load_generator(card), known)
    report(rows)
    write_table(options.output, rows)


if __name__ == "__main__":
    main()
