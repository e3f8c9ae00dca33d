# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Zero points from tables and models, calibration to nanomaggies, weight maps."""

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.table import MaskedColumn, Table
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.exceptions import ServiceError
from splus_srgan.images.io.fields import read_bands, write_bands
from splus_srgan.splus import BANDS
from splus_srgan.surveys.zero_points import (
    ZeroPointModel,
    ZeroPointTable,
    calibrate_flux,
    fetch_zero_points,
    field_name,
    gain_from_zero_point,
    weight_to_uncertainty,
)

pytestmark = pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")

CSV = """Field,RA,DEC,ZP_u,ZP_J0378,ZP_g,ZP_r,ZP_z
HYDRA-0011,150.77,-23.91,19.978,19.217,22.781,22.71,21.904
STRIPE82-0001,0.0,-0.7,20.879,20.069,23.559,23.569,99.0
HYDRA-D-0003,157.0,-27.4,20.876,20.069,,23.532,22.76
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "zero_points.csv"
    path.write_text(CSV)
    return ZeroPointTable.read(path)


def make_wcs(ra=10.0, dec=-0.5, crpix=(10.0, 10.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], list(crpix)
    wcs.wcs.cd = np.diag([-0.55 / 3600, 0.55 / 3600])
    wcs.wcs.set()
    return wcs


def make_header(**cards):
    header = fits.Header()
    header["OBJECT"], header["FILTER"], header["TELESCOP"] = "STRIPE82_0001", "R", "T80"
    header["TEXPOSED"] = 120.0
    header["GAIN"] = (246.7075443203, "Maximum equivalent gain (e-/ADU)")
    header["SATURATE"] = (1605.485078019, "Saturation Level (ADU)")
    header["HIERARCH OAJ QC NCNOISE"] = (0.0794, "Noise estim (ADU)")
    header["HIERARCH OAJ PRO FWHMMEAN"] = 1.323
    header.update(cards)
    return header


def make_image(shape=(20, 20), **options):
    data = np.random.default_rng(1).normal(0, 0.15, shape).astype(np.float32)
    options = {"unit": "adu", "wcs": make_wcs(), "meta": make_header()} | options
    return CCDData(data, **options)


# Table


@pytest.mark.parametrize(
    "field", ["STRIPE82-0001", "STRIPE82_0001", "stripe82-0001", "STRIPE820001"]
)
@pytest.mark.parametrize("band", ["r", "R", "rSDSS"])
def test_spelling_of_fields_and_bands_does_not_matter(table, field, band):
    assert table.zero_point(field, band) == 23.569


@pytest.mark.parametrize("band", ["J0378", "F378", "j0378"])
def test_narrow_band(table, band):
    assert table.zero_point("HYDRA_0011", band) == 19.217


def test_fields_and_bands_of_a_table(table):
    assert table.fields == ("HYDRA-0011", "STRIPE82-0001", "HYDRA-D-0003")
    assert table.bands == ("u", "J0378", "g", "r", "z")
    assert repr(table) == "<ZeroPointTable of 3 fields, bands u, J0378, g, r, z>"


def test_field_that_is_not_in_the_table(table):
    with pytest.raises(
        ValueError, match=r"field must be one of the 3 in the table.*'SPLUS-s01s01'"
    ):
        table.zero_point("SPLUS-s01s01", "r")


def test_band_that_is_not_in_the_table(table):
    with pytest.raises(ValueError, match=r"band must be one of u, J0378, g, r, z; got 'i'"):
        table.zero_point("HYDRA-0011", "i")
    with pytest.raises(ValueError, match="band must be one of u, g"):
        table.zero_point("HYDRA-0011", "y")


@pytest.mark.parametrize(("field", "band"), [("STRIPE82-0001", "z"), ("HYDRA-D-0003", "g")])
def test_placeholder_and_empty_cell_are_no_zero_points(table, field, band):
    with pytest.raises(ValueError, match=f"no zero point of '{field}' in {band}; it says"):
        table.zero_point(field, band)


def test_two_rows_of_one_field_are_refused():
    with pytest.raises(ValueError, match=r"one row per field; got several of \['A-1', 'A_1'\]"):
        ZeroPointTable(Table({"Field": ["A-1", "A_1", "B"], "ZP_g": [23.0, 23.1, 23.2]}))


@pytest.mark.parametrize("columns", [{"Field": ["A"]}, {"ZP_g": [23.0]}])
def test_table_without_its_columns_is_refused(columns):
    with pytest.raises(ValueError, match="must have a column 'Field' and columns 'ZP_<band>'"):
        ZeroPointTable(Table(columns))


def test_file_that_is_no_table(tmp_path):
    path = tmp_path / "zero_points.csv"
    path.write_text("<html><body>Service unavailable</body></html>\n")
    with pytest.raises(ValueError, match=r"zero_points\.csv"):
        ZeroPointTable.read(path)
    with pytest.raises(OSError, match="none"):
        ZeroPointTable.read(tmp_path / "none.csv")


def test_ecsv_with_masked_cells(tmp_path):
    zero_points = MaskedColumn([23.5, 0.0], mask=[False, True])
    path = tmp_path / "zero_points.ecsv"
    Table({"FIELD": ["A", "B"], "ZP_r": zero_points}).write(path)
    table = ZeroPointTable.read(path)
    assert table.zero_point("A", "r") == 23.5
    with pytest.raises(ValueError, match="no zero point of 'B'"):
        table.zero_point("B", "r")


def test_field_name():
    assert field_name({"FIELD": "HYDRA_D_0003", "OBJECT": "other"}) == "HYDRA_D_0003"
    assert field_name(make_header()) == "STRIPE82_0001"
    with pytest.raises(ValueError, match="FIELD or OBJECT card"):
        field_name({"FIELD": " "})


def test_download_of_the_table(replay_server):
    replay_server.expect_request("/zp.csv").respond_with_data(CSV)
    url = replay_server.url_for("/zp.csv")
    assert fetch_zero_points(url=url).zero_point("HYDRA-0011", "g") == 22.781
    replay_server.clear()
    assert fetch_zero_points(url=url).zero_point("HYDRA-0011", "g") == 22.781


def test_error_page_in_place_of_the_table_is_not_kept(replay_server):
    replay_server.expect_request("/zp.csv").respond_with_data("<html>maintenance</html>")
    with pytest.raises(ServiceError, match=r"zp\.csv"):
        fetch_zero_points(url=replay_server.url_for("/zp.csv"))
    replay_server.clear()
    replay_server.expect_request("/zp.csv").respond_with_data(CSV)
    assert len(fetch_zero_points(url=replay_server.url_for("/zp.csv")).fields) == 3


# Model


def bilinear(ra, dec):
    """A surface that bilinear interpolation reproduces exactly."""
    return 0.01 + 0.02 * (ra - 10) - 0.03 * (dec + 0.5) + 0.05 * (ra - 10) * (dec + 0.5)


def make_model(ra0=10.0, n=15):
    ra, dec = ra0 + np.linspace(-0.8, 0.8, n), np.linspace(-1.3, 0.3, n)
    grid = bilinear((ra - ra0 + 10)[:, None], dec[None, :])
    return {
        "global_median": 22.9,
        "grid": grid.tolist(),
        "ra_centers": (ra % 360).tolist(),
        "dec_centers": dec.tolist(),
    }


@pytest.mark.parametrize("ra0", [10.0, 0.0, 359.9, 180.0])
def test_model_is_bilinear_also_across_the_origin(ra0):
    model = ZeroPointModel.from_dict(make_model(ra0))
    rng = np.random.default_rng(2)
    dra, dec = rng.uniform(-0.8, 0.8, 40), rng.uniform(-1.3, 0.3, 40)
    sky = SkyCoord((ra0 + dra) % 360, dec, unit="deg")
    assert_allclose(model.zero_point(sky), 22.9 + bilinear(10 + dra, dec), rtol=0, atol=1e-10)


def test_model_gives_a_float_for_one_position():
    model = ZeroPointModel.from_dict(make_model())
    value = model.zero_point((10.1, -0.4))
    assert isinstance(value, float)
    assert value == pytest.approx(22.9 + bilinear(10.1, -0.4), abs=1e-12)
    galactic = SkyCoord(10.1, -0.4, unit="deg").galactic
    assert model.zero_point(galactic) == pytest.approx(value, abs=1e-9)


def test_first_axis_of_the_grid_is_right_ascension():
    model = ZeroPointModel(23.0, [[0.0, 0.0, 0.0], [0.1, 0.1, 0.1]], [10, 11], [0, 1, 2])
    assert model.zero_point((11, 0)) == pytest.approx(23.1)
    assert model.zero_point((10, 2)) == pytest.approx(23.0)


@pytest.mark.parametrize("position", [(10.9, -0.5), (9.1, -0.5), (10.0, 0.4), (190.0, -0.5)])
def test_outside_of_the_grid_is_an_error(position):
    model = ZeroPointModel.from_dict(make_model())
    with pytest.raises(ValueError, match=r"within the grid.*RA 9\.2000 to 10\.8000.*22\.900"):
        model.zero_point(position)


def test_part_of_the_grid_without_stars_is_an_error():
    content = make_model()
    content["grid"][0][0] = None
    model = ZeroPointModel.from_dict(content)
    assert np.isfinite(model.zero_point((10.0, -0.5)))
    with pytest.raises(ValueError, match=r"no zero point at \(9\.2100, -1\.2900\).*NaN"):
        model.zero_point((9.21, -1.29))


def test_model_from_edges_when_centers_do_not_fit():
    """The files hold centers of other lengths than the grid; limits and padding tell more."""
    content = make_model(n=16)
    width = content["ra_centers"][1] - content["ra_centers"][0]
    low, high = content["ra_centers"][0] + width / 2, content["ra_centers"][-1] - width / 2
    content["ra_centers"] = content["ra_centers"][:-1]
    with pytest.raises(ValueError, match="16 numbers 'ra_centers', or 'ra_min' and 'ra_max'"):
        ZeroPointModel.from_dict(content)
    model = ZeroPointModel.from_dict(content | {"ra_min": low, "ra_max": high, "bins": 15})
    assert_allclose(model.ra, 10.0 + np.linspace(-0.8, 0.8, 16), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": None}, r"'global_median' and 'grid'; got none of \['grid'\]"),
        ({"global_median": 99.0}, "global_median must be the AB magnitude of 1 ADU"),
        ({"grid": [[0.0, 1.0]]}, "at least 2 x 2"),
        ({"grid": [0.0, 1.0]}, "grid must be two-dimensional"),
        ({"dec_centers": [float(i) for i in range(15, 0, -1)]}, "dec must increase"),
    ],
)
def test_bad_models_are_refused(change, message):
    content = make_model() | change
    if change.get("grid") == [[0.0, 1.0]]:
        content |= {"ra_centers": [1.0], "dec_centers": [1.0, 2.0]}
    with pytest.raises(ValueError, match=message):
        ZeroPointModel.from_dict(content)


def test_model_file(tmp_path):
    path = tmp_path / "field_R_zp.json"
    path.write_text(json.dumps(make_model()))
    assert repr(ZeroPointModel.read(path)) == "<ZeroPointModel 22.900 mag, grid 15 x 15>"
    for text in ("<html>", "[1, 2]", "{}", '{"global_median": "x", "grid": [[1, 2], [3, 4]]}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="is no model of zero points"):
            ZeroPointModel.read(path)


# Calibration


def test_magnitudes_come_out():
    """A star of 18 mag has 10^(0.4 (ZP - 18)) ADU, and must have 10^(0.4 (22.5 - 18)) nmgy."""
    image = make_image()
    image.data[:] = 10 ** (0.4 * (23.569 - 18.0))
    calibrated = calibrate_flux(image, 23.569)
    assert_allclose(22.5 - 2.5 * np.log10(calibrated.data), 18.0, atol=1e-6)
    # 18 mag AB in jansky, by the definitions of AB and of the maggie.
    flux = calibrated.data[0, 0] * calibrated.unit
    flux = flux.to_value(u.Jy, u.zero_point_flux(3630.7805 * u.Jy))
    assert flux == pytest.approx(10 ** (-0.4 * (18.0 - 8.9)), rel=1e-5)


def test_what_comes_with_the_image_stays(table):
    mask, flags = np.zeros((20, 20), bool), np.arange(400).reshape(20, 20)
    mask[3, 4] = True
    image = make_image(mask=mask, psf=np.ones((3, 3)), flags=flags)
    before = image.copy()
    calibrated = calibrate_flux(image, table)
    factor = 10 ** (0.4 * (22.5 - 23.569))
    assert_allclose(calibrated.data, before.data * factor, rtol=1e-6)
    assert calibrated.data.dtype == np.float32
    assert calibrated.unit == u.nmgy
    assert_array_equal(calibrated.mask, mask)
    assert_array_equal(calibrated.flags, flags)
    assert_array_equal(calibrated.psf, np.ones((3, 3)))
    assert calibrated.wcs.wcs == before.wcs.wcs
    assert_array_equal(image.data, before.data)
    assert image.unit == u.adu
    assert image.meta == before.meta
    calibrated.mask[:] = True
    assert image.mask.sum() == 1


@pytest.mark.parametrize(
    ("kind", "power"), [(StdDevUncertainty, 1), (VarianceUncertainty, 2), (InverseVariance, -2)]
)
def test_uncertainty_is_scaled(kind, power):
    image = make_image(uncertainty=kind(np.full((20, 20), 4.0)))
    calibrated = calibrate_flux(image, 23.5)
    assert_allclose(calibrated.uncertainty.array, 4.0 * 10 ** (-0.4 * power), rtol=1e-6)
    signal_to_noise = image.data / image.uncertainty.represent_as(StdDevUncertainty).array
    after = calibrated.data / calibrated.uncertainty.represent_as(StdDevUncertainty).array
    assert_allclose(after, signal_to_noise, rtol=1e-5)


def test_uncertainty_in_another_unit_is_scaled_as_what_it_is():
    image = make_image()
    image.uncertainty = StdDevUncertainty(np.full(image.shape, 3.0))
    wanted = calibrate_flux(image, 23.5).uncertainty.array
    image.uncertainty = StdDevUncertainty(np.full(image.shape, 3000.0), unit=u.adu / 1000)
    assert_allclose(calibrate_flux(image, 23.5).uncertainty.array, wanted, rtol=1e-6)


def test_unknown_uncertainty_is_refused():
    image = make_image(uncertainty=UnknownUncertainty(np.ones((20, 20))))
    with pytest.raises(ValueError, match=r"must be a StdDevUncertainty, .*; got UnknownUnc"):
        calibrate_flux(image, 23.5)


def test_header_is_converted_and_can_be_written(tmp_path):
    calibrated = calibrate_flux(make_image(), 23.569)
    meta = calibrated.meta
    factor = 10 ** (0.4 * (22.5 - 23.569))
    assert meta["SATURATE"] == pytest.approx(1605.485078019 * factor, rel=1e-6)
    assert meta.comments["SATURATE"] == "Saturation Level (nmgy)"
    assert meta["OAJ QC NCNOISE"] == pytest.approx(0.0794 * factor, rel=1e-6)
    assert meta["OAJ PRO FWHMMEAN"] == 1.323
    # Electrons at saturation are what they were.
    assert meta["GAIN"] * meta["SATURATE"] == pytest.approx(246.7075443203 * 1605.485078019)
    assert (meta["SRZP"], meta["MAGZERO"]) == (23.569, 22.5)
    back = read_bands(write_bands(tmp_path / "r.fits", {"r": calibrated}))["r"]
    assert back.unit == u.nmgy
    assert back.meta["MAGZERO"] == 22.5
    assert_array_equal(back.data, calibrated.data)


def test_plain_metadata_and_ndd_data():
    image = NDData(np.full((2, 2), 100.0), unit="adu", meta={"SATURATE": 1000.0, "NOTE": "ADU"})
    calibrated = calibrate_flux(image, 22.5 * u.mag)
    assert_allclose(calibrated.data, 100)
    assert calibrated.meta == {"SATURATE": 1000.0, "NOTE": "ADU", "SRZP": 22.5, "MAGZERO": 22.5}


def test_model_is_applied_per_pixel():
    """Rows beyond one block of positions, too."""
    model = ZeroPointModel.from_dict(make_model())
    image = make_image(shape=(300, 24))
    calibrated = calibrate_flux(image, model)
    for y, x in ((0, 0), (255, 3), (256, 3), (299, 23)):
        zero_point = model.zero_point(image.wcs.pixel_to_world(x, y))
        expected = image.data[y, x] * 10 ** (0.4 * (22.5 - zero_point))
        assert calibrated.data[y, x] == pytest.approx(expected, rel=5e-6)
    assert calibrated.meta["SRZP"] == pytest.approx(22.91, abs=0.01)


def test_image_beyond_the_model_or_without_wcs_is_refused():
    model = ZeroPointModel.from_dict(make_model())
    with pytest.raises(ValueError, match="within the grid of the zero points"):
        calibrate_flux(make_image(wcs=make_wcs(ra=10.81)), model)
    with pytest.raises(ValueError, match="image must have a WCS"):
        calibrate_flux(make_image(wcs=None), model)


def test_zero_point_per_pixel():
    zero_points = np.full((20, 20), 23.5)
    zero_points[0, 0] = 22.5
    image = make_image()
    calibrated = calibrate_flux(image, zero_points)
    assert calibrated.data[0, 0] == image.data[0, 0]
    assert_allclose(calibrated.data[1:], image.data[1:] * 10**-0.4, rtol=1e-6)


@pytest.mark.parametrize(
    ("zero_point", "error", "message"),
    [
        (99.0, ValueError, "zero_point must be the AB magnitude of 1 ADU, between 10 and 35"),
        (np.nan, ValueError, "zero_point must be finite"),
        (True, TypeError, "zero_point must be a real number"),
        ("23.5", TypeError, "zero_point must be a real number"),
        (np.full((2, 2), 23.5), ValueError, r"shape of the image, \(20, 20\); got \(2, 2\)"),
        (np.full((20, 20), 0.0), ValueError, "between 10 and 35; got 0"),
    ],
)
def test_bad_zero_points_are_refused(zero_point, error, message):
    with pytest.raises(error, match=message):
        calibrate_flux(make_image(), zero_point)


@pytest.mark.parametrize("unit", [u.mag, u.ABmag])
def test_zero_points_may_be_magnitudes(unit):
    wanted = calibrate_flux(make_image(), 23.5).data
    assert_array_equal(calibrate_flux(make_image(), 23.5 * unit).data, wanted)


def test_what_is_calibrated_is_not_calibrated_again():
    once = calibrate_flux(make_image(), 23.5)
    with pytest.raises(ValueError, match="got the unit nmgy; it is calibrated already"):
        calibrate_flux(once, 23.5)
    with pytest.raises(TypeError, match="image must be a CCDData or NDData; got ndarray"):
        calibrate_flux(np.ones((2, 2)), 23.5)


def test_table_needs_field_and_band(table):
    with pytest.raises(ValueError, match="must name its band in a FILTER card"):
        calibrate_flux(make_image(meta={"OBJECT": "HYDRA-0011"}), table)
    with pytest.raises(ValueError, match="FIELD or OBJECT card"):
        calibrate_flux(make_image(meta={"FILTER": "R"}), table)


# Weights


@pytest.mark.parametrize("gain", [247.0, 115.0])
def test_uncertainty_is_that_of_simulated_counts(gain):
    """Sky noise and photon noise of a source, drawn: deviations have a standard deviation of 1."""
    rng = np.random.default_rng(3)
    truth = np.repeat(np.geomspace(1.0, 500.0, 200)[None, :], 400, axis=0)
    sigma = rng.uniform(0.1, 0.2, truth.shape)
    data = rng.poisson(truth * gain) / gain + rng.normal(0, sigma)
    uncertainty, mask = weight_to_uncertainty(1 / sigma**2, data, gain=gain)
    deviation = (data - truth) / uncertainty.array
    assert not mask.any()
    assert uncertainty.array.dtype == np.float32
    for part in np.split(deviation, 4, axis=1):
        assert part.std() == pytest.approx(1.0, abs=0.02)
    # A gain that is wrong by two is seen where the source dominates.
    wrong, _ = weight_to_uncertainty(1 / sigma**2, data, gain=gain / 2)
    assert ((data - truth) / wrong.array)[:, 150:].std() < 0.75


def test_negative_zero_and_unknown_weights():
    weight = [[25.0, -25.0, 0.0, np.nan, -np.inf]]
    uncertainty, mask = weight_to_uncertainty(weight, np.full((1, 5), 2.0), gain=100.0)
    sigma = np.sqrt(0.04 + 0.02)
    assert_allclose(uncertainty.array, [[sigma, sigma, np.inf, np.inf, np.inf]], rtol=1e-6)
    assert_array_equal(mask, [[False, True, True, True, True]])


def test_negative_and_missing_data():
    uncertainty, mask = weight_to_uncertainty(
        np.full((1, 2), 25.0), np.array([[-2.0, np.nan]]), gain=100.0
    )
    assert_allclose(uncertainty.array, [[np.sqrt(0.06), np.inf]], rtol=1e-6)
    assert not mask.any()


def test_without_gain_the_sky_alone_counts():
    uncertainty, _ = weight_to_uncertainty([[4.0]], [[1e6]], gain=None)
    assert uncertainty.array == 0.5


def test_bad_weights_are_refused():
    with pytest.raises(ValueError, match=r"shape of the data, \(2, 2\); got \(3, 2\)"):
        weight_to_uncertainty(np.ones((3, 2)), np.ones((2, 2)), gain=1.0)
    with pytest.raises(ValueError, match="gain must be above 0; got 0"):
        weight_to_uncertainty(np.ones((2, 2)), np.ones((2, 2)), gain=0)


# Gain


@pytest.mark.parametrize("band", BANDS)
def test_gain_modes_follow_from_the_zero_points(band):
    """0.96 and 2.06 electrons per ADU, times the exposure time; the numbers are good to 20 %."""
    high, low = sorted(BANDS[band].zero_points)
    header = {"FILTER": band, "TEXPOSED": BANDS[band].exposure}
    for zero_point, native in ((high, 2.06), (low, 0.96)):
        gain = gain_from_zero_point(header, zero_point)
        assert gain == pytest.approx(native * BANDS[band].exposure, rel=0.2)


def test_gain_needs_band_and_exposure():
    with pytest.raises(ValueError, match=r"FILTER among u, .*, J0660, .*, z; got 'Y'"):
        gain_from_zero_point({"FILTER": "Y", "TEXPOSED": 10.0}, 21.0)
    with pytest.raises(ValueError, match=r"exposure time .* as TEXPOSED; got None"):
        gain_from_zero_point({"FILTER": "R"}, 23.5)


# Real images


@pytest.mark.realdata
def test_real_table(real_data):
    table = ZeroPointTable.read(real_data / "splus" / "idr4_zero_points.csv")
    assert len(table.fields) == 1629
    assert len(table.bands) == 12
    assert table.zero_point("STRIPE82_0001", "R") == 23.569
    values = [table.zero_point(field, band) for field in table.fields for band in "grz"]
    assert 20 < min(values) < max(values) < 24


@pytest.mark.realdata
def test_real_noise_in_nanomaggies(real_data):
    """Whatever the gain mode, the noise is what the survey has in these bands."""
    table = ZeroPointTable.read(real_data / "splus" / "idr4_zero_points.csv")
    seen = 0
    for path in sorted((real_data / "splus").glob("*/*_[GRZ].fits*")):
        for band, image in read_bands(path).items():
            calibrated = calibrate_flux(image, table)
            _, low, high = BANDS[band].noise
            noise = next(v for k, v in calibrated.meta.items() if k.endswith("QC NCNOISE"))
            assert 0.4 * low < noise < 1.3 * high, path
            seen += 1
    assert seen > 20


@pytest.mark.realdata
def test_real_gain_cards(real_data):
    """The one tile whose GAIN card is known to be half of what it should be stands out."""
    table = ZeroPointTable.read(real_data / "splus" / "idr4_zero_points.csv")
    ratios = {}
    for path in sorted((real_data / "splus").glob("*/*_R.fits*")):
        meta = next(iter(read_bands(path).values())).meta
        zero_point = table.zero_point(field_name(meta), "r")
        ratios[field_name(meta)] = gain_from_zero_point(meta, zero_point) / meta["GAIN"]
    wrong = [name for name, ratio in ratios.items() if not 0.7 < ratio < 1.4]
    assert wrong == ["SPLUS-s28s28"]
    assert ratios["SPLUS-s28s28"] == pytest.approx(2, abs=0.6)
