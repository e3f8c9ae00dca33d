# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Evaluation as a whole: what is run, what is added up, what the verdict is."""

import warnings

import numpy as np
import pytest
from _scenes import oracle
from astropy.nddata import CCDData
from astropy.table import QTable, Table
from pair_helpers import as_matched, copy_pair, simulated

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.cli.main import main
from splus_srgan.evaluation.baselines.methods import Bicubic, Gaussian
from splus_srgan.evaluation.checks import Check
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.parts import central_part
from splus_srgan.evaluation.result import Evaluation
from splus_srgan.evaluation.run import evaluate, evaluate_images
from splus_srgan.evaluation.verdict import headline, in_words, judge_topics, severity
from splus_srgan.exceptions import DomainWarning
from splus_srgan.images.io.fields import read_bands, write_bands
from splus_srgan.pairs.folder.pairs import fetch_pairs
from splus_srgan.simulate.field import KINDS

pytestmark = pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.NoSkyWarning")


@pytest.fixture(scope="module")
def stars():
    """A field of stars in one band."""
    field = simulate_field(5, shape=(96, 96), kind="stars", bands=("r",), psf="moffat")
    return EvaluationPair.from_simulation(field, name="stars")


def truth_teller(pair, *, factor=1.0):
    """An enhancer that knows the truth, and multiplies it."""
    return lambda images: oracle(pair, lambda image, sigma, band: factor * image)


def failed_names(evaluation):
    return {check.name for check in evaluation.checks if check.passed is False}


@pytest.fixture(scope="module")
def clean(stars):
    """The evaluation of a perfect output, with a baseline."""
    return evaluate(truth_teller(stars), stars, baselines={"b": Bicubic()}, trials=0)


def test_a_wrong_flux_is_seen_and_the_truth_passes(stars, clean):
    wrong = evaluate(truth_teller(stars, factor=1.05), stars, trials=0)
    name = "flux on large scales, output / target"
    assert any(check.name == name and check.passed for check in clean.checks)
    assert name in failed_names(wrong)
    assert wrong.verdict["photometry"].status == "not safe"
    assert wrong.verdict["photometry"].bands == {"r": "not safe"}
    assert "photometry" not in wrong.headline.split("Not")[0]


def of_kind(seed, kind, shape, **options):
    field = simulate_field((77, seed), shape=shape, kind=kind, psf="moffat", **options)
    return EvaluationPair.from_simulation(field, name=f"{kind} {seed}")


def all_truth(pairs):
    """An enhancer that knows the truth of many fields."""
    known = {id(pair.input): pair for pair in pairs}
    return lambda images: truth_teller(known[id(images)])(images)


def test_the_truth_fails_no_check_in_one_band():
    """A field that a galaxy fills, and one where a star was taken for a seam."""
    pairs = [of_kind(k, kind, (96, 96), bands=("r",)) for k, kind in ((3, "fill"), (7, "stars"))]
    for pair in pairs:
        evaluation = evaluate(all_truth(pairs), pair, trials=0)
        assert failed_names(evaluation) == set(), pair.name


@pytest.mark.slow
def test_the_truth_fails_no_check():
    """Whatever fails on the truth itself is a false alarm: single fields, and all together."""
    pairs = [
        of_kind(k, KINDS[k // 2 % len(KINDS)], (96, 96) if k % 2 else (128, 128)) for k in range(10)
    ]
    for chosen in [*([pair] for pair in pairs), pairs]:
        evaluation = evaluate(all_truth(pairs), chosen, trials=0)
        failed = [in_words(check) for check in evaluation.checks if check.passed is False]
        assert not failed, chosen[0].name
    assert {"seam", "large-scale structure of the mean output"} <= {
        check.name for check in evaluation.checks if check.passed
    }


def test_table_has_every_field_band_and_method():
    field = simulate_field(2, shape=(48, 64), bands=("g", "r"))
    pair = EvaluationPair.from_simulation(field, name="two")
    evaluation = evaluate(Bicubic(), [pair], baselines=[Gaussian()], trials=0)
    keys = list(zip(evaluation.table["method"], evaluation.table["band"], strict=True))
    bands = ["g", "r", "joint"]
    assert keys == [("bicubic", b) for b in bands] + [("Gaussian", b) for b in bands]
    assert str(evaluation.table["psnr_noise"].unit) == "dB"
    assert np.isfinite(evaluation.table["psnr_asinh"]).all()
    assert evaluation.bands == ("g", "r")
    assert set(evaluation.measurements) >= {"fluxes", "stars", "artefacts"}


def test_all_weights_of_an_image_are_named():
    field = simulate_field(2, shape=(48, 64))
    output = Bicubic()(field.observed, sky=field.sky, sigma=field.sigma)
    for band, model in {"g": "joint", "r": "joint", "z": "single"}.items():
        said = {"SRMODEL": model, "SRMODVER": 3, "SRSHA256": f"hash of {model}"}
        output[band].meta.update(said)
    evaluation = evaluate_images(output)
    assert evaluation.method == "joint + single"
    assert evaluation.facts["Weights"] == "joint 3, single 3"
    assert evaluation.facts["Hash"] == "hash of joint, hash of single"


def test_mean_scores_leave_out_what_has_no_score(clean):
    evaluation = Evaluation("oracle", clean.fields, clean.table.copy(), clean.checks)
    evaluation.table["nrmse_noise"][0] = np.nan
    means = evaluation.mean_scores()
    assert list(means["method"]) == ["oracle", "b"]
    assert np.isnan(means["nrmse_noise"][0])
    assert means["nrmse_noise"][1] == evaluation.table["nrmse_noise"][1]
    assert "dB" in evaluation.summary()


def test_without_a_target_the_input_is_the_reference(stars):
    bare = EvaluationPair("bare", stars.input)
    evaluation = evaluate(truth_teller(stars), bare, trials=0)
    assert len(evaluation.table) == 0
    assert not len(evaluation.mean_scores())
    assert evaluation.measurements["consistency"]["chi2"][0] == pytest.approx(1, abs=0.1)
    assert evaluation.verdict["photometry"].checks


def test_an_enhanced_image_alone_is_judged_by_what_it_shows(stars):
    output = truth_teller(stars)(stars.input)
    evaluation = evaluate_images(output, name="alone")
    assert evaluation.method == "oracle"
    assert evaluation.verdict["artefacts"].status == "safe"
    assert evaluation.headline.startswith("Not judged")
    pattern = 0.5 * stars.sigma["r"] / 4 * (-1) ** np.arange(192)
    output["r"].data = output["r"].data + pattern
    broken = evaluate_images(output, name="alone")
    assert broken.verdict["artefacts"].status == "not safe"


def test_an_image_without_cards_needs_its_input(stars):
    with pytest.raises(ValueError, match=r"'r' lacks SRSKY and SRSIGMA: give the image .* pair="):
        evaluate_images({"r": stars.target["r"].copy()})


def test_an_image_without_cards_is_judged_with_its_input(stars):
    """Sky and sigma come from the input; only the mean of many outputs needs the cards."""
    bare = {"r": stars.target["r"].copy()}
    for card in ("SRSKY", "SRSIGMA"):
        bare["r"].meta.pop(card, None)
    evaluation = evaluate_images(bare, pair=EvaluationPair("bare", stars.input, stars.target))
    assert evaluation.method == "image"
    assert any(check.name == "seam" and check.passed for check in evaluation.checks)


def test_the_mean_of_all_outputs_is_judged():
    """A pattern that no single field shows, in the mean of them."""
    pairs = [of_kind(k, "blank", (64, 64), bands=("r",)) for k in range(4)]
    evaluation = evaluate(all_truth(pairs), pairs, trials=0)
    mean = {c.name: c for c in evaluation.checks if "mean output" in c.name}
    assert set(mean) == {"pattern in the mean output", "large-scale structure of the mean output"}
    assert all(check.passed for check in mean.values())
    few = evaluate(all_truth(pairs), pairs[:2], trials=0)
    assert all("at least 4 fields" in c.note for c in few.checks if "mean output" in c.name)


def test_trials_enhance_changed_images(monkeypatch):
    monkeypatch.setattr("splus_srgan.evaluation.trials._SHAPE", (48, 48))
    field = simulate_field(1, shape=(64, 64), kind="galaxy", bands=("r",))
    pair = EvaluationPair.from_simulation(field, name="galaxy")
    evaluation = evaluate(Bicubic(), [pair, EvaluationPair("other", pair.input)], trials=1)
    names = {check.name for check in evaluation.checks}
    assert {
        "change by turning, sources",
        "correlation of details under a swap of the noise",
    } <= names
    assert any(name.startswith("detections in noise alone") for name in names)
    turned = [check for check in evaluation.checks if check.name == "change by turning, sources"]
    assert all(check.passed for check in turned)


def test_trials_take_an_enhancer_that_states_nothing(monkeypatch):
    """A function that only repeats pixels knows no direction."""
    monkeypatch.setattr("splus_srgan.evaluation.trials._SHAPE", (48, 48))
    field = simulate_field(1, shape=(64, 64), kind="galaxy", bands=("r",))

    def repeat(images):
        return {
            band: CCDData(np.kron(image.data, np.ones((2, 2))) / 4, unit=image.unit)
            for band, image in images.items()
        }

    evaluation = evaluate(repeat, EvaluationPair.from_simulation(field, name="galaxy"), trials=1)
    turned = [check for check in evaluation.checks if check.name.startswith("change by turning")]
    assert [check.value for check in turned] == [0, 0]


def test_warnings_of_the_package_are_kept_and_others_passed_on(stars):
    def enhance(images):
        warnings.warn("input outside", DomainWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
        return truth_teller(stars)(images)

    with pytest.warns(UserWarning, match="something else"):
        evaluation = evaluate(enhance, stars, trials=0)
    assert evaluation.warnings == {"input outside": ["stars"]}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pairs": []}, ValueError, "pairs must hold at least one pair"),
        ({"pairs": ["a"]}, TypeError, "pairs must be EvaluationPair objects; got str"),
        ({"enhancer": None}, TypeError, "enhancer must be callable; got NoneType"),
        ({"baselines": {"b": 1}}, TypeError, "baselines must be callable; 'b' is int"),
        ({"trials": -1}, ValueError, "trials must be at least 0; got -1"),
    ],
)
def test_wrong_arguments(stars, change, error, message):
    arguments = {"enhancer": Bicubic(), "pairs": [stars]} | change
    with pytest.raises(error, match=message):
        evaluate(arguments.pop("enhancer"), arguments.pop("pairs"), **arguments)


def test_two_fields_of_one_name(stars):
    with pytest.raises(ValueError, match="names of their own; got 'stars' more than once"):
        evaluate(Bicubic(), [stars, stars])


def test_verdict_adds_up_and_names_what_failed():
    checks = [
        Check("photometry", "a", "g", 0.001, 0.01),
        Check("photometry", "b", "z", 0.02, 0.01, "mag", 0.001),
        Check("photometry", "c", "z", -0.05, 0.01, "mag"),
        Check("astrometry", "d", "", np.nan, 0.1, note="no stars"),
        Check("morphology", "e", "", 1.0, (0.0, np.inf)),
    ]
    verdicts = judge_topics(checks)
    assert verdicts["photometry"].counts == (1, 2, 0)
    assert [check.name for check in verdicts["photometry"].failed] == ["c", "b"]
    assert verdicts["photometry"].bands == {"g": "safe", "z": "not safe"}
    assert headline(verdicts) == (
        "Safe for morphology; c in z, b in z. Not for photometry. Not judged: "
        "astrometry (no stars)."
    )
    assert in_words(checks[1]) == "b in z: 0.02 ± 0.001 mag (passes within ±0.01)"
    assert in_words(checks[3]) == "d: not measured (no stars)"
    assert in_words(checks[4]).endswith("(passes from 0)")


@pytest.mark.parametrize(
    ("value", "limit", "expected"),
    [
        (0.02, 0.01, 2.0),
        (1.0, (0.9, 1.1), 0.0),
        (3.0, (-np.inf, 2.0), 1.5),
        (1.0, (2.0, np.inf), 1.5),
        (0.0, 0.0, 0.0),
        (1.0, 0.0, np.inf),
    ],
)
def test_severity_is_above_one_outside_the_range(value, limit, expected):
    check = Check("photometry", "a", "r", value, limit)
    assert severity(check) == pytest.approx(expected)
    assert (severity(check) > 1) == (check.passed is False)


def test_display_only_where_nothing_is_safe():
    checks = [Check(t, "a", "r", 1.0, 0.1) for t in ("photometry", "astrometry", "morphology")]
    assert headline(judge_topics(checks)).startswith("Display only; ")
    assert headline(judge_topics([])).startswith("Not judged")


def test_central_parts_of_both_grids_show_the_same(stars):
    output = truth_teller(stars)(stars.input)
    output["r"].flags = np.arange(192 * 192).reshape(192, 192)
    coarse = central_part(stars.input, 33)["r"]
    fine = central_part(output, 33, factor=2)["r"]
    assert coarse.shape == (33, 33)
    assert fine.shape == fine.flags.shape == (66, 66)
    assert fine.psf is not None
    np.testing.assert_array_equal(coarse.data, stars.input["r"].data[31:64, 31:64])
    corner = fine.wcs.pixel_to_world(-0.5, -0.5)
    assert corner.separation(coarse.wcs.pixel_to_world(-0.5, -0.5)).arcsec < 1e-3
    assert central_part(stars.input, 96) is stars.input


# ---------------------------------------------------------------- command line


@pytest.fixture(scope="module")
def files(tmp_path_factory, stars):
    """Input, target and enhanced image as files."""
    folder = tmp_path_factory.mktemp("files")
    enhanced = truth_teller(stars)(stars.input)
    return {
        "input": str(write_bands(folder / "input.fits", stars.input)),
        "target": str(write_bands(folder / "target.fits", stars.target)),
        "enhanced": str(write_bands(folder / "enhanced.fits", enhanced)),
    }


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "needs one of FILE, --simulate N and --pairs DIR; got none"),
        (["a.fits", "--simulate", "2"], 2, "got FILE and --simulate"),
        (["--simulate", "0"], 2, "--simulate must be at least 1; got 0"),
        (["--simulate", "1", "--target", "a.fits"], 2, "--target goes with FILE only"),
        (["a.fits", "--size", "8"], 2, "--size must be at least 32; got 8"),
        (["--pairs", "nowhere"], 1, "nowhere does not exist"),
    ],
)
def test_command_refuses_what_does_not_go_together(arguments, status, message, tmp_path, capsys):
    assert main(["evaluate", *arguments, "-o", str(tmp_path / "out")]) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_command_judges_an_enhanced_file_with_its_input(files, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["evaluate", files["enhanced"], "--input", files["input"], "-o", str(out)]
    assert main([*arguments, "--target", files["target"]]) == 0
    printed = capsys.readouterr().out
    assert "oracle, 1 field(s): " in printed
    assert {path.name for path in out.iterdir()} == {"report.html", "table.ecsv", "checks.ecsv"}
    assert len(QTable.read(out / "checks.ecsv")) > 20
    assert QTable.read(out / "table.ecsv").meta["headline"] in printed


def test_command_judges_an_enhanced_file_alone_and_never_overwrites(files, tmp_path, capsys):
    arguments = ["evaluate", files["enhanced"], "-o", str(tmp_path), "--size", "64"]
    assert main(arguments) == 0
    assert "Not judged" in capsys.readouterr().out
    before = (tmp_path / "report.html").read_bytes()
    assert main(arguments) == 1
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_bytes() == before
    assert main([*arguments, "--overwrite"]) == 0


def test_command_says_that_an_input_is_no_enhanced_image(files, tmp_path, capsys):
    arguments = ["evaluate", files["input"], "--input", files["input"], "-o", str(tmp_path / "x")]
    assert main(arguments) == 1
    assert "has no card SRMODEL" in capsys.readouterr().err


def judged_page(folder):
    """The report of a folder, which must be whole."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    return page


def test_command_judges_the_pairs_of_a_dataset_folder(tmp_path, capsys):
    """A folder as `fetch_pairs` makes it: calibrated inputs, targets with noise and a PSF."""

    def source(side):
        def get(position):
            return copy_pair(*simulated(round(position.ra.deg), bands=("g", "r")))[side]

        return get

    table = Table({"name": ["a", "b"], "ra": [11.0, 12.0], "dec": [0.5, 0.5]})
    fetch_pairs(
        table, tmp_path / "set", input_source=source(0), target_source=source(1), match=as_matched
    )
    out = tmp_path / "out"
    arguments = ["evaluate", "--pairs", str(tmp_path / "set"), "--bands", "g", "r"]
    arguments += ["--trials", "0", "--baselines", "bicubic"]
    assert main([*arguments, "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "splus, 2 field(s)" in printed
    table = QTable.read(out / "table.ecsv")
    assert set(table["field"]) == {"a", "b"}
    assert set(table["band"]) == {"g", "r", "joint"}
    assert np.isfinite(table["psnr_seed"]).all()
    page = judged_page(out)
    for text in ("before (bicubic) and after (splus)", "Scores before and after",
                 "The target is the image of another survey"):  # fmt: skip
        assert text in page
    assert main([*arguments, "--bands", "z", "-o", str(tmp_path / "z")]) == 1
    assert "--bands must be among g, r, those of 'a'; got z" in capsys.readouterr().err


@pytest.mark.realdata
@pytest.mark.slow
def test_command_judges_a_real_tile(real_data, tmp_path, capsys):
    """Three bands, one alone, and the enhanced file: by itself, and with its input."""
    tile = sorted(str(path) for path in (real_data / "splus" / "SPLUS-s26s19").glob("*.fits"))
    common = ["--size", "96", "--baselines", "bicubic"]
    assert main(["evaluate", *tile, *common, "--trials", "1", "-o", str(tmp_path / "grz")]) == 0
    assert "splus-grz, 1 field(s)" in capsys.readouterr().out
    assert main(["evaluate", tile[1], *common, "--trials", "0", "-o", str(tmp_path / "r")]) == 0
    assert "splus-any, 1 field(s)" in capsys.readouterr().out
    cut = read_bands(tile[1])
    band = next(iter(cut))
    inner = {band: central_part(cut, 128)[band]}
    files = [
        str(write_bands(tmp_path / "in.fits", inner)),
        str(write_bands(tmp_path / "out.fits", SRGANEnhancer(device="cpu")(inner))),
    ]
    assert main(["evaluate", files[1], "-o", str(tmp_path / "alone")]) == 0
    assert "Not judged" in capsys.readouterr().out
    given = [files[1], "--input", files[0], "--size", "96"]
    assert main(["evaluate", *given, "-o", str(tmp_path / "both")]) == 0
    checks = QTable.read(tmp_path / "both" / "checks.ecsv")
    chosen = checks[checks["name"] == "mean of input less blurred output"]
    assert list(chosen["verdict"]) == ["pass"]
    for name in ("grz", "r", "alone", "both"):
        judged_page(tmp_path / name)


@pytest.mark.slow
def test_command_enhances_simulated_fields_and_one_file(files, tmp_path, capsys):
    common = ["--trials", "1", "--baselines", "bicubic"]
    simulated = ["--simulate", "2", "--shape", "64", "64", *common, "-o", str(tmp_path / "a")]
    assert main(["evaluate", *simulated]) == 0
    assert "splus-grz, 2 field(s)" in capsys.readouterr().out
    assert main(["evaluate", files["input"], *common, "-o", str(tmp_path / "b")]) == 0
    assert "splus-any, 1 field(s)" in capsys.readouterr().out
