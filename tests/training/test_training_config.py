# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Configurations: presets, files, and what is refused."""

import dataclasses
import re
import subprocess
import sys

import pytest
from jsonargparse import ArgumentParser

from splus_srgan.models.generator import SRResNet
from splus_srgan.training.config import training as training_config
from splus_srgan.training.config.training import (
    PRESETS,
    DataConfig,
    GeneratorConfig,
    LossConfig,
    TrainingConfig,
    add_config_arguments,
    dump_config,
    load_config,
    preset,
    read_keys,
)

SECTIONS = {
    field.name: type(getattr(preset("default"), field.name))
    for field in dataclasses.fields(TrainingConfig)
    if field.name != "name"
}


# Presets.


@pytest.mark.parametrize("name", PRESETS)
def test_preset_says_its_name_and_goes_through_files(name, tmp_path):
    config = preset(name)
    assert config.name == name
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    # Whole: whatever preset it is put upon, nothing of that one is left.
    for base in PRESETS:
        assert load_config(path, base=base) == config
        assert load_config(config.to_dict(), base=base) == config


def test_seed_preset_is_the_recipe():
    """Each number of the recipe that a configuration holds."""
    config = preset("seed")
    generator = {
        "n_bands": 3,
        "n_features": 64,
        "n_blocks": 16,
        "norm": "batch",
        "first_kernel": 9,
        "last_kernel": 9,
        "n_tail_features": 256,
        "output": "tanh",
        "dilations": (),
        "low_pass": 0,
        "scale": None,
    }
    assert config.generator.options(config.data.n_bands) == generator
    assert (config.discriminator.kind, config.discriminator.n_features) == ("patch", 64)
    assert config.discriminator.n_dense == 1024
    weights = {name: w for name, w in config.losses.weights.items() if w}
    assert weights == {"feature": 1.0, "adversarial": 1e-3}
    assert (config.losses.vgg_layer, config.losses.vgg_normalize) == ("block3_conv3", False)
    assert (config.losses.feature_kind, config.losses.vgg_weights) == ("mse", None)
    assert config.losses.vgg_network == "vgg19"
    assert config.losses.adversarial_kind == "bce"
    assert config.losses.discriminator_kind == "mse"
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.beta1, optimizer.schedule) == ("adam", 0.5, "constant")
    assert (optimizer.rate, optimizer.discriminator_rate) == (2e-4, 2e-4)
    assert (optimizer.clip_norm, optimizer.ema, optimizer.warm_up_steps) == (0, 0, 0)
    data = config.data
    assert (data.space, data.batch_size, data.bands) == ("seed", 2, ("g", "r", "z"))
    assert (data.shape, data.crop, data.augmentation) == ((128, 128), None, "paper")
    assert (data.n_pairs, data.n_validation, data.validation) == (125, 25, "random")
    run = config.run
    assert (run.epochs, run.validate_every, run.n_pictures) == (500, 10, 3)
    assert (run.steps_per_epoch, run.pretrain_epochs, run.ramp_epochs) == (None, 0, 0)


def test_fidelity_is_the_generator_of_the_shipped_weights():
    from splus_srgan.models.weights import load_card

    shipped = load_card("splus-grz")
    # Their head was trained afterwards, by splus_srgan.training.calibration.
    options = SRResNet(**preset("fidelity").generator.options(3)).options | {"scale": "laplace"}
    assert {key: options[key] for key in shipped.generator} == shipped.generator
    data = preset("fidelity").data
    assert {"softening": data.softening, "range": data.range} == shipped.stretch
    assert not preset("fidelity").losses.needs_discriminator


def test_default_is_fidelity_and_a_discriminator():
    """So that the two can be compared."""
    default, fidelity = preset("default"), preset("fidelity")
    for section in ("generator", "optimizer", "data"):
        assert getattr(default, section) == getattr(fidelity, section)
    assert default.run.epochs == fidelity.run.epochs
    assert default.losses.needs_discriminator
    assert 0 < default.run.pretrain_epochs < default.run.epochs


def test_unknown_preset_is_refused():
    with pytest.raises(
        ValueError, match=r"preset must be one of 'seed', 'default', .*; got 'best'"
    ):
        preset("best")
    with pytest.raises(ValueError, match=r"preset must be one of .*; got 'best'"):
        load_config({"preset": "best"})


# Files.


def test_yaml_and_toml_say_the_same(tmp_path):
    yaml, toml = tmp_path / "a.yaml", tmp_path / "a.toml"
    yaml.write_text(
        "preset: seed\nname: mine\ndata:\n  source: [one, two]\n  shape: [64, 96]\n"
        "optimizer:\n  rate: 1e-3\nrun:\n  max_minutes: 30\n"
    )
    toml.write_text(
        'preset = "seed"\nname = "mine"\n[data]\nsource = ["one", "two"]\nshape = [64, 96]\n'
        "[optimizer]\nrate = 1e-3\n[run]\nmax_minutes = 30\n"
    )
    config = load_config(yaml)
    assert config == load_config(toml)
    assert config.name == "mine"
    assert config.data.sources == ["one", "two"]
    assert config.data.shape == (64, 96)
    assert config.optimizer.rate == 0.001  # YAML alone takes 1e-3 for text
    assert config.run.max_minutes == 30
    assert config.losses == preset("seed").losses


def test_overrides_win_and_leave_the_rest(tmp_path):
    path = tmp_path / "a.yml"
    path.write_text("data:\n  batch_size: 8\n  workers: 2\n")
    overrides = {"data.batch_size": "16", "run": {"epochs": 90}, "generator.norm": None}
    config = load_config(path, overrides)
    assert (config.data.batch_size, config.data.workers, config.run.epochs) == (16, 2, 90)
    assert overrides == {"data.batch_size": "16", "run": {"epochs": 90}, "generator.norm": None}


def test_base_wins_over_the_key_preset():
    assert load_config({"preset": "seed"}, base="fidelity") == preset("fidelity")
    assert load_config() == preset("default")


def test_empty_file_is_the_default(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing yet\n")
    assert load_config(path) == preset("default")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{}", r"must be a .yaml, .yml or .toml file; got '.*a.json'"),
        ("a.yaml", "data: [", r"'.*a.yaml' is not valid YAML: "),
        ("a.toml", "data = [", r"'.*a.toml' is not valid TOML: "),
        ("a.yaml", "- one\n- two\n", r"'.*a.yaml' must hold keys and values; got \['one', 'two'\]"),
        (
            "a.yaml",
            "data:\n  bach_size: 3\n",
            r"'data.bach_size' in '.*a.yaml'; did you mean 'data",
        ),
    ],
)
def test_bad_file_is_told(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(tmp_path / name)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.yaml"):
        load_config(tmp_path / "nowhere.yaml")


# Keys and values.


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("data.batchsize", "did you mean 'data.batch_size'?"),
        ("batch_size", "did you mean 'data.batch_size'?"),
        ("run.crop", "did you mean 'data.crop'?"),
        ("optimiser", "did you mean 'optimizer'?"),
        ("data.bandss", "did you mean 'data.bands'?"),
        ("discriminator.zzzzzz", "known are discriminator.kind, discriminator.n_features"),
        ("qqqqqq", "known are preset, name, generator"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest(key, hint):
    message = f"unknown key '{key}' in the configuration; {hint}"
    with pytest.raises(ValueError, match=re.escape(message)):
        load_config({key: 1})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("generator.n_features", 0, r"generator.n_features must be at least 1; got 0"),
        ("generator.n_blocks", 2.5, r'"generator.n_blocks": Expected .*int.* Got value: 2.5'),
        ("generator.first_kernel", 4, r"generator.first_kernel must be odd; got 4"),
        ("generator.norm", "layer", r"generator.norm.*layer"),
        ("generator.dilations", [0], r"every entry of generator.dilations must be at least 1"),
        ("discriminator.kind", "net", r"discriminator.kind.*'patch', 'unet'.*net"),
        ("losses.pixel", -1, r"losses.pixel must be at least 0; got -1"),
        ("losses.flux", float("nan"), r"losses.flux must be finite; got nan"),
        ("losses.pixel_softening", 0.0, r"losses.pixel_softening.*above 0.*0.0"),
        ("losses.feature_softening", 0, r"losses.feature_softening.*above 0.*0"),
        ("losses.adversarial_softening", -1, r"losses.adversarial_softening.*above 0.*-1"),
        ("losses.pixel_kind", "l3", r"losses.pixel_kind.*'l1', 'l2'.*l3"),
        ("losses.spectrum_floor", -1, r"losses.spectrum_floor must be at least 0; got -1"),
        ("losses.flux_sizes", [], r"losses.flux_sizes must hold at least one number; got \(\)"),
        ("losses.binned_sizes", [7], r"losses.binned_sizes must be even; got \(7,\)"),
        ("losses.aperture_radii", [0], r"every entry of losses.aperture_radii must be above 0"),
        ("optimizer.rate", 0, r"optimizer.rate must be above 0; got 0"),
        ("optimizer.rate", "fast", r'"optimizer.rate": Expected .*float.* Got value: fast'),
        ("optimizer.ema", 1, r"optimizer.ema must be in \[0, 1\); got 1"),
        ("data.source", [], r"data.source must be 'simulation', a folder, or a list .*got \[\]"),
        ("data.bands", [], r"data.bands must be a list of band names; got \(\)"),
        ("data.bands", ["g", "g"], r"data.bands must not repeat a band"),
        ("data.shape", [64], r"data.shape.*2 elements"),
        ("data.shape", [64, 8], r"every entry of data.shape must be at least 16; got 8"),
        ("data.crop", 200, r"data.crop must be at most the smaller side of data.shape .*got 200"),
        ("data.batch_size", 0, r"data.batch_size must be at least 1; got 0"),
        ("data.depth", -0.1, r"data.depth must be at least 0; got -0.1"),
        ("run.epochs", 0, r"run.epochs must be at least 1; got 0"),
        ("run.max_minutes", 0, r"run.max_minutes must be above 0; got 0"),
        ("run.patience", 0, r"run.patience must be at least 1; got 0"),
        ("run.output", "", r"run.output must name a folder; got ''"),
        ("data", 3, r"data in the configuration must hold keys and values; got 3"),
    ],
)
def test_value_is_refused_by_name(key, value, message):
    with pytest.raises((ValueError, TypeError), match=message):
        load_config({key: value})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"data.space": "seed"}, r"losses.flux needs linear fluxes, which data.space='seed'"),
        (
            {"data.space": "seed", "losses.flux": 0, "losses.pixel_kind": "noise"},
            r"losses.pixel \(of the kind 'noise'\) needs linear fluxes",
        ),
        ({"generator.scale": "laplace"}, r"generator.scale and losses.nll go together.*nll=0"),
        ({"losses.nll": 0.1}, r"generator.scale and losses.nll go together.*scale=None"),
        ({"run.epochs": 10}, r"run.pretrain_epochs and run.ramp_epochs .* got 50 \+ 10 > 10"),
        (
            {"losses.pixel": 0, "losses.flux": 0, "losses.spectrum": 0},
            r"run.pretrain_epochs must be 0 where all losses need the discriminator; got 50",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        load_config(keys)


def test_a_term_that_subsets_of_the_bands_do_not_allow():
    refused = "losses.binned_flux must be 0 with .*the noisy input.*; got 0.1"
    with pytest.raises(ValueError, match=refused):
        load_config({"preset": "twelve", "losses.binned_flux": 0.1})
    assert load_config({"preset": "twelve", "losses.binned_flux": 0}) == preset("twelve")


def test_keys_alone_have_no_preset(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("preset: seed\nrun: {epochs: 3}\ndata.crop: 9\n")
    wanted = {"preset": "seed", "run": {"epochs": 3}, "data": {"crop": 9}}
    assert (
        read_keys(path) == read_keys({"preset": "seed", "run.epochs": 3, "data.crop": 9}) == wanted
    )
    assert read_keys(None) == {}


def test_no_loss_at_all_is_refused():
    with pytest.raises(ValueError, match="losses must have at least one weight above 0"):
        LossConfig(pixel=0, flux=0)


def test_python_may_give_lists_and_is_checked_too():
    assert GeneratorConfig(dilations=[1, 2]).dilations == (1, 2)
    assert DataConfig(bands="r").n_bands == 1
    assert DataConfig(single_band=True).n_bands == 1
    with pytest.raises(TypeError, match=r"losses.flux_sizes must be a list of numbers; got 6"):
        LossConfig(flux_sizes=6)
    with pytest.raises(TypeError, match="data must be a DataConfig; got dict"):
        TrainingConfig(data={"crop": 48})


# Documentation and command line.


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented(section):
    documented = training_config._documentation(SECTIONS[section])
    assert set(documented) == {field.name for field in dataclasses.fields(SECTIONS[section])}
    assert all(len(text) > 10 and text.endswith(".") for text in documented.values())


def test_command_line_gives_only_what_was_given():
    parser = ArgumentParser(exit_on_error=False)
    add_config_arguments(parser)
    options = parser.parse_args(["--data.batch_size", "8", "--data.bands", "[g, r]"])
    assert options.as_dict() == {"data": {"batch_size": 8, "bands": ("g", "r")}}
    config = load_config(None, options.as_dict(), base="fidelity")
    assert config.data == dataclasses.replace(DataConfig(), batch_size=8, bands=("g", "r"))
    assert "output pixels" in parser.format_help()


def test_configuration_needs_no_torch():
    """Mistakes in a file are told before anything heavy is loaded."""
    code = (
        "import sys; from splus_srgan.training.config.training import load_config; load_config(); "
        "print('torch' in sys.modules, 'lightning' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "False"]
