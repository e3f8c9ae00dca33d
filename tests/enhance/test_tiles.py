# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Blocks against the whole image, with the real engine."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.ndimage import maximum_filter

from splus_srgan.enhance.tiles import block_shape, generate_blocks, sections, within
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.openvino_engine import OpenVINOEngine
from splus_srgan.models.torch_engine import TorchEngine
from splus_srgan.models.weights import available, load_generator
from splus_srgan.utils.windows import equal_parts, windows


def repeat(image):
    """An engine that reaches nowhere."""
    return image.repeat(2, axis=1).repeat(2, axis=2)


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def small():
    """A real engine of random weights in float32 on the CPU, and its radius."""
    torch.manual_seed(0)
    # With fewer features, or pieces narrower than 32 pixels, torch takes other routines,
    # which round differently; the shipped weights, with their halo of 20, never get there.
    generator = SRResNet(2, n_features=48, n_blocks=1, dilations=(4, 8))
    torch.nn.init.normal_(generator.last.weight, std=0.1)
    engine = TorchEngine(generator, device="cpu", precision="float32")
    return engine, generator.receptive_field_radius


@pytest.mark.parametrize("block_size", [47, 56, 64])
@pytest.mark.parametrize("shape", [(37, 101), (90, 75), (17, 90)])
def test_blocks_equal_the_whole_image(small, block_size, shape):
    """Bit for bit, in float32 on the CPU."""
    engine, radius = small
    image = noise((2, *shape))
    result = generate_blocks(engine, image, radius=radius, block_size=block_size)
    assert result.dtype == np.float32
    assert_array_equal(result, engine(image))


@pytest.mark.parametrize("n_bands", [1, 3])
def test_blocks_of_a_wide_image_equal_it(n_bands):
    """Few bands and wide images are where oneDNN's order of sums depends on the width."""
    torch.manual_seed(1)
    generator = SRResNet(n_bands, n_features=48, n_blocks=1)
    torch.nn.init.normal_(generator.last.weight, std=0.1)
    engine = TorchEngine(generator, device="cpu", precision="float32")
    image = noise((n_bands, 41, 514))
    blocks = generate_blocks(engine, image, radius=generator.receptive_field_radius, block_size=100)
    assert_array_equal(blocks, engine(image))


@pytest.mark.parametrize("name", available())
def test_blocks_of_the_shipped_weights_equal_the_whole_image(name):
    generator = load_generator(name)
    engine = TorchEngine(generator, device="cpu", precision="float32")
    image = noise((generator.in_channels, 53, 83))
    whole = engine(image)
    for block_size in (24, 32, 50):
        blocks = generate_blocks(
            engine,
            image,
            radius=generator.receptive_field_radius,
            block_size=block_size,
            n_planes=len(whole),
        )
        assert_array_equal(blocks, whole, err_msg=f"block_size {block_size}")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_blocks_of_openvino_equal_the_whole_image(precision):
    """It sums in another order where threads share rows unevenly: windows see to that."""
    pytest.importorskip("openvino")
    generator = load_generator("splus-grz")
    engine = OpenVINOEngine(generator, precision=precision)
    image = noise((3, 166, 700))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        whole = engine(image)
        # Without the multiple, blocks of 83 rows would see 131.
        blocks = generate_blocks(
            engine, image, radius=generator.receptive_field_radius, block_size=(83, 700)
        )
    finally:
        torch.set_num_threads(threads)
    assert_array_equal(blocks, whole)


def test_halo_is_not_wider_than_it_must_be(small):
    """With one pixel less it no longer works: the radius is no lucky overestimate."""
    engine, radius = small
    image = noise((2, 70, 120))
    right, narrow = (
        generate_blocks(engine, image, radius=reach, block_size=40)
        for reach in (radius, radius - 1)
    )
    assert_array_equal(right, engine(image))
    assert np.any(narrow != right)


@pytest.mark.parametrize("radius", [0, 2])
def test_blank_blocks_are_generated_once(radius):
    """To the same bits; one of negative zeros is another, as is one that sees anything else."""
    image = np.zeros((2, 160, 160), np.float32)
    image[1] = 0.3
    image[:, :30, 70:] = 1 + noise((2, 30, 90)) ** 2
    image[0, 144:, 144:] = -0.0
    seen = []

    def engine(block):
        return repeat(maximum_filter(block, size=(1, 2 * radius + 1, 2 * radius + 1)))

    def counting(block):
        seen.append(block)
        return engine(block)

    made = generate_blocks(counting, image, radius=radius, block_size=16)
    if radius:
        assert_array_equal(made, engine(image))
    else:  # of two zeros, either may be the maximum
        assert_array_equal(made.view(np.uint32), engine(image).view(np.uint32))
    # Of 10 x 10 blocks 12 hold noise, 1 negative zeros, which with a radius 3 others see as well.
    assert len(seen) == 1 + 12 + (4 if radius else 1)


def test_blocks_are_equal_and_reported():
    """40 x 70 in blocks of 16: 3 x 5 blocks, none a sliver; the bar sees each."""
    seen = []

    def bar(places):
        for place in places:
            seen.append(place)
            yield place

    sizes = []

    def engine(image):
        sizes.append(image.shape)
        return repeat(image)

    image = noise((1, 40, 70))
    result = generate_blocks(engine, image, radius=0, block_size=16, progress_bar=bar)
    assert_array_equal(result, repeat(image))
    assert len(seen) == len(sizes) == 15
    assert min(min(size[1:]) for size in sizes) >= 13
    assert max(max(size[1:]) for size in sizes) <= 16


@pytest.mark.parametrize("shape", [(32, 32), (47, 100), (17, 61)])
def test_engines_see_one_shape(shape):
    """They prepare themselves for each; blocks at the border see more of the inside."""
    sizes = set()

    def engine(image):
        sizes.add(image.shape)
        return repeat(image)

    image = noise((1, *shape))
    assert_array_equal(generate_blocks(engine, image, radius=5, block_size=16), repeat(image))
    longest = []
    for n in shape:
        ends = [(max(first - 5, 0), min(last + 5, n)) for first, last in equal_parts(n, 16)]
        largest = max(last - first for first, last in ends)
        longest.append(min(n, 8 * math.ceil(largest / 8)))
    assert sizes == {(1, *longest)}


@pytest.mark.parametrize("block_size", [(20, 70), (90, 17)])
def test_blocks_need_not_be_square(small, block_size):
    engine, radius = small
    image = noise((2, 90, 75))
    result = generate_blocks(engine, image, radius=radius, block_size=block_size)
    assert_array_equal(result, engine(image))


@given(
    shape=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    radius=st.integers(0, 40),
    pixels=st.integers(1, 60_000),
    data=st.data(),
)
def test_shape_of_blocks_is_the_one_that_sees_least(shape, radius, pixels, data):
    """Of all that fit, against every number of rows and columns."""
    region = []
    for n in shape:
        start = data.draw(st.integers(0, n - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, n))))

    def seen(sides):
        """Pixels seen in all blocks, and in one."""
        sizes, numbers = [], []
        for part, side, n in zip(region, sides, shape, strict=True):
            parts = [
                (part.start + a, part.start + b)
                for a, b in equal_parts(part.stop - part.start, side)
            ]
            ends = windows(parts, margin=radius, length=n, multiple=8)[0]
            sizes.append(ends[1] - ends[0])
            numbers.append(len(parts))
        return np.prod(sizes) * np.prod(numbers), np.prod(sizes)

    chosen = block_shape(tuple(region), shape, radius=radius, pixels=pixels)
    assert min(chosen) >= 16
    long = [max(16, part.stop - part.start) for part in region]
    ways = [{max(16, -(-n // k)) for k in range(1, n // 16 + 2)} for n in long]
    fitting = [seen((y, x))[0] for y in ways[0] for x in ways[1] if seen((y, x))[1] <= pixels]
    if fitting:
        assert seen(chosen)[0] == min(fitting)
        assert seen(chosen)[1] <= pixels
    else:  # the smallest
        assert max(chosen) < 32


@pytest.mark.parametrize("block_size", [47, 64])
def test_region_sees_what_is_around_it(small, block_size):
    engine, radius = small
    image = noise((2, 90, 101))
    region = np.s_[9:74, 30:101]
    options = {"radius": radius, "block_size": block_size, "region": region}
    assert_array_equal(generate_blocks(engine, image, **options), engine(image)[:, 18:148, 60:202])


def test_files_go_in_and_out_without_being_read_whole(tmp_path, small):
    engine, radius = small
    image = noise((2, 40, 70))
    np.save(tmp_path / "image.npy", image)
    there = np.lib.format.open_memmap(
        tmp_path / "fine.npy", mode="w+", dtype=np.float32, shape=(2, 80, 140)
    )
    given = np.load(tmp_path / "image.npy", mmap_mode="r")
    result = generate_blocks(engine, given, radius=radius, block_size=40, out=there)
    assert result is there
    there.flush()
    assert_array_equal(np.load(tmp_path / "fine.npy"), engine(image))


def test_blocks_take_any_sliceable_array():
    class Rows:
        """What reads its pixels when they are asked for."""

        def __init__(self, image):
            self.image, self.shape, self.read = image, image.shape, 0

        def __len__(self):
            return len(self.image)

        def __getitem__(self, where):
            part = self.image[where]
            self.read = max(self.read, part.size)
            return part.tolist()

    image = noise((1, 30, 34))
    rows = Rows(image)
    assert_array_equal(generate_blocks(repeat, rows, radius=2, block_size=16), repeat(image))
    assert rows.read == 24 * 16  # never the whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_size": 15, "radius": 1}, "block_size must be at least 16; got 15"),
        ({"block_size": 16, "radius": -1}, "radius must be at least 0; got -1"),
    ],
)
def test_wrong_sizes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        generate_blocks(repeat, noise((1, 20, 20)), **options)


def test_sizes_must_be_integers():
    with pytest.raises(TypeError, match=r"block_size must be an integer; got 20\.0"):
        generate_blocks(repeat, noise((1, 20, 20)), radius=0, block_size=20.0)


@given(
    length=st.integers(1, 400),
    largest=st.integers(1, 120),
    margin=st.integers(0, 50),
    multiple=st.sampled_from([1, 2, 8]),
)
def test_windows_hold_what_they_must(length, largest, margin, multiple):
    parts = equal_parts(length, largest)
    assert [parts[0][0], parts[-1][1]] == [0, length]
    ends = windows(parts, margin=margin, length=length, multiple=multiple)
    for (first, last), (start, stop) in zip(parts, ends, strict=True):
        assert 0 <= start <= max(first - margin, 0)
        assert min(last + margin, length) <= stop <= length
    assert len({stop - start for start, stop in ends}) == 1
    # One of them must be as long.
    needed = [min(last + margin, length) - max(first - margin, 0) for first, last in parts]
    assert ends[0][1] - ends[0][0] == min(length, multiple * math.ceil(max(needed) / multiple))


@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    margin=st.integers(0, 20),
    halo=st.integers(0, 40),
    side=st.integers(20, 150),
)
def test_sections_cover_the_image_once_and_see_enough(shape, margin, halo, side):
    parts = sections(shape, margin=margin, halo=halo, side=side)
    count = np.zeros(shape, int)
    for part in parts:
        count[part.kept] += 1
        for n, kept, made, seen in zip(shape, part.kept, part.generated, part.needed, strict=True):
            assert kept.stop - kept.start <= (side if max(shape) > 1.4 * side else max(shape))
            assert 0 <= made.start <= max(kept.start - margin, 0)
            assert min(kept.stop + margin, n) <= made.stop <= n
            assert 0 <= seen.start <= max(made.start - halo, 0)
            assert min(made.stop + halo, n) <= seen.stop <= n
    assert (count == 1).all()
    assert (len(parts) == 1) == (max(shape) <= 1.4 * side)
    assert parts == sections(shape, margin=margin, halo=halo, side=side)


def test_place_within_another():
    image = np.arange(20 * 30).reshape(20, 30)
    outer, place = (slice(3, 18), slice(5, 29)), (slice(4, 9), slice(11, 12))
    assert_array_equal(image[outer][within(place, outer)], image[place])
    fine = image.repeat(2, 0).repeat(2, 1)
    wide = tuple(slice(2 * part.start, 2 * part.stop) for part in outer)
    there = tuple(slice(2 * part.start, 2 * part.stop) for part in place)
    assert_array_equal(fine[wide][within(place, outer, 2)], fine[there])


def test_engine_that_gives_more_planes_than_it_takes():
    image = noise((1, 40, 20)).astype(np.float64)

    def engine(block):
        assert block.dtype == np.float32
        assert block.flags.c_contiguous
        return np.concatenate([repeat(block), -repeat(block)])

    made = generate_blocks(engine, image, radius=0, block_size=16, n_planes=2)
    assert_array_equal(made, engine(image.astype(np.float32)))
