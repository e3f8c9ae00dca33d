# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Stretches: formulas, exact inverses, and life among astropy's stretches."""

import pickle

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from astropy.utils.masked import Masked
from astropy.visualization import BaseStretch, CompositeStretch, ImageNormalize, LinearStretch
from astropy.visualization import SqrtStretch as AstropySqrtStretch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.pixels.stretch import (
    AsinhStretch,
    ChainedStretch,
    InverseStretch,
    MinMaxStretch,
    NoiseAsinhStretch,
)

PER_BAND = NoiseAsinhStretch([0.0, 1.0, -2.0], [0.1, 0.5, 2.0], softening=2.0, range=6.0)

STRETCHES = {
    "asinh": AsinhStretch(10 / 3),
    "minmax": MinMaxStretch(-1.5, 40.0),
    "minmax_bands": MinMaxStretch([-1.0, 0.0, 1.0], [1.0, 5.0, 20.0], per_band=True),
    "noise": NoiseAsinhStretch(0.2, 0.05),
    "noise_bands": PER_BAND,
    "noise_map": NoiseAsinhStretch(np.zeros((4, 5)), np.linspace(1, 2, 20).reshape(4, 5)),
    "chain": MinMaxStretch(-1.0, 3.0) + AsinhStretch(100 / 3),
}

any_stretch = pytest.mark.parametrize("stretch", STRETCHES.values(), ids=STRETCHES)


@pytest.fixture
def cube():
    return np.random.default_rng(5).normal(0.3, 2.0, (3, 4, 5))


# Formulas


def test_asinh_follows_its_formula():
    x = np.array([-3.0, 0.0, 1e-8, 0.3, 1e5])
    assert_allclose(AsinhStretch(7.0)(x), np.log(7 * x + np.sqrt((7 * x) ** 2 + 1)), rtol=1e-6)


def test_asinh_presets_are_those_of_the_paper():
    assert AsinhStretch.splus().scale == AsinhStretch.SPLUS_SCALE == 10 / 3
    assert AsinhStretch.legacy().scale == AsinhStretch.LEGACY_SCALE == 100 / 3


def test_noise_asinh_follows_its_formula():
    x = np.array([-0.4, 0.2, 0.5, 70.0])
    expected = np.arcsinh((x - 0.2) / (3 * 0.05)) / 8
    assert_allclose(NoiseAsinhStretch(0.2, 0.05)(x), expected, rtol=1e-14)


@given(st.floats(1e-9, 1e9))
def test_noise_asinh_does_not_see_the_unit(scale):
    x = np.linspace(-3.0, 900.0, 31)
    assert_allclose(
        NoiseAsinhStretch(0.2 * scale, 0.05 * scale)(x * scale),
        NoiseAsinhStretch(0.2, 0.05)(x),
        rtol=1e-12,
    )


def test_one_dimensional_parameters_go_along_the_band_axis(cube):
    stretched = PER_BAND(cube)
    for i, (sky, sigma) in enumerate([(0.0, 0.1), (1.0, 0.5), (-2.0, 2.0)]):
        alone = NoiseAsinhStretch(sky, sigma, softening=2.0, range=6.0)
        assert_array_equal(stretched[i], alone(cube[i]))
    assert_array_equal(PER_BAND(np.stack([cube, 2 * cube]))[1], PER_BAND(2 * cube))


def test_bands_as_many_as_columns_are_not_confused():
    """Numpy alone would broadcast three skies along three columns."""
    stretched = NoiseAsinhStretch([0.0, 10.0, 20.0], 1.0)(np.zeros((3, 3, 3)))
    assert_array_equal(np.ptp(stretched, axis=(1, 2)), 0)
    assert np.all(np.ptp(stretched, axis=0) > 0)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (3, 1, 1), (1, 4, 5)])
def test_sky_may_be_a_map(cube, shape):
    sky = np.random.default_rng(2).normal(size=shape)
    assert_allclose(NoiseAsinhStretch(sky, 2.0)(cube), np.arcsinh((cube - sky) / 6) / 8)


# Inverses


@any_stretch
def test_inverse_gives_the_values_back(stretch, cube):
    assert_allclose(stretch.inverse(stretch(cube)), cube, rtol=1e-12, atol=1e-12)
    assert_allclose(stretch(stretch.inverse(cube)), cube, rtol=1e-12, atol=1e-12)
    assert_allclose(stretch.inverse.inverse(cube), stretch(cube), rtol=0)


@given(
    signal=hnp.arrays(np.float64, 20, elements=st.floats(-5, 1e6)),
    sigma=st.floats(1e-12, 1e6),
    softening=st.floats(0.3, 30),
    output_range=st.floats(0.5, 50),
)
def test_noise_round_trip_in_float32(signal, sigma, softening, output_range):
    """To 1e-6 from -5 sigma to 1e6 sigma."""
    x = (signal * sigma).astype(np.float32)
    stretch = NoiseAsinhStretch(0.0, sigma, softening=softening, range=output_range)
    y = stretch(x)
    back = stretch.inverse(y)
    assert y.dtype == back.dtype == np.float32
    # Below float32's smallest normal number, in x or in y, no relative precision exists.
    smallest = 1e-44 * (1 + sigma * softening * output_range)
    assert_allclose(back, x, rtol=1e-6, atol=smallest)


@given(sky=st.floats(-1e4, 1e4), signal=hnp.arrays(np.float64, 20, elements=st.floats(-5, 1e6)))
def test_noise_round_trip_in_float32_above_a_sky(sky, signal):
    """To 1e-6 of the signal; the sky itself costs float32's own rounding."""
    x = (sky + signal).astype(np.float32)
    stretch = NoiseAsinhStretch(sky, 1.0)
    allowed = 1e-6 * np.abs(x - sky) + 1e-7 * np.abs(x) + 1e-12
    assert np.all(np.abs(stretch.inverse(stretch(x)).astype(float) - x) <= allowed)


@given(
    x=hnp.arrays(np.float32, 20, elements=st.floats(-50, 1e6, width=32)),
    scale=st.sampled_from([AsinhStretch.SPLUS_SCALE, AsinhStretch.LEGACY_SCALE, 1e-3]),
)
def test_asinh_round_trip_in_float32(x, scale):
    stretch = AsinhStretch(scale)
    # At 1e6 the seed paper's larger scale puts 18 in front of float32's 6e-8.
    assert_allclose(stretch.inverse(stretch(x)), x, rtol=1.3e-6, atol=1e-37)


@given(hnp.arrays(np.float64, 9, elements=st.floats(-1e9, 1e9), unique=True))
def test_stretches_keep_the_order(x):
    x = np.sort(x)
    for stretch in (AsinhStretch(2.0), MinMaxStretch(-1, 3), NoiseAsinhStretch(5.0, 0.1)):
        assert np.all(np.diff(stretch(x)) >= 0)


@any_stretch
def test_nothing_is_clipped_by_default(stretch, cube):
    wide = stretch(1e4 * cube)
    assert wide.min() < 0
    assert wide.max() > 1


def test_clip_limits_the_values_that_go_in():
    assert_array_equal(MinMaxStretch(0, 2)([-1.0, 0.5, 7.0], clip=True), [0, 0.25, 0.5])
    assert_allclose(AsinhStretch(3.0)([-1.0, 9.0], clip=True), [0, np.arcsinh(3)])


# Kinds of input


@any_stretch
def test_types_of_array(stretch, cube):
    small = cube.astype(np.float32)
    for swapped in (small, small.astype(">f4"), np.asfortranarray(small)):
        result = stretch(swapped)
        assert result.dtype == np.float32
        assert result.dtype.isnative
        assert_array_equal(result, stretch(small))
    assert stretch(cube).dtype == np.float64
    assert stretch(cube.astype(np.float16)).dtype == np.float32
    assert stretch(cube.astype(int)).dtype == np.float64
    assert_array_equal(stretch(cube > 0), stretch((cube > 0).astype(float)))
    assert_array_equal(stretch(cube.tolist()), stretch(cube))


@pytest.mark.parametrize("name", ["asinh", "minmax", "noise", "chain"])
def test_scalars_stay_scalars(name):
    stretch = STRETCHES[name]
    for one in (2, 2.0, np.float64(2), True):
        assert isinstance(stretch(one), np.float64)
    assert isinstance(stretch(np.float32(2)), np.float32)
    zero_d = stretch(np.array(2.0))
    assert isinstance(zero_d, np.ndarray)
    assert zero_d.shape == ()
    assert zero_d == stretch(2.0) == stretch([2.0])[0]


@any_stretch
def test_empty_arrays(stretch):
    data = np.zeros((0, 3, 4, 5), dtype=np.float32)
    assert stretch(data).shape == data.shape
    assert stretch(data).dtype == np.float32


@any_stretch
def test_nan_passes_through(stretch, cube):
    cube[1, 2, 3] = np.nan
    assert_array_equal(np.isnan(stretch(cube)), np.isnan(cube))
    assert_array_equal(np.isnan(stretch.inverse(cube)), np.isnan(cube))


@any_stretch
def test_infinity_passes_through(stretch, cube):
    cube[0, 0, :2] = np.inf, -np.inf
    assert_array_equal(stretch(cube)[0, 0, :2], [np.inf, -np.inf])


@any_stretch
@pytest.mark.parametrize("wrap", [np.ma.MaskedArray, Masked])
def test_masked_elements_come_out_as_nan(stretch, cube, wrap):
    mask = cube > 2
    before = cube.copy()
    result = stretch(wrap(cube, mask=mask))
    assert type(result) is np.ndarray
    assert_array_equal(np.isnan(result), mask)
    assert_array_equal(result[~mask], stretch(cube)[~mask])
    assert_array_equal(cube, before)


def test_masked_integers_come_out_as_nan():
    assert_array_equal(MinMaxStretch(0, 4)(np.ma.array([1, 2], mask=[0, 1])), [0.25, np.nan])


def test_dimensionless_quantities_are_numbers():
    assert_array_equal(AsinhStretch(2.0)([1, 2] * u.one), AsinhStretch(2.0)([1, 2]))


@pytest.mark.parametrize("values", [[1.0, 2.0] * u.adu, CCDData([[1.0]], unit="adu")])
def test_units_are_refused(values):
    with pytest.raises(TypeError, match=r"values must be plain numbers; got \w+ in adu"):
        AsinhStretch(1.0)(values)


@pytest.mark.parametrize("values", [1j, ["a"], [None]])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(TypeError, match="values must be real numbers; got dtype"):
        AsinhStretch(1.0)(values)


@any_stretch
def test_input_is_not_modified(stretch, cube):
    before = cube.copy()
    stretch(cube)
    stretch.inverse(cube)
    assert_array_equal(cube, before)


@any_stretch
def test_calling_adds_no_state(stretch, cube):
    before = pickle.dumps(stretch)
    stretch.inverse(stretch(cube))
    assert pickle.dumps(stretch) == before


def test_many_chunks_equal_one_value():
    data = np.full((3, 211, 173), 2.5, dtype=np.float32)
    result = PER_BAND(data)
    assert_array_equal(result, np.broadcast_to(PER_BAND(data[:, :1, :1]), data.shape))


# The out argument


@any_stretch
def test_out_receives_the_result(stretch, cube):
    expected = stretch(cube)
    out = np.empty_like(cube)
    assert stretch(cube, out=out) is out
    assert_array_equal(out, expected)
    assert stretch(cube, out=cube) is cube
    assert_array_equal(cube, expected)


def test_out_of_less_precision(cube):
    out = np.empty(cube.shape, np.float32)
    assert_array_equal(AsinhStretch(2.0)(cube, out=out), AsinhStretch(2.0)(cube).astype("f4"))


def test_out_that_overlaps_the_input():
    data = np.linspace(-1, 4, 100_000)
    expected = AsinhStretch(2.0)(data[:-1])
    AsinhStretch(2.0)(data[:-1], out=data[1:])
    assert_array_equal(data[1:], expected)


@pytest.mark.parametrize("name", ["asinh", "chain"])
def test_unsuitable_out_is_refused(name):
    stretch = STRETCHES[name]
    with pytest.raises(TypeError, match="out must be a floating point array; got int64"):
        stretch([1.0], out=np.zeros(1, np.int64))
    with pytest.raises(TypeError, match="out must be a floating point array; got list"):
        stretch([1.0], out=[0.0])
    with pytest.raises(ValueError, match=r"shape of values, \(1,\); got \(2,\)"):
        stretch([1.0], out=np.zeros(2))


# Parameters


@pytest.mark.parametrize("scale", [0, -1.0, np.nan, np.inf])
def test_asinh_needs_a_positive_scale(scale):
    with pytest.raises(ValueError, match="scale must be"):
        AsinhStretch(scale)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sky": np.nan}, "sky must be finite everywhere; got nan"),
        ({"sigma": [1.0, np.inf]}, "sigma must be finite everywhere"),
        ({"sigma": 0.0}, "sigma must be above 0 everywhere; got 0.0"),
        ({"sigma": [1.0, -2.0]}, "sigma must be above 0 everywhere; got -2.0"),
        ({"softening": 0}, "softening must be above 0; got 0"),
        ({"range": np.inf}, "range must be finite; got inf"),
    ],
)
def test_noise_asinh_checks_its_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        NoiseAsinhStretch(**({"sky": 0.0, "sigma": 1.0} | options))


def test_parameters_with_a_unit_are_refused():
    with pytest.raises(TypeError, match="sigma must be plain numbers; got Quantity in adu"):
        NoiseAsinhStretch(0.0, 1.0 * u.adu)


@pytest.mark.parametrize("shape", [(3,), (3, 5), (2, 4, 5)])
def test_parameters_that_do_not_fit_the_data_are_refused(shape):
    with pytest.raises(ValueError, match="sky must be") as caught:
        NoiseAsinhStretch(np.zeros(3), 1.0)(np.zeros(shape))
    assert str(caught.value) == (
        "sky must be one number, one per band, or a map of the data; "
        f"got shape (3,) for data of shape {shape}"
    )


def test_a_map_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"sigma must be .*\(3, 4, 5\) for data of shape \(4, 5\)"):
        NoiseAsinhStretch(0.0, np.ones((3, 4, 5)))(np.zeros((4, 5)))


def test_parameters_are_copied():
    sky = np.zeros(3)
    stretch = NoiseAsinhStretch(sky, 1.0)
    sky[:] = 5
    assert_array_equal(stretch.sky, 0)
    with pytest.raises(ValueError, match="read-only"):
        stretch.sky[:] = 5


# Fitting a range


def test_fit_takes_all_bands_together(cube):
    stretch = MinMaxStretch().fit(cube)
    assert (stretch.vmin, stretch.vmax) == (cube.min(), cube.max())
    assert stretch(cube).min() == 0
    assert stretch(cube).max() == 1


def test_fit_per_band(cube):
    stretched = MinMaxStretch(per_band=True).fit(cube)(cube)
    assert_array_equal(stretched.min(axis=(1, 2)), 0)
    assert_array_equal(stretched.max(axis=(1, 2)), 1)


def test_fit_leaves_out_what_is_missing():
    data = np.ma.array([0.0, 1.0, 2.0, np.nan, -np.inf, 99.0], mask=[0, 0, 0, 0, 0, 1])
    fitted = MinMaxStretch().fit(data, mask=[1, 0, 0, 0, 0, 0])
    assert (fitted.vmin, fitted.vmax) == (1, 2)


def test_fit_of_integers():
    fitted = MinMaxStretch().fit(np.array([3, 9, 5], dtype=np.uint8))
    assert (fitted.vmin, fitted.vmax) == (3, 9)


def test_fit_keeps_limits_that_were_given(cube):
    fitted = MinMaxStretch(vmin=-100).fit(cube)
    assert (fitted.vmin, fitted.vmax) == (-100, cube.max())


def test_fit_keeps_the_upper_limit_too(cube):
    fitted = MinMaxStretch(vmax=100).fit(cube)
    assert (fitted.vmin, fitted.vmax) == (cube.min(), 100)
    assert isinstance(fitted.vmin, float)


@pytest.mark.parametrize("limit", [{"vmin": 0.0}, {"vmax": 9.0}])
def test_one_limit_alone_does_not_help(limit):
    with pytest.raises(ValueError, match="vmin and vmax must be known before use"):
        MinMaxStretch(**limit)(np.eye(3))
    with pytest.raises(ValueError, match="give vmin and vmax instead"):
        MinMaxStretch(**limit).fit(np.full((4, 4), 7.0))
    assert MinMaxStretch(0.0, 9.0).fit(np.full((4, 4), 7.0)).vmax == 9


def test_fit_returns_a_new_stretch(cube):
    stretch = MinMaxStretch()
    stretch.fit(cube)
    with pytest.raises(ValueError, match=r"vmin and vmax must be known .* stretch.fit\(data\)"):
        stretch(cube)
    with pytest.raises(ValueError, match="vmin and vmax must be known before use"):
        stretch.inverse(cube)


def test_fit_of_a_constant_image_is_an_error(cube):
    with pytest.raises(ValueError, match=r"data must not be constant .* every valid pixel is 7\.0"):
        MinMaxStretch().fit(np.full((4, 4), 7.0))
    cube[1] = 2.0
    with pytest.raises(ValueError, match="band 1 of data must not be constant"):
        MinMaxStretch(per_band=True).fit(cube)


def test_fit_without_valid_pixels_is_an_error():
    with pytest.raises(ValueError, match="data must have a finite, unmasked pixel to fit"):
        MinMaxStretch().fit(np.full(4, np.nan))
    with pytest.raises(ValueError, match="got none"):
        MinMaxStretch().fit(np.arange(4.0), mask=True)


def test_fit_per_band_needs_bands():
    with pytest.raises(ValueError, match=r"must be \(n_band, ny, nx\) .* got shape \(4, 4\)"):
        MinMaxStretch(per_band=True).fit(np.eye(4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vmin": 1, "vmax": 1}, "vmax must be above vmin, by a finite amount; got vmin=1, vmax=1"),
        ({"vmin": -1e308, "vmax": 1e308}, "by a finite amount"),
        ({"vmin": np.nan}, "vmin must be finite everywhere; got nan"),
        ({"vmax": [1, 2]}, r"vmax must be one number \(or set per_band=True\); got shape \(2,\)"),
        ({"vmax": 1.0, "per_band": True}, r"vmax must be one number per band; got shape \(\)"),
    ],
)
def test_limits_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        MinMaxStretch(**options)


# Composition and serialization


def test_the_right_summand_is_applied_first(cube):
    first, second = AsinhStretch(2.0), MinMaxStretch(-1.0, 5.0)
    assert_allclose((second + first)(cube), second(first(cube)), rtol=1e-15)
    assert_array_equal((second + first)(cube), CompositeStretch(first, second)(cube, clip=False))


def test_composition_of_many(cube):
    chain = MinMaxStretch(0, 2) + AsinhStretch(2.0) + MinMaxStretch(-3.0, 9.0)
    assert_allclose(chain.inverse(chain(cube)), cube, rtol=1e-12)
    assert isinstance(chain, ChainedStretch)


def test_composition_with_astropy(cube):
    ours = AsinhStretch(2.0)
    doubled = ours + LinearStretch(2, 0)
    assert_allclose(doubled(cube), ours(2 * cube))
    assert_allclose(doubled.inverse(doubled(cube)), cube)
    assert_allclose((LinearStretch(2, 0) + ours)(cube, clip=False), 2 * ours(cube))
    assert "LinearStretch" in repr(doubled)


def test_composition_with_anything_else_is_refused():
    with pytest.raises(TypeError, match="unsupported operand"):
        AsinhStretch(2.0) + 3


def test_composition_keeps_the_precision_of_one_rounding():
    x = np.geomspace(1, 1e6, 200).astype(np.float32)
    chain = MinMaxStretch(-2.0, 30.0) + NoiseAsinhStretch(0.0, 1.0, range=1.0)
    back = chain.inverse(chain(x).astype(np.float64))
    # Offset and range of the second stretch set what float32 can hold.
    assert_allclose(back, x, rtol=3e-6)


@any_stretch
def test_pickle_and_repr(stretch, cube):
    again = pickle.loads(pickle.dumps(stretch))
    assert_array_equal(again(cube), stretch(cube))
    assert repr(again) == repr(stretch)
    assert len(repr(stretch)) < 200


def test_repr_is_code():
    assert repr(AsinhStretch(2.0)) == "AsinhStretch(scale=2.0)"
    assert repr(AsinhStretch(2.0).inverse) == "AsinhStretch(scale=2.0).inverse"
    assert repr(NoiseAsinhStretch(0, [1, 2])) == (
        "NoiseAsinhStretch(sky=0.0, sigma=[1.0, 2.0], softening=3.0, range=8.0)"
    )
    assert repr(AsinhStretch(1) + AsinhStretch(2)) == (
        "AsinhStretch(scale=1.0) + AsinhStretch(scale=2.0)"
    )


def test_inverse_stretch_refuses_foreign_stretches():
    with pytest.raises(TypeError, match="got SqrtStretch: use its own inverse property"):
        InverseStretch(AstropySqrtStretch())


# In pictures


@any_stretch
def test_is_an_astropy_stretch(stretch):
    assert isinstance(stretch, BaseStretch)
    assert isinstance(stretch.inverse, BaseStretch)
    assert not stretch._supports_invalid_kw


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", ["asinh", "minmax", "noise", "chain"])
def test_image_normalize_and_back(name, clip):
    pytest.importorskip("matplotlib")
    data = np.linspace(-2.0, 60.0, 50)
    norm = ImageNormalize(vmin=-2.0, vmax=60.0, stretch=STRETCHES[name], clip=clip)
    assert_allclose(norm(data), STRETCHES[name]((data + 2) / 62))
    assert_allclose(norm.inverse(norm(data)), data, atol=1e-9)
    masked = norm(np.ma.array(data, mask=data > 50))
    # Matplotlib's rule: clipping shows what is masked, at the upper end.
    assert_array_equal(masked.mask, False if clip else data > 50)


@pytest.mark.parametrize("clip", [False, True])
def test_colorbar_is_drawn(clip):
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    assert matplotlib
    image = np.random.default_rng(1).normal(0, 1, (20, 20))
    image[10, 10] = 400.0
    image[0, 0] = np.nan
    stretch = MinMaxStretch(0.0, np.arcsinh(100 / 3)) + AsinhStretch.legacy()
    norm = ImageNormalize(vmin=-5.0, vmax=400.0, stretch=stretch, clip=clip)
    figure = Figure()
    axes = figure.add_subplot()
    colorbar = figure.colorbar(axes.imshow(image, norm=norm), ax=axes)
    figure.canvas.draw()
    assert (colorbar.vmin, colorbar.vmax) == (-5.0, 400.0)
    assert_allclose(norm([-5.0, 400.0]), [0, 1])
    assert_allclose(norm.inverse(0.5), -5 + 405 * stretch.inverse(0.5))
