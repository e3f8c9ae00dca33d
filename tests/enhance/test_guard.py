# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The guard at the door: silent for clean input, and a warning by name for what is none."""

import warnings

import numpy as np
import pytest
from astropy.nddata import CCDData
from scipy import ndimage

from splus_srgan import Quality, SRGANEnhancer, simulate_field
from splus_srgan.enhance.guard import check_input
from splus_srgan.enhance.kinds import KINDS
from splus_srgan.exceptions import UnusualInputWarning
from splus_srgan.splus import BANDS


@pytest.fixture(scope="module")
def clean():
    return simulate_field((7, 16), kind="galaxy", shape=(96, 96), bands=("r",)).observed["r"]


@pytest.fixture(scope="module")
def sigma(clean):
    return clean.header["HIERARCH OAJ QC NCNOISE"]


@pytest.fixture(scope="module")
def enhancer():
    return SRGANEnhancer("splus-any", device="cpu", precision="float32")


def with_data(image, data, **cards):
    header = image.header.copy()
    header.update(cards)
    data = np.asarray(data, np.float32)
    return CCDData(data, unit=image.unit, wcs=image.wcs, header=header)


def clipped(data, sigma):
    return data.clip(0)


def gridded(data, sigma):
    return 2 * sigma * np.round(data / (2 * sigma))


def smoothed(data, sigma):
    return ndimage.gaussian_filter(data, 0.6)


def repeated(data, sigma):
    return data[:48, :48].repeat(2, 0).repeat(2, 1)


def stepped(data, sigma):
    return data + 2 * sigma * (np.arange(96) > 40)


def banded(data, sigma):
    return data + np.random.default_rng(1).normal(0, sigma, (96, 1))


def tilted(data, sigma):
    return data + np.linspace(-0.5, 0.5, 96) * sigma


def spiked(data, sigma):
    data = data.copy()
    data[[8, 30, 88], [90, 7, 60]] += 20 * sigma
    return data


def blanked(data, sigma):
    data = data.copy()
    data[5:9, 5:9] = 0
    return data


def picture(data, sigma):
    return np.clip(np.round(30 + 5 * data / sigma), 0, 255)


def stretched(data, sigma):
    return 10 * sigma * np.arcsinh(data / (10 * sigma))


def sharpened(data, sigma):
    return data + 2 * (data - ndimage.gaussian_filter(data, 1))


def darkened(data, sigma):
    return -data


def vignetted(data, sigma):
    place = np.linspace(-1, 1, 96)
    return data + 2 * sigma * (place**2 + place[:, None] ** 2)


DEFECTS = {
    "bowl": vignetted,
    "mottle": sharpened,
    "dark": darkened,
    "stretched": stretched,
    "picture": picture,
    "floor": clipped,
    "grid": gridded,
    "texture": smoothed,
    "repeated": repeated,
    "step": stepped,
    "banding": banded,
    "tilt": tilted,
    "spikes": spiked,
    "blank": blanked,
}


def test_clean_input_is_silent(clean, enhancer):
    assert check_input(clean)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnusualInputWarning)
        result = enhancer(clean)
    assert "SRUNUSUL" not in result.header
    assert not (result.flags & Quality.UNUSUAL).any()


@pytest.mark.parametrize("kind", DEFECTS)
def test_each_kind_is_found(clean, sigma, kind):
    report = check_input(with_data(clean, DEFECTS[kind](clean.data, sigma)))
    assert kind in report.kinds
    assert not report


def test_asinh_files_are_known_by_their_card(clean):
    assert "asinh" in check_input(with_data(clean, clean.data, BSOFTEN=0.5)).kinds


def test_enhancer_warns_by_name_flags_and_records(clean, sigma, enhancer):
    image = with_data(clean, spiked(clean.data, sigma))
    with pytest.warns(UnusualInputWarning, match="single bright or dark pixels in r: cosmic rays"):
        result = enhancer(image)
    assert result.header["SRUNUSUL"] == "spikes"
    flagged = (result.flags & Quality.UNUSUAL) != 0
    assert flagged.sum() == 4 * 3
    assert flagged[16:18, 180:182].all()


def test_no_pixel_depends_on_it(clean, sigma, enhancer):
    """What is told changes nothing: a user may know better."""
    image = with_data(clean, spiked(clean.data, sigma))
    unasked = SRGANEnhancer("splus-any", device="cpu", precision="float32", check_input=False)
    with pytest.warns(UnusualInputWarning):
        told = enhancer(image)
    silent = unasked(image)
    assert np.array_equal(told.data, silent.data)
    assert np.array_equal(told.mask, silent.mask)
    assert np.array_equal(told.flags & ~np.uint8(Quality.UNUSUAL), silent.flags)


def test_it_can_be_turned_off(clean, sigma):
    enhancer = SRGANEnhancer("splus-any", device="cpu", precision="float32", check_input=False)
    result = enhancer(with_data(clean, spiked(clean.data, sigma)))
    assert "SRUNUSUL" not in result.header
    with pytest.raises(TypeError, match="check_input must be True or False; got 'yes'"):
        SRGANEnhancer(check_input="yes")


def test_report_as_table_text_and_html(clean, sigma):
    report = check_input({"r": with_data(clean, clipped(clean.data, sigma)), "i": clean_i(clean)})
    table = report.table
    assert set(table["kind"]) == set(KINDS)
    assert len(table) == 2 * len(KINDS)
    row = table[(table["kind"] == "floor") & (table["band"] == "r")][0]
    assert row["verdict"] == "unusual"
    assert row["value"] > row["highest"]
    assert "negative pixels" in row["advice"]
    assert "one-sided noise (r)" in str(report)
    assert "<table" in report._repr_html_()


def clean_i(image):
    header = image.header.copy()
    header["FILTER"] = "I"
    return CCDData(image.data, unit=image.unit, wcs=image.wcs, header=header)


@pytest.mark.parametrize("psf", ["real", "moffat"])
@pytest.mark.parametrize("kind", ["galaxy", "fill", "cluster", "stars", "blank"])
def test_clean_fields_of_all_kinds_are_silent(kind, psf):
    field = simulate_field((7, 21), kind=kind, shape=(72, 96), bands=("u", "r", "z"), psf=psf)
    report = check_input(field.observed)
    assert [name for name in report.kinds if KINDS[name].warns] == []


@pytest.mark.realdata
@pytest.mark.parametrize("tile", ["SPLUS-s26s19", "blank-0.1+0.1", "SPLUS-s24s32"])
def test_real_tiles_are_silent(real_data, tile):
    from splus_srgan import read_bands

    report = check_input(read_bands(sorted((real_data / "splus" / tile).glob("*.fits*"))))
    assert [name for name in report.kinds if KINDS[name].warns] == []


def test_sky_that_only_another_band_shows_is_told_where_it_is_off_zero():
    """The g band of this field is so full of galaxies that it has no sky by itself."""
    field = simulate_field((5, 95), shape=(64, 48), bands=("g", "u")).observed
    assert "sky" not in check_input(field).kinds
    for image in field.values():
        image.data += 50.0
    report = check_input(field)
    assert report.kinds["sky"] == ["g"]


def test_galaxies_of_one_width_are_no_stars():
    """Three of this cluster are, twice as wide as a star; with wings like no star's."""
    field = simulate_field((5, 5035), shape=(96, 192), bands=("u", "g"))
    assert "psf" not in check_input(field.observed).kinds
    stars = simulate_field((6500, 1), kind="stars", shape=(128, 128), bands=("r",)).observed["r"]
    stars.header["HIERARCH OAJ PRO FWHMMEAN"] *= 0.7
    assert check_input(stars).kinds["psf"] == ["r"]


def test_a_galaxy_that_fills_the_frame_is_no_pattern_in_the_noise():
    """Its structure is as coarse as such a pattern, and on every pixel."""
    field = simulate_field((2, 140), shape=(128, 128), bands=tuple(BANDS))
    assert field.kind == "fill"
    chosen = {band: field.observed[band] for band in ("J0430", "J0515", "J0861", "z")}
    assert not check_input(chosen).kinds


@pytest.mark.parametrize(
    ("k", "shape", "bands", "psf"),
    [
        (9285, (256, 64), ("z", "u", "g"), "real"),
        (11553, (64, 192), ("g", "z", "r"), "real"),
        (11677, (64, 64), ("i",), "real"),
        (10135, (96, 128), ("r", "u", "i"), "real"),
        (7431, (96, 96), ("u",), "moffat"),
        (7067, (96, 96), ("i", "r", "u"), "real"),
    ],
)
def test_the_arms_of_a_galaxy_that_fills_the_frame_are_no_step_and_no_tilt(k, shape, bands, psf):
    field = simulate_field((5, k), shape=shape, bands=bands, psf=psf)
    assert field.kind == "fill"
    assert not check_input(field.observed).kinds
    # A large step is still seen.
    for band, image in field.observed.items():
        image.data[shape[0] // 2 :] += 6 * field.sigma[band]
    assert "step" in check_input(field.observed).kinds
