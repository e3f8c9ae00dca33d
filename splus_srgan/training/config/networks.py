# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Sections of a configuration: networks, losses, optimizers."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from splus_srgan.training.config.checks import _Section, options_of
from splus_srgan.utils.validate import check_integer, check_one_of

__all__ = [
    "DISCRIMINATOR_TERMS",
    "LOSS_TERMS",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "LossConfig",
    "OptimizerConfig",
]

LOSS_TERMS = (
    "pixel",
    "bright",
    "feature",
    "adversarial",
    "flux",
    "aperture",
    "binned_flux",
    "response",
    "spectrum",
    "starlet",
    "feature_matching",
    "nll",
)
"""Terms of the generator loss; each is the name of a weight in `LossConfig`."""

DISCRIMINATOR_TERMS = ("adversarial", "feature_matching")
"""Terms that need the discriminator."""

Kind = Literal["srresnet", "joint"]
Norm = Literal["batch"]
Output = Literal["residual", "tanh"]
Scale = Literal["laplace", "gaussian"]
Initialization = Literal["torch", "glorot"]
DiscriminatorKind = Literal["patch", "unet"]
PixelKind = Literal["l1", "l2", "charbonnier", "noise"]
VGGNetwork = Literal["vgg19", "vgg16"]
FeatureKind = Literal["mse", "l1"]
GeneratorAdversarial = Literal["bce", "least_squares", "relativistic"]
DiscriminatorAdversarial = Literal["bce", "least_squares", "relativistic", "mse"]
OptimizerName = Literal["adam", "muon"]
Schedule = Literal["cosine", "constant"]


# Options that are fixed for a joint generator.
_JOINT = {
    "norm": None,
    "first_kernel": 3,
    "last_kernel": 3,
    "n_tail_features": 32,
    "output": "residual",
    "scale": None,
}


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(_Section):
    """
    The generator: options of its class.

    These are `splus_srgan.models.generator.SRResNet` and
    `splus_srgan.models.joint.JointResNet`.

    Parameters
    ----------
    kind : {"srresnet", "joint"}, optional
        ``"joint"`` is a second stage for any subset of ``data.bands`` and is told about each; it
        needs ``data.subsets``.
    n_features : int, optional
        Channels of the body, at least 1.
    n_blocks : int, optional
        Residual blocks, at least 1.
    norm : {"batch", None}, optional
        Normalisation in the body.
    first_kernel, last_kernel : int, optional
        Sides of the first and of the last kernel in pixels, odd, at least 1.
    n_tail_features : int, optional
        Channels between the upsampling and the last convolution, at least 1.
    output : {"residual", "tanh"}, optional
        A correction to the bicubic upsampling, or the image itself.
    dilations : list of int, optional
        Adds a residual block for each, whose first convolution reads pixels this far
        apart; each at least 1.
    exchanges : list of int, optional
        After which residual blocks, rising from 1, the bands of a field see each other's
        features; of ``"joint"`` alone.
    low_pass : int, optional
        Order of the filter applied to the generated image
        (`~splus_srgan.models.generator.low_pass`); 0: none.
    scale : {None, "laplace", "gaussian"}, optional
        Distribution whose scale is predicted per pixel; needs ``losses.nll`` above 0.
    initialization : {"torch", "glorot"}, optional
        Initial values of the kernels: torch's own, or Glorot's uniform with biases of 0, as in
        Keras.
    """

    kind: Kind = "srresnet"
    n_features: int = 48
    n_blocks: int = 8
    norm: Norm | None = None
    first_kernel: int = 3
    last_kernel: int = 3
    n_tail_features: int = 32
    output: Output = "residual"
    dilations: tuple[int, ...] = (2, 4, 8, 4, 2)
    exchanges: tuple[int, ...] = ()
    low_pass: int = 2
    scale: Scale | None = None
    initialization: Initialization = "torch"

    _prefix = "generator."

    def __post_init__(self):
        self._integers(1, "n_features", "n_blocks", "n_tail_features")
        self._integers(0, "low_pass")
        for name in ("first_kernel", "last_kernel"):
            if check_integer(self._key(name), getattr(self, name), minimum=1) % 2 == 0:
                raise ValueError(f"{self._key(name)} must be odd; got {getattr(self, name)!r}")
        check_one_of(self._key("norm"), self.norm, (*options_of(Norm), None))
        check_one_of(self._key("scale"), self.scale, (*options_of(Scale), None))
        self._one_of(kind=Kind, output=Output, initialization=Initialization)
        self._tuple("dilations", filled=False)
        self._tuple("exchanges", filled=False)
        self._check_exchanges()
        for name, value in _JOINT.items() if self.kind == "joint" else ():
            if getattr(self, name) != value:
                raise ValueError(
                    f"{self._key(name)} must be {value!r} where {self._key('kind')} is "
                    f"'joint'; got {getattr(self, name)!r}"
                )

    def _check_exchanges(self):
        numbers, most = self.exchanges, self.n_blocks + len(self.dilations)
        if numbers and self.kind != "joint":
            raise ValueError(
                f"{self._key('exchanges')} needs {self._key('kind')} 'joint'; got {numbers!r}"
            )
        if list(numbers) != sorted(set(numbers)) or (numbers and numbers[-1] > most):
            raise ValueError(
                f"{self._key('exchanges')} must rise, and be at most the number of residual "
                f"blocks, {most}; got {numbers!r}"
            )

    def options(self, bands: int | Sequence[str]) -> dict[str, Any]:
        """
        Keyword arguments of the generator.

        Parameters
        ----------
        bands : int or sequence of str
            Number of bands for ``"srresnet"``, and their names for ``"joint"``.

        Returns
        -------
        options : dict
            For ``SRResNet(**options)`` or ``JointResNet(**options)``.
        """
        options = dataclasses.asdict(self)
        joint = options.pop("kind") == "joint"
        for name in ("initialization", *(_JOINT if joint else ("exchanges",))):
            del options[name]
        return options | {"bands" if joint else "n_bands": bands}


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(_Section):
    """
    The discriminator; it is made only if a loss needs it.

    Parameters
    ----------
    kind : {"patch", "unet"}, optional
        The seed paper's, which judges patches, or a U-Net with spectral norm, which
        judges every pixel.
    n_features : int, optional
        Channels of the first layer, at least 1.
    n_dense : int, optional
        Channels of the last hidden layer of ``"patch"``, at least 1.
    """

    kind: DiscriminatorKind = "unet"
    n_features: int = 32
    n_dense: int = 1024

    _prefix = "discriminator."

    def __post_init__(self):
        self._one_of(kind=DiscriminatorKind)
        self._integers(1, "n_features", "n_dense")


@dataclass(frozen=True, kw_only=True)
class LossConfig(_Section):
    """
    Weights of the terms of the generator loss (0: not computed), and their definitions.

    Parameters
    ----------
    pixel : float, optional
        Weight, at least 0, of the difference of stretched images, see ``pixel_kind``.
    bright : float, optional
        Weight, at least 0, of the difference of linear images over the noise of the input and 5 %
        of the truth: what counts in bright sources.
    feature : float, optional
        Weight, at least 0, of the difference of VGG features (bands: one or three; of subsets
        each band by itself).
    adversarial : float, optional
        Weight, at least 0, of the discriminator's judgement; above 0 it is trained.  Of subsets it
        judges each band by itself.
    flux : float, optional
        Weight, at least 0, of the flux in boxes against the truth.
    aperture : float, optional
        Weight, at least 0, of the flux in round apertures against the truth.
    binned_flux : float, optional
        Weight, at least 0, of the flux in boxes against the noisy input.
    response : float, optional
        Weight, at least 0, of what sources of few bands add to each band; above 0 such sources are
        added to the fields, which needs ``data.subsets``.
    spectrum : float, optional
        Weight, at least 0, of the difference of log power spectra.
    starlet : float, optional
        Weight, at least 0, of the difference of starlet planes.
    feature_matching : float, optional
        Weight, at least 0, of the difference of the discriminator's activations; above 0
        the discriminator is trained.
    nll : float, optional
        Weight, at least 0, of the negative log-likelihood; needs ``generator.scale``.
    pixel_kind : {"l1", "l2", "charbonnier", "noise"}, optional
        Absolute, squared, smoothed absolute difference of stretched images, or squared
        difference of linear images over the variance of the input.
    pixel_softening : float, optional
        Softening, in sky noises, of the stretch that ``pixel`` compares in, above 0; by default
        that of the networks, ``data.softening``.  A smaller one weighs faint light more.
    charbonnier_epsilon : float, optional
        Smoothing of ``"charbonnier"``, in stretched units, above 0.
    feature_kind : {"mse", "l1"}, optional
        Difference of VGG features.
    feature_softening : float, optional
        Softening, in sky noises, of the stretch in which the VGG network sees images, above 0; by
        default that of the networks, ``data.softening``.
    adversarial_kind : {"bce", "least_squares", "relativistic"}, optional
        Adversarial loss of the generator.
    discriminator_kind : {"bce", "least_squares", "relativistic", "mse"}, optional
        Loss of the discriminator; ``"mse"`` is the seed paper's.
    adversarial_softening : float, optional
        Softening, in sky noises, of the stretch that the discriminator sees images in, above
        0; by default that of the networks, ``data.softening``.  Light much fainter than the
        softening is invisible to a discriminator with spectral norm.
    flux_growth : float, optional
        The weight of the flux grows from 1 to (1 + ``flux_growth``) times itself during the
        run; at least 0.
    flux_sizes : list of int, optional
        Sides of the boxes of ``flux`` in output pixels, each at least 2.
    flux_snr : float, optional
        Signal to noise from which on a box of ``flux`` counts fully, at least 0; fainter ones
        count less.
    aperture_radii : list of float, optional
        Radii of the apertures of ``aperture`` in output pixels, each above 0.
    binned_sizes : list of int, optional
        Sides of the boxes of ``binned_flux`` in output pixels, each even and at least 4.
    spectrum_floor : float, optional
        White noise, in stretched units, whose power is added to both spectra of ``spectrum``,
        at least 0; without it empty crops count most.
    starlet_scales : int, optional
        Wavelet planes of ``starlet``, at least 1.
    vgg_network : {"vgg19", "vgg16"}, optional
        Network of ``feature``; ``"vgg16"`` blurs before it halves the image.
    vgg_weights : {None, "random"} or path, optional
        File of its weights; `None` for VGG19's of ImageNet from torchvision (a download), or
        VGG16's from the package ``stlpips-pytorch`` (extra ``perceptual``), whose features are
        smaller: they need about 100 times the weight.
    vgg_layer : str, optional
        Layer whose output is compared, such as ``"block3_conv3"``.
    vgg_normalize : bool, optional
        Normalise the images as in its training (mean and standard deviation of ImageNet).
    """

    pixel: float = 2.0
    bright: float = 0.0
    feature: float = 0.0
    adversarial: float = 0.0
    flux: float = 0.03
    aperture: float = 0.0
    binned_flux: float = 0.0
    response: float = 0.0
    spectrum: float = 0.0
    starlet: float = 0.0
    feature_matching: float = 0.0
    nll: float = 0.0
    pixel_kind: PixelKind = "l1"
    pixel_softening: float | None = None
    charbonnier_epsilon: float = 1e-3
    feature_kind: FeatureKind = "mse"
    feature_softening: float | None = None
    adversarial_kind: GeneratorAdversarial = "relativistic"
    discriminator_kind: DiscriminatorAdversarial = "relativistic"
    adversarial_softening: float | None = None
    flux_growth: float = 3.0
    flux_sizes: tuple[int, ...] = (6, 12, 24)
    flux_snr: float = 0.0
    aperture_radii: tuple[float, ...] = (8.0, 16.0)
    binned_sizes: tuple[int, ...] = (12, 24)
    spectrum_floor: float = 0.0
    starlet_scales: int = 4
    vgg_network: VGGNetwork = "vgg19"
    vgg_weights: str | None = None
    vgg_layer: str = "block3_conv3"
    vgg_normalize: bool = True

    _prefix = "losses."

    def __post_init__(self):
        self._not_negative(*LOSS_TERMS, "flux_growth", "flux_snr", "spectrum_floor")
        if not any(self.weights.values()):
            raise ValueError("losses must have at least one weight above 0; all are 0")
        self._one_of(pixel_kind=PixelKind, feature_kind=FeatureKind, vgg_network=VGGNetwork)
        self._one_of(
            adversarial_kind=GeneratorAdversarial, discriminator_kind=DiscriminatorAdversarial
        )
        self._positive("charbonnier_epsilon")
        for name in ("pixel_softening", "feature_softening", "adversarial_softening"):
            if getattr(self, name) is not None:
                self._positive(name)
        self._tuple("flux_sizes", minimum=2)
        self._tuple("aperture_radii", integer=False)
        self._tuple("binned_sizes", minimum=4)
        if any(size % 2 for size in self.binned_sizes):
            raise ValueError(f"losses.binned_sizes must be even; got {self.binned_sizes!r}")
        self._integers(1, "starlet_scales")

    @property
    def weights(self) -> dict[str, float]:
        """Weight of every term."""
        return {name: getattr(self, name) for name in LOSS_TERMS}

    @property
    def needs_discriminator(self) -> bool:
        """Whether any term needs a discriminator."""
        return any(getattr(self, name) > 0 for name in DISCRIMINATOR_TERMS)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(_Section):
    """
    Optimizers, learning rates and moving average.

    Parameters
    ----------
    name : {"adam", "muon"}, optional
        Optimizer of the generator; ``"muon"`` takes Muon for the kernels of its body (needs torch
        2.9). The discriminator always has Adam.
    rate, discriminator_rate : float, optional
        Peak learning rates, above 0.
    beta1, beta2 : float, optional
        Decay rates of Adam's averages, in [0, 1).
    epsilon : float, optional
        Epsilon of Adam, above 0.
    schedule : {"cosine", "constant"}, optional
        Schedule of both rates; a cosine falls to a hundredth at the last step.
    warm_up_steps : int, optional
        Steps during which both rates rise linearly, at least 0.
    clip_norm : float, optional
        Gradients are clipped to this norm; 0 for no limit.
    ema : float, optional
        Memory, in steps 1 / (1 - ``ema``), of the moving average of the generator that is
        validated and exported; in [0, 1), 0 for none.
    """

    name: OptimizerName = "muon"
    rate: float = 4e-4
    discriminator_rate: float = 2e-4
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-8
    schedule: Schedule = "cosine"
    warm_up_steps: int = 300
    clip_norm: float = 0.5
    ema: float = 0.999

    _prefix = "optimizer."

    def __post_init__(self):
        self._one_of(name=OptimizerName, schedule=Schedule)
        self._positive("rate", "discriminator_rate", "epsilon")
        self._shares("beta1", "beta2", "ema")
        self._integers(0, "warm_up_steps")
        self._not_negative("clip_norm")
