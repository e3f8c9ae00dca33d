# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Sections of a configuration: data and run."""

from dataclasses import dataclass
from typing import Literal

from splus_srgan.splus import BANDS, canonical_band
from splus_srgan.training.config.checks import _Section

__all__ = ["DataConfig", "RunConfig"]

Space = Literal["noise", "seed"]
Augmentation = Literal["symmetries", "paper", "none"]
Validation = Literal["sky", "random"]
Precision = Literal["bfloat16", "float32"]


@dataclass(frozen=True, kw_only=True)
class DataConfig(_Section):
    """
    The pairs.

    Parameters
    ----------
    source : str or list of str, optional
        ``"simulation"``, the folder of a `~splus_srgan.pairs.folder.pairs.PairFolder`, or
        folders made by `~splus_srgan.training.data.dataset.render_pairs`.
    bands : list of str, optional
        Bands in the order of the generator's channels.
    single_band : bool, optional
        Give one band, drawn at random, instead of all: a generator for any one band.
    subsets : bool, optional
        Give a random subset of the bands, the others empty, as restored by the first
        stage, with the PSF and the depth of each: for a generator of the kind ``"joint"``.
    first_stage : list of str, optional
        Weights of the first stage, names or paths of model cards, in the order in which they
        are chosen; only with ``subsets``.
    space : {"noise", "seed"}, optional
        Arcsinh stretch in units of the sky noise, or the seed paper's (arcsinh, then
        minimum to maximum of each image).
    softening : float, optional
        Softening of the noise stretch, in sky noises, above 0.
    range : float, optional
        Divisor of the noise stretch, above 0.
    shape : tuple of int, optional
        ``(ny, nx)`` of simulated inputs in input pixels, each at least 16.
    crop : int or None, optional
        Side of the crop in input pixels, at least 8; `None` for whole images.
    batch_size : int, optional
        Pairs per step, over all devices together, at least 1.
    n_pairs : int, optional
        Simulated pairs to train on, at least 1.
    augmentation : {"symmetries", "paper", "none"}, optional
        All eight symmetries of the square at random; the seed paper's eightfold; none.
    sigma_error : float, optional
        Relative spread of the error of the measured sky noise, at least 0.
    sky_error : float, optional
        Spread of the error of the measured sky in sky noises, at least 0.
    depth : float, optional
        Spread of the natural logarithm of the sky noise, at least 0.
    zero_point : float, optional
        Spread of the zero point in magnitudes, at least 0.
    cache : str or None, optional
        Folder in which simulated pairs are kept once rendered; `None` for no cache.
    workers : int, optional
        Processes that prepare the pairs, at least 0 (0: the main one does).
    n_validation : int, optional
        Pairs held out (of a folder) or simulated for validation, at least 0.
    validation : {"sky", "random"}, optional
        How pairs of a folder are held out: by region of the sky, or at random.
    """

    source: str | list[str] = "simulation"
    bands: tuple[str, ...] = ("g", "r", "z")
    single_band: bool = False
    subsets: bool = False
    first_stage: tuple[str, ...] = ("splus-grz", "splus-any")
    space: Space = "noise"
    softening: float = 3.0
    range: float = 2.0
    shape: tuple[int, int] = (128, 128)
    crop: int | None = 72
    batch_size: int = 4
    n_pairs: int = 2600
    augmentation: Augmentation = "symmetries"
    sigma_error: float = 0.03
    sky_error: float = 0.05
    depth: float = 0.2
    zero_point: float = 0.0
    cache: str | None = None
    workers: int = 0
    n_validation: int = 16
    validation: Validation = "sky"

    _prefix = "data."

    def __post_init__(self):
        self._one_of(space=Space, augmentation=Augmentation, validation=Validation)
        if not self.source or not all(isinstance(s, str) and s for s in self.sources):
            raise ValueError(
                "data.source must be 'simulation', a folder, or a list of folders; "
                f"got {self.source!r}"
            )
        self._check_bands()
        self._tuple("shape", minimum=16)
        if len(self.shape) != 2:
            raise ValueError(f"data.shape must be two numbers, (ny, nx); got {self.shape!r}")
        self._integers(1, "batch_size", "n_pairs")
        self._integers(0, "workers", "n_validation")
        self._positive("softening", "range")
        self._not_negative("sigma_error", "sky_error", "depth", "zero_point")
        if self.crop is not None:
            self._check_crop()
        if self.subsets:
            self._check_subsets()

    @property
    def sources(self) -> list[str]:
        """The source as a list."""
        return [self.source] if isinstance(self.source, str) else list(self.source)

    @property
    def simulated(self) -> bool:
        """Whether the pairs are simulated as training goes."""
        return self.sources == ["simulation"]

    @property
    def n_bands(self) -> int:
        """Channels of the generator."""
        return 1 if self.single_band else len(self.bands)

    def _check_bands(self):
        bands = [self.bands] if isinstance(self.bands, str) else self.bands
        if not bands or not all(isinstance(band, str) and band for band in bands):
            raise ValueError(f"data.bands must be a list of band names; got {self.bands!r}")
        if len(set(bands)) != len(bands):
            raise ValueError(f"data.bands must not repeat a band; got {self.bands!r}")
        if self.simulated:
            self._check_known(bands)
        object.__setattr__(self, "bands", tuple(bands))

    def _check_known(self, bands):
        for band in bands:
            try:
                canonical_band(band)
            except ValueError:
                raise ValueError(
                    f"data.bands must be among {', '.join(BANDS)} where pairs are simulated; "
                    f"got {band!r}"
                ) from None

    def _check_subsets(self):
        if self.single_band or self.space != "noise" or not self.simulated:
            raise ValueError(
                "data.subsets needs data.single_band=False, data.space='noise' and "
                f"data.source='simulation'; got {self.single_band!r}, {self.space!r} and "
                f"{self.source!r}"
            )
        first = [self.first_stage] if isinstance(self.first_stage, str) else self.first_stage
        if not first or not all(isinstance(name, str) and name for name in first):
            raise ValueError(
                f"data.first_stage must be a list of names of weights; got {self.first_stage!r}"
            )
        object.__setattr__(self, "first_stage", tuple(first))

    def _check_crop(self):
        self._integers(8, "crop")
        # Filter and guides of a joint generator must not see the border of the field.
        edge, words = (16, " less 16 pixels with data.subsets") if self.subsets else (0, "")
        if self.simulated and self.crop > min(self.shape) - edge:
            raise ValueError(
                f"data.crop must be at most the smaller side of data.shape {self.shape}{words}; "
                f"got {self.crop!r}"
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig(_Section):
    """
    Length, place and output of the run.

    Parameters
    ----------
    output : str, optional
        Folder of the run.
    epochs : int, optional
        Epochs, at least 1; a cosine schedule ends with the last.
    steps_per_epoch : int or None, optional
        Steps of the generator per epoch, at least 1; `None` for one pass over all pairs
        (eight images each with the seed paper's augmentation).
    max_minutes : float or None, optional
        The run stops after so many minutes, above 0; the schedule does not depend on it.
    pretrain_epochs : int, optional
        Epochs without discriminator at the start, at least 0.
    ramp_epochs : int, optional
        Epochs during which the weight of the adversarial terms rises linearly after that,
        at least 0.
    validate_every : int, optional
        Epochs between validations, at least 1.
    patience : int or None, optional
        Validations without a better score after which the run stops, at least 1; `None`
        for never.
    precision : {"bfloat16", "float32"}, optional
        Precision of the networks; their last layers, the losses and the weights are float32 always.
    devices : int, optional
        Devices per node, at least 1.
    num_nodes : int, optional
        Nodes, at least 1.
    accelerator : str, optional
        ``"auto"``, ``"cpu"``, ``"gpu"``, or another accelerator that Lightning knows.
    seed : int, optional
        Seed of weights, order, noise and augmentation, at least 0.
    start_from : str, sequence of str or None, optional
        Name or path of a model card, the folder of a run, or a checkpoint, whose generator is
        the start; it may have fewer residual blocks.  Of several, the mean of their weights.
    n_pictures : int, optional
        Validation images drawn, at least 0.
    progress_bar : bool, optional
        Show a progress bar.
    """

    output: str = "run"
    epochs: int = 80
    steps_per_epoch: int | None = 250
    max_minutes: float | None = None
    pretrain_epochs: int = 0
    ramp_epochs: int = 0
    validate_every: int = 5
    patience: int | None = None
    precision: Precision = "bfloat16"
    devices: int = 1
    num_nodes: int = 1
    accelerator: str = "auto"
    seed: int = 0
    start_from: tuple[str, ...] | str | None = None
    n_pictures: int = 3
    progress_bar: bool = True

    _prefix = "run."

    @property
    def starts(self) -> tuple[str, ...]:
        """What ``start_from`` names, one after the other."""
        named = self.start_from or ()
        return (named,) if isinstance(named, str) else named

    def __post_init__(self):
        self._integers(1, "epochs", "validate_every", "devices", "num_nodes")
        self._integers(0, "pretrain_epochs", "ramp_epochs", "seed", "n_pictures")
        for name in ("steps_per_epoch", "patience"):
            if getattr(self, name) is not None:
                self._integers(1, name)
        if self.max_minutes is not None:
            self._positive("max_minutes")
        self._one_of(precision=Precision)
        if not self.output:
            raise ValueError("run.output must name a folder; got ''")
