# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A script as users write it: ``tox -e typing`` checks its types, and nothing runs it."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import torch
from astropy.nddata import CCDData, NDData
from astropy.wcs import WCS
from numpy.typing import NDArray

from splus_srgan import (
    AsinhStretch,
    MinMaxStretch,
    NoiseAsinhStretch,
    Quality,
    SRGANEnhancer,
    __citation__,
    __version__,
    match_pair,
    match_to_grid,
    measure_background,
    read_bands,
    simulate_field,
    upsample_wcs,
    write_bands,
)
from splus_srgan.evaluation import Evaluation, EvaluationPair, Verdict, evaluate
from splus_srgan.models import (
    JointResNet,
    SRResNet,
    WeightsCard,
    available,
    choose_cards,
    load_card,
    load_generator,
    make_engine,
    save_weights,
)
from splus_srgan.pairs import MatchedPair
from splus_srgan.pixels import Background
from splus_srgan.simulate import SimulatedField
from splus_srgan.training import (
    Pairs,
    SimulatedPairs,
    TrainingConfig,
    TrainingResult,
    calibrate_weights,
    export_weights,
    load_config,
    make_dataset,
    pixel_loss,
    preset,
    train,
    train_head,
)


def bar(blocks: list[int]) -> list[int]:
    """What wraps an iterable."""
    return blocks


def enhance(cube: NDData, image: CCDData, wcs: WCS) -> None:
    """What goes in comes out: a mapping, an image, a stack, each of its class."""
    field = read_bands(["g.fits", Path("r.fits")], bands="gr", hdu=("SCI", 1), checksum="error")
    assert_type(field, dict[str, CCDData])
    enhancer = SRGANEnhancer(
        Path("weights.json"),
        precision="float32",
        block_size=256,
        flux_anchor=True,
        psf={"r": (1.2, 3.0)},
        uncertainty="ensemble",
        progress_bar=bar,
    )
    assert_type(enhancer(field, sky={"g": 0.1, "r": 0.2}, sigma=np.ones(2)), dict[str, CCDData])
    assert_type(enhancer(image, wcs=wcs, unit="adu"), CCDData)
    assert_type(enhancer(cube, bands=["g", "r"], mask=np.zeros((8, 8), bool)), NDData)
    assert_type(enhancer.to_file(field, "sharp.fits", overwrite=True), Path)
    assert_type(write_bands("sharp.fits", field), Path)

    enhancer(np.ones((8, 8)))  # type: ignore[call-overload]
    enhancer(field, sky_level=0.1)  # type: ignore[call-overload]
    SRGANEnhancer(precision="float16")  # type: ignore[arg-type]
    SRGANEnhancer("auto", "cpu")  # type: ignore[call-arg]
    read_bands(7)  # type: ignore[arg-type]
    write_bands("sharp.fits", image)  # type: ignore[arg-type]


def match(image: CCDData, wcs: WCS) -> None:
    """Fields and grids."""
    field = simulate_field(4, shape=(64, 48), bands=("g", "r"), kind="cluster")
    assert_type(field, SimulatedField)
    assert_type(field.observed, dict[str, CCDData])
    assert_type(field.sigma["r"], float)
    pair = match_pair(field.observed, field.target, band_terms="measure", target_psf=None)
    assert_type(pair, MatchedPair)
    assert_type(pair.bands, tuple[str, ...])
    assert_type(pair.registrations["r"].shift, tuple[float, float])
    assert_type(match_to_grid(image, upsample_wcs(wcs, factor=2), (64, 64)), CCDData)

    simulate_field("four")  # type: ignore[arg-type]
    match_to_grid(image, wcs, (64, 64), method="nearest")  # type: ignore[arg-type]
    upsample_wcs(wcs, 2)  # type: ignore[call-arg]


def judge(pairs: list[EvaluationPair]) -> None:
    """What an evaluation says."""
    found = evaluate(SRGANEnhancer(), pairs, trials=0, progress_bar=bar)
    assert_type(found, Evaluation)
    assert_type(found.verdict, dict[str, Verdict])
    assert_type(found.verdict["photometry"].status, str)
    assert_type(found.write("report", overwrite=True), dict[str, Path])

    evaluate(SRGANEnhancer(), trials=0)  # type: ignore[call-arg]


def measure(image: NDArray[np.float32]) -> None:
    """Arrays and numbers."""
    background = measure_background(image, mask=image > 3)
    assert_type(background, Background)
    assert_type(background.sky[0] > 0, Any)
    stretch = NoiseAsinhStretch(background.sky, background.sigma, softening=3.0)
    assert_type(stretch.inverse(stretch(image)), NDArray[np.floating[Any]])
    assert_type(MinMaxStretch(per_band=True).fit(image), MinMaxStretch)
    assert_type(AsinhStretch.splus(), AsinhStretch)
    assert_type(Quality.EDGE | Quality.MISSING, Quality)
    assert_type(__version__ + __citation__, str)

    MinMaxStretch(per_band="yes")  # type: ignore[arg-type]


def generate(y: NDArray[np.float32], images: torch.Tensor) -> None:
    """Weights and their generator."""
    card = load_card("splus-any")
    assert_type(card, WeightsCard)
    assert_type(card.bands, list[str])
    assert_type(choose_cards("auto", available()), list[tuple[WeightsCard, list[int]]])
    assert_type(load_generator(Path("weights.json")), SRResNet | JointResNet)
    generator = SRResNet(3, n_blocks=4, dilations=(2, 4), scale="laplace")
    assert_type(generator.receptive_field_radius, int)
    assert_type(generator.features(images), torch.Tensor)
    assert_type(generator.forward_with_scale(images), tuple[torch.Tensor, torch.Tensor])
    assert_type(make_engine(generator, precision="float32")(y), NDArray[np.float32])
    assert_type(save_weights(generator, "folder", name="mine").path, Path)

    SRResNet(3, 64)  # type: ignore[call-arg]
    SRResNet(3, norm="layer")  # type: ignore[arg-type]
    make_engine(card)  # type: ignore[arg-type]


def learn(generator: SRResNet, images: torch.Tensor) -> None:
    """From a recipe to weights."""
    config = load_config("recipe.yaml", {"data.crop": 48}, base="fidelity")
    assert_type(config, TrainingConfig)
    assert_type(config.data.bands, tuple[str, ...])
    assert_type(config.losses.weights, dict[str, float])
    assert_type(make_dataset(config, "validation"), Pairs | None)
    pairs = SimulatedPairs(8, shape=(64, 64), bands=("g", "r"), cache=Path("cache"), crop=48)
    assert_type(pairs[0], dict[str, torch.Tensor])
    assert_type(pixel_loss(images, images, images, kind="charbonnier"), torch.Tensor)
    assert_type(train_head(generator, pairs, minutes=4), SRResNet | JointResNet)
    assert_type(export_weights("last.ckpt", "weights", target_psf=(1.0, 3.0)), WeightsCard)
    assert_type(calibrate_weights("mine.json", n_fields=40, progress_bar=bar), WeightsCard)
    result = train(config, overwrite=True)
    assert_type(result, TrainingResult)
    assert_type(result.best_score, float | None)

    preset("paper")  # type: ignore[arg-type]
    train(config, resume=True)  # type: ignore[arg-type]
    make_dataset(config, "test")  # type: ignore[arg-type]
