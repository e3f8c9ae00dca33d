# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""``splus-srgan enhance`` on a cube of S-Cubes."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import read_bands
from splus_srgan.cli.main import main
from splus_srgan.images.units import parse_unit

# The frames are small, to be fast: noise and one source.
pytestmark = pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.SplusSrganWarning")


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    """Two bands of noise and a source, in integers of 1e-20, as S-Cubes lays them out."""
    rng = np.random.default_rng(7)
    y, x = np.indices((48, 48))
    source = 20000 * np.exp(-((y - 22) ** 2 + (x - 21) ** 2) / 2.4)
    data = (source + rng.normal(0, 100, (2, 48, 48))).round().astype(np.int32)
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN", ""
    wcs.wcs.crval, wcs.wcs.crpix = (159.29, -28.08, 0), (24.5, 24.5, 0)
    wcs.wcs.cdelt = -0.55 / 3600, 0.55 / 3600, 1
    hdus = [fits.PrimaryHDU()]
    hdus[0].header["GALAXY"] = "NGC3312"
    for name, array in (("DATA", data), ("ERRORS", np.full_like(data, 100))):
        hdu = fits.ImageHDU(array, wcs.to_header(), name=name)
        hdu.header["BSCALE"], hdu.header["BZERO"] = 1e-20, 0.0
        hdu.header["BUNIT"] = "erg / (Angstrom s cm2)"
        hdus.append(hdu)
    hdus.append(fits.ImageHDU(np.zeros((48, 48), np.int64), name="WEIMASK"))
    table = Table({"FILTER": ["R", "F660"], "PSFFWHM": [1.42, 1.5], "EXPTIME": [195.5, 1430.25]})
    hdus.append(fits.BinTableHDU(table, name="METADATA"))
    path = tmp_path_factory.mktemp("cube") / "NGC3312_cube.fits"
    fits.HDUList(hdus).writeto(path)
    return path


def test_enhance_a_cube_to_a_cube(cube, tmp_path, capsys):
    arguments = ["enhance", str(cube), "-o", str(tmp_path), "--format", "scubes", "--psf", "header"]
    assert main([*arguments, "--device", "cpu"]) == 0
    path = tmp_path / "NGC3312_cube_sr.fits"
    out = capsys.readouterr().out
    assert "r: weights splus," in out
    assert "FWHM 1.5" in out
    assert f"{path}: r, J0660; 96 x 96 pixels" in out
    with fits.open(path, checksum=True) as hdus, fits.open(cube) as before:
        assert hdus["DATA"].data.shape == hdus["ERRORS"].data.shape == (2, 96, 96)
        assert parse_unit(hdus["DATA"].header["BUNIT"]) == parse_unit("erg / (Angstrom s cm2)")
        wcs = WCS(hdus["DATA"].header)
        assert wcs.naxis == 3
        assert_allclose(wcs.wcs.crpix[:2], 48.5)
        assert_allclose(np.abs(np.diag(wcs.pixel_scale_matrix))[:2], 0.275 / 3600)
        table = hdus["METADATA"].data
        assert list(table["FILTER"]) == ["R", "F660"]
        assert_array_equal(table["PSFFWHM"], 1.0)
        assert_array_equal(table["EXPTIME"], [195.5, 1430.25])
        fluxes = [f["DATA"].data.sum(axis=(1, 2)) for f in (hdus, before)]
        assert_allclose(*fluxes, rtol=0.05)
        # A quarter of the area, and hardly more than the noise that was there.
        assert 0 < np.median(hdus["ERRORS"].data) < 1e-18
    sharp = read_bands(path)["J0660"]
    assert sharp.meta["SRPSFFWH"] == 1.5
    assert sharp.flags is not None
    assert main([*arguments, "--device", "cpu"]) == 1


def test_enhance_a_cube_to_bands(cube, tmp_path):
    target = tmp_path / "sharp.fits"
    options = ["--psf", "header", "--device", "cpu", "--bands", "r"]
    assert main(["enhance", str(cube), "-o", str(target), *options]) == 0
    with fits.open(target) as hdus:
        assert "ERR" not in hdus
        assert hdus["SCI", 1].header["HIERARCH METADATA EXPTIME"] == 195.5


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--batch", "x.csv"], 2, "--format scubes does not go with --batch"),
        (["field.fits"], 1, "unit of band 'r' must be a flux per wavelength"),
    ],
)
def test_what_makes_no_cube_is_told_before_any_work(
    tmp_path, monkeypatch, capsys, arguments, status, words
):
    monkeypatch.chdir(tmp_path)
    image = np.random.default_rng(1).normal(size=(32, 32)).astype(np.float32)
    cards = fits.Header({"FILTER": "R", "BUNIT": "adu"})
    fits.PrimaryHDU(image, cards).writeto("field.fits")
    assert main(["enhance", *arguments, "-o", "out", "--format", "scubes"]) == status
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
