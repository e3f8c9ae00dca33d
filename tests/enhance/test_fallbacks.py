# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Nothing is chosen in silence: what is not known of a field is told by name, once a kind."""

import warnings

import numpy as np
import pytest
from astropy.nddata import CCDData

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.exceptions import FallbackWarning, SplusSrganWarning

OPTIONS = {"engine": "torch", "device": "cpu", "precision": "float32", "check_input": False}
KNOWN = {"sky": 0.0, "sigma": 1.0}


@pytest.fixture(scope="module")
def field():
    observed = simulate_field(22, shape=(48, 48), kind="blank").observed
    rng = np.random.default_rng(1)
    for image in observed.values():
        image.data[:] = rng.standard_normal((48, 48))
    return observed


def told(enhancer, data, **options):
    """Messages of the fallbacks of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SplusSrganWarning)
        enhancer(data, **KNOWN, **options)
    return [str(one.message) for one in caught if one.category is FallbackWarning]


def test_nothing_is_told_where_all_is_known(field):
    assert told(SRGANEnhancer(**OPTIONS), field) == []


def test_unknown_pixel_scale_and_seeing_are_told(field):
    bare = CCDData(field["r"].data, unit="adu")
    first, second = told(SRGANEnhancer(**OPTIONS), bare, bands="r")
    assert first.startswith("the pixel scale is not known, since the data have no celestial WCS")
    assert "0.55 arcsec is assumed" in first
    assert second.startswith("the PSF of r is not known")
    assert "flux is not anchored" in second


@pytest.mark.parametrize(
    ("psf", "why"),
    [
        ("measure", "since psf='measure' looks at stars alone, and finds too few:"),
        ("header", "since psf='header' looks at the header (FWHMMEAN) alone:"),
        ("auto", "neither from a header (FWHMMEAN) nor from stars:"),
    ],
)
def test_where_the_seeing_was_looked_for_is_told(field, psf, why):
    known = psf == "measure"  # the header has one, and was not asked
    meta = {"FWHMMEAN": 1.4} if known else {}
    image = CCDData(field["r"].data, unit="adu", wcs=field["r"].wcs, meta=meta)
    (message,) = told(SRGANEnhancer(psf=psf, **OPTIONS), image, bands="r")
    assert message.startswith(f"the PSF of r is not known, {why}")


def test_an_anchor_that_is_not_wanted_is_not_missed(field):
    bare = field["r"].copy()
    bare.meta = {}
    assert len(told(SRGANEnhancer(**OPTIONS), bare, bands="r")) == 1
    assert told(SRGANEnhancer(**OPTIONS, flux_anchor=0), bare, bands="r") == []
    given = SRGANEnhancer(**OPTIONS, psf={"r": (1.3, 3.0)})
    assert told(given, bare, bands="r") == []


def test_bands_that_no_weights_restore_together_are_told(field):
    two = {"VR": field["g"], "r": field["r"]}
    (message,) = told(SRGANEnhancer(**OPTIONS), two)
    assert message.startswith("splus-any restores VR, r each by itself")
    assert told(SRGANEnhancer("splus-any", **OPTIONS), two) == []
    assert told(SRGANEnhancer(**OPTIONS), two["r"], bands="r") == []
    assert told(SRGANEnhancer(**OPTIONS), {band: field[band] for band in ("g", "r")}) == []


def test_warnings_point_at_the_caller(field):
    bare = CCDData(field["r"].data, unit="adu")
    with pytest.warns(FallbackWarning) as caught:
        SRGANEnhancer(**OPTIONS)(bare, bands="r", **KNOWN)
    assert {one.filename for one in caught} == {__file__}
