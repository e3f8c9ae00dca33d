# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Figures: what they show is what was measured, and they can be drawn anywhere."""

import io
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from astropy.table import QTable, Table
from numpy.testing import assert_allclose

from splus_srgan import simulate_field
from splus_srgan.evaluation.baselines.methods import Bicubic
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.report.display import Panels, color_weights, picture
from splus_srgan.evaluation.report.plots import (
    COLUMN_WIDTH,
    PAGE_WIDTH,
    plot_gallery,
    plot_histogram,
    plot_limitations,
    plot_mean_output,
    plot_sample,
    score_summary,
)

matplotlib = pytest.importorskip("matplotlib")
FigureCanvasAgg = pytest.importorskip("matplotlib.backends.backend_agg").FigureCanvasAgg


@pytest.fixture(scope="module")
def fields():
    """Three small fields, with target, and their bicubic images."""
    simulated = [
        simulate_field((9, k), shape=(64, 64), kind="galaxy", psf="moffat") for k in range(3)
    ]
    pairs = [EvaluationPair.from_simulation(f, name=f"field {k}") for k, f in enumerate(simulated)]
    return pairs, [Bicubic()(p.input, sky=p.sky, sigma=p.sigma) for p in pairs]


@pytest.fixture(scope="module")
def table():
    """Scores of two fields in two bands by two methods."""
    rows = [
        ("a", "g", "ours", 40.0), ("a", "g", "bicubic", 30.0),
        ("a", "r", "ours", 42.0), ("a", "r", "bicubic", 31.0),
        ("b", "g", "ours", 44.0), ("b", "g", "bicubic", 32.0),
        ("b", "r", "ours", 45.0), ("b", "r", "bicubic", 33.0),
        ("c", "g", "ours", np.nan), ("c", "g", "bicubic", np.nan),
    ]  # fmt: skip
    result = QTable(rows=rows, names=("field", "band", "method", "psnr"))
    result["psnr"] = result["psnr"] * u.dB
    return result


def images_of(figure):
    return [image for axis in figure.axes for image in axis.get_images()]


def texts_of(figure):
    found = figure.findobj(matplotlib.text.Text)
    return {text.get_text() for text in found if text.get_visible() and text.get_text()}


def check_layout(figure):
    """It can be written, and nothing reaches over its edge."""
    figure.savefig(io.BytesIO(), format="png")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn, slack = figure.get_tightbbox(canvas.get_renderer()), 0.03  # inches
    assert min(drawn.x0, drawn.y0) > -slack
    assert drawn.x1 < figure.get_figwidth() + slack
    assert drawn.y1 < figure.get_figheight() + slack


def test_sample_shows_three_images_of_each_field(fields):
    figure = plot_sample(*fields, number=2)
    assert len(images_of(figure)) == 6
    assert {"field 0", "field 2", "Input", "Enhanced", "Reference"} <= texts_of(figure)
    assert "10″" in texts_of(figure)  # a round length, less than a third of 35"
    assert_allclose(figure.get_figwidth(), PAGE_WIDTH)
    check_layout(figure)


def test_sample_without_a_target_shows_two(fields):
    pairs = [EvaluationPair(p.name, p.input, sky=p.sky, sigma=p.sigma) for p in fields[0]]
    assert len(images_of(plot_sample(pairs, fields[1], number=3))) == 6


def test_gallery_shows_every_field(fields):
    figure = plot_gallery(*fields, n_columns=2, labels=("S-PLUS", "S-PLUS SR", "Legacy"))
    assert len(images_of(figure)) == 9
    assert {"field 0", "field 1", "field 2", "S-PLUS", "S-PLUS SR", "Legacy"} <= texts_of(figure)
    check_layout(figure)


def test_single_band_is_gray(fields):
    pairs = [EvaluationPair("one", {"r": p.input["r"]}) for p in fields[0][:1]]
    figure = plot_sample(pairs, [{"r": fields[1][0]["r"]}])
    shown = images_of(figure)[0].get_array()
    assert_allclose(shown[..., 0], shown[..., 2], atol=1e-6)


def test_pairs_and_outputs_are_as_many(fields):
    pairs, outputs = fields
    for function in (plot_sample, plot_gallery, plot_limitations):
        with pytest.raises(ValueError, match="pairs and outputs must be as many"):
            function(pairs, outputs[:1])
        with pytest.raises(ValueError, match="got 0 and 0"):
            function([], [])


def test_picture_keeps_the_colors():
    """The ratio of the bands is the same in the picture, bright and faint."""
    image = np.array([2.0, 4.0, 8.0])[:, None, None] * np.array([[1.0, 30.0]]) - 1.0
    shown = picture(image, weights=np.ones(3), white=1000.0)
    assert_allclose(shown[0, :, 1] / shown[0, :, 0], 0.5, rtol=1e-6)
    assert_allclose(shown[0, :, 2] / shown[0, :, 0], 0.25, rtol=1e-6)
    assert (shown >= 0).all()
    assert (shown <= 1).all()


def test_picture_of_missing_pixels_is_gray():
    image = np.full((3, 4, 4), 5.0)
    image[1, 2, 2] = np.nan
    shown = picture(image, weights=np.ones(3), white=100.0)
    assert_allclose(shown[2, 2], 0.5)


def test_colors_of_fields_can_be_compared_where_the_flux_is_known():
    """A blue and a red field: one balance keeps them apart, their own would not."""
    colors = np.array([[1.5, 1.0, 0.5], [0.5, 1.0, 1.5]])
    images = [np.full((3, 8, 8), 20.0) * color[:, None, None] for color in colors]
    known = [Panels("", {"reference": image}, flux=np.ones(3)) for image in images]
    for weights, color in zip(color_weights(known), colors, strict=True):
        assert_allclose(weights * color / (weights * color).mean(), color, rtol=1e-6)
    own = [Panels("", {"reference": image}) for image in images]
    for weights, color in zip(color_weights(own), colors, strict=True):
        assert np.ptp(weights * color) < 1e-6


def test_fields_of_other_bands_have_a_balance_of_their_own():
    colors = [np.array([1.5, 1.0, 0.5]), np.array([2.0, 1.0]), np.array([0.5, 1.0, 1.5])]
    panels = [
        Panels("", {"output": np.full((len(c), 8, 8), 20.0) * c[:, None, None]}, None, 1 + 0 * c, b)
        for c, b in zip(colors, (tuple("grz"), tuple("gr"), tuple("grz")), strict=True)
    ]
    found = color_weights(panels)
    for k, weights in zip((0, 2), color_weights(panels[::2]), strict=True):
        assert_allclose(found[k], weights)
    # One field alone is as white as it can be.
    assert np.ptp(found[1] * colors[1]) < 1e-6


def test_summary_is_the_mean_of_the_gains(table):
    """Fields without a score are left out; the last row is the mean of the bands."""
    summary = score_summary(table, score="psnr")
    assert summary["band"].tolist() == ["g", "r", "all"]
    assert_allclose(summary["before"].to_value(u.dB), [31, 32, 31.5])
    assert_allclose(summary["after"].to_value(u.dB), [42, 43.5, 42.75])
    assert_allclose(summary["gain"].to_value(u.dB), [11, 11.5, 11.25])
    assert_allclose(summary["gain_error"].to_value(u.dB), [1, 0.5, 0.75])
    assert summary["n_field"].tolist() == [2, 2, 2]


def test_summary_can_turn_the_methods_around(table):
    summary = score_summary(table, score="psnr", method="bicubic", baseline="ours")
    assert_allclose(summary["gain"][0].to_value(u.dB), -11)


def test_summary_of_no_scores_is_not_a_number():
    rows = [("a", "r", "ours", np.nan), ("a", "r", "bicubic", np.nan)]
    summary = score_summary(
        Table(rows=rows, names=("field", "band", "method", "psnr")), score="psnr"
    )
    assert summary["n_field"].tolist() == [0, 0]
    assert np.isnan(summary["gain"]).all()


def test_summary_says_what_is_missing(table):
    with pytest.raises(ValueError, match=r"score must be a column of table, .*; got 'ssim'"):
        score_summary(table, score="ssim")
    with pytest.raises(ValueError, match="baseline must be one of 'ours', 'bicubic'; got 'none'"):
        score_summary(table, score="psnr", baseline="none")
    with pytest.raises(ValueError, match="table must have a second method to compare with"):
        score_summary(table[table["method"] == "ours"], score="psnr")


def test_histogram_counts_every_field(table):
    """A panel per band; the bars of both methods hold all fields; means are marked."""
    figure = plot_histogram(table, score="psnr")
    assert len(figure.axes) == 2
    assert {"ours", "bicubic", "PSNR (dB)", "Fields"} <= texts_of(figure)
    for axis, means in zip(figure.axes, ((31, 42), (32, 43.5)), strict=True):
        assert_allclose([line.get_xdata()[0] for line in axis.get_lines()], means)
        assert axis.get_ylim()[1] >= 1
    assert_allclose(figure.get_figwidth(), COLUMN_WIDTH)
    check_layout(figure)


def test_histogram_of_no_scores_is_empty():
    rows = [("a", "r", "ours", np.nan), ("a", "r", "bicubic", np.nan)]
    empty = Table(rows=rows, names=("field", "band", "method", "psnr"))
    check_layout(plot_histogram(empty, score="psnr"))


def test_limitations_show_the_worst_place(fields):
    """A place that was made bad is the one in the middle of its panel, with its number."""
    pairs, outputs = fields
    bright = pairs[1].target["r"].data[20:-20, 20:-20]
    y, x = np.array(np.unravel_index(np.argmax(bright), bright.shape)) + 20
    broken = outputs[1]["r"].copy()
    broken.data[y - 6 : y + 6, x - 6 : x + 6] *= 4
    figure = plot_limitations(pairs, [outputs[0], outputs[1] | {"r": broken}, outputs[2]])
    titles = [
        text for text in texts_of(figure) if text.startswith(("Structure", "Color", "Clouds"))
    ]
    structure = next(text for text in titles if text.startswith("Structure"))
    assert structure.startswith("Structure (r)\n")
    assert float(structure.split("\n")[1].split("σ")[0]) > 10
    assert any("Δ(" in text and "mag" in text for text in titles)
    shown = images_of(figure)[1].get_array()
    assert shown.shape == (64, 64, 3)
    check_layout(figure)


def test_limitations_of_blank_fields_say_so():
    simulated = simulate_field((9, 9), shape=(48, 48), kind="blank", bands=("r",))
    pair = EvaluationPair.from_simulation(simulated, name="blank")
    figure = plot_limitations([pair], [Bicubic()(pair.input, sky=pair.sky, sigma=pair.sigma)])
    assert {"no bright region", "no change of color"} <= texts_of(figure)


def test_mean_output_shows_what_is_common():
    """A pattern in all outputs is in the mean, and its line is ringed."""
    x = np.mgrid[:96, :96][1]
    rng = np.random.default_rng(1)
    outputs = [
        {
            band: CCDData(
                rng.normal(0, 0.02, x.shape) / 4 + 0.02 / 4 * (-1.0) ** x,
                unit="adu",
                meta={"SRSKY": 0.0, "SRSIGMA": 1.0},
            )
            for band in "gr"
        }
        for _ in range(4)
    ]
    figure = plot_mean_output(outputs)
    assert {"g", "r", "frequency (1 / output pixel)", "amplitude (σ)"} <= texts_of(figure)
    mean = images_of(figure)[0].get_array()
    assert_allclose(np.mean(mean[:, ::2] - mean[:, 1::2]), 0.04, rtol=0.1)
    rings = [
        line.get_xydata()[0]
        for axis in figure.axes
        for line in axis.get_lines()
        if line.get_marker() == "o"
    ]
    assert_allclose(rings, [[0.5, 0.02]] * 2, rtol=0.1)
    check_layout(figure)
    # A band that some lack is the mean of the others.
    mixed = [{"r": one["r"]} if k else one for k, one in enumerate(outputs)]
    shown = images_of(plot_mean_output(mixed))
    assert_allclose(shown[0].get_array(), 4 * outputs[0]["g"].data)
    assert_allclose(shown[1].get_array(), images_of(figure)[1].get_array())


def test_drawing_leaves_the_style_alone_and_uses_no_pyplot(table):
    # To look at the backend is to choose one.
    names = [name for name in matplotlib.rcParams if name != "backend"]
    before = [matplotlib.rcParams[name] for name in names]
    plot_histogram(table, score="psnr")
    assert [matplotlib.rcParams[name] for name in names] == before
    code = (
        "import io, sys\n"
        "from astropy.table import Table\n"
        "from splus_srgan.evaluation.report.plots import plot_histogram\n"
        "rows = [('a', 'r', 'x', 1.0), ('a', 'r', 'y', 2.0)]\n"
        "table = Table(rows=rows, names=('field', 'band', 'method', 'psnr'))\n"
        "plot_histogram(table, score='psnr').savefig(io.BytesIO())\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    run = [sys.executable, "-c", code]
    result = subprocess.run(run, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
