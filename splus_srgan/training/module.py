# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Generator and discriminator in training, as a `lightning.pytorch.LightningModule`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from splus_srgan.training.losses import (
    discriminator_adversarial,
    feature_matching_loss,
    generator_adversarial,
    total_loss,
)
from splus_srgan.training.networks import (
    MODULE_STATE,
    make_discriminator,
    make_generator,
    read_start,
)
from splus_srgan.training.optimizers import (
    clip_gradients,
    grow,
    learning_rate,
    make_optimizer,
    update_average,
)
from splus_srgan.training.scores import field_scores, flux_aware_score
from splus_srgan.training.terms import GeneratorTerms, with_added
from splus_srgan.utils.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from splus_srgan.training.config.training import TrainingConfig
    from splus_srgan.utils.types import FilePath

L: Any = import_optional("lightning", "train")

__all__ = ["SRGANModule", "trainer_options"]


def trainer_options(config: TrainingConfig) -> dict[str, Any]:
    """
    Arguments that `lightning.pytorch.Trainer` must have for `SRGANModule`.

    The module casts to bfloat16 itself, where that is harmless, so the trainer must not; and
    each of its backward passes reaches only one of the networks, so that parallel processes
    must look for unused parameters.

    Parameters
    ----------
    config : `~splus_srgan.training.config.training.TrainingConfig`
        The run.

    Returns
    -------
    options : dict
        ``accelerator``, ``devices``, ``num_nodes``, ``strategy``, ``precision``,
        ``max_epochs``, ``check_val_every_n_epoch``, ``use_distributed_sampler`` and
        ``num_sanity_val_steps``.

    Examples
    --------
    >>> from splus_srgan.training.config.training import preset
    >>> from splus_srgan.training.module import trainer_options
    >>> trainer_options(preset("fidelity"))["strategy"]
    'auto'
    """
    run = config.run
    several = run.devices * run.num_nodes > 1
    return {
        "accelerator": run.accelerator,
        "devices": run.devices,
        "num_nodes": run.num_nodes,
        "strategy": "ddp_find_unused_parameters_true" if several else "auto",
        "precision": "32-true",
        "max_epochs": run.epochs,
        "check_val_every_n_epoch": run.validate_every,
        # The data module gives each process its part.
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
    }


class SRGANModule(L.LightningModule):
    """
    Train a generator, with a discriminator where a loss needs one.

    Each batch is one step of the generator, then one of the discriminator (with
    ``discriminator_kind="mse"`` one on targets and one on generated images).  Make the
    trainer with `trainer_options`.

    Parameters
    ----------
    config : `~splus_srgan.training.config.training.TrainingConfig`
        The whole configuration.

    Attributes
    ----------
    generator : `~splus_srgan.models.generator.SRResNet`
        The network that is trained.
    average : `~splus_srgan.models.generator.SRResNet`
        Its moving average, which is validated and exported.
    discriminator : `~torch.nn.Module` or `None`
        The discriminator.
    step : int
        Finished steps of the generator.
    pictures : list of dict
        Stretched ``input``, ``generated`` and ``target`` of the first ``run.n_pictures`` fields of
        the last validation, arrays of shape (n_band, ny, nx).
    validation_rows : list of dict
        ``index``, ``psnr`` (dB), ``ssim`` and ``flux_bias`` (mmag) of each field of the last
        validation.
    history : list of dict
        Stages of training in the runs that this one started from.

    Notes
    -----
    Logged every step: ``loss/<term>`` of each term, ``loss/total``, ``loss/discriminator``,
    ``rate``, ``gradient`` (norms before clipping) and ``gradient/discriminator``.  Logged per
    validation: ``val/psnr``, ``val/ssim``, ``val/flux_bias`` (means over the fields) and
    ``score``, the PSNR less 0.1 dB for every mmag by which the mean flux is off by more than 5.

    Everything depends on the seed and on the step alone, so that a run resumed from a
    checkpoint equals one that was never stopped.  Batch normalisation sees the batch of its
    own process.
    """

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config = config
        self.step, self._restored = 0, False
        self.history: list[dict[str, Any]] = []
        self.pictures: list[dict[str, NDArray[np.float32]]] = []
        self.validation_rows: list[dict[str, float]] = []
        self._steps_per_epoch = config.run.steps_per_epoch or 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.run.seed)
            self._make_networks()
        # Not a submodule: its frozen weights do not belong in a checkpoint.
        self._terms = GeneratorTerms(config)

    def _make_networks(self):
        self.generator = make_generator(self.config)
        self.discriminator = make_discriminator(self.config)
        if self._bfloat16:  # float32 is slower in this order on CPUs
            self.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)

    @property
    def _bfloat16(self):
        return self.config.run.precision == "bfloat16"

    def forward(self, y: torch.Tensor, *counts: Any) -> torch.Tensor:
        """
        Generate, with the averaged weights.

        Parameters
        ----------
        y : `~torch.Tensor`, shape (n, n_band, ny, nx)
            Stretched images; for a generator of the kind ``"joint"``, its planes of each band.
        *counts
            How many bands each field has, for that kind, as
            `~splus_srgan.models.joint.JointResNet` takes it.

        Returns
        -------
        generated : `~torch.Tensor`, shape (n, n_band, 2 ny, 2 nx)
            Stretched, float32.
        """
        with self._autocast():
            return self.average(self._ordered(y), *counts)

    def start_from(self, source: FilePath | Sequence[FilePath]) -> None:
        """
        Load the generator of another run, which may have fewer residual blocks.

        Parameters
        ----------
        source : str, path-like, or sequence of them
            Name or path of a model card, a checkpoint, or the folder of a run.  Of a run its
            best checkpoint is taken, or with a discriminator the last.  Of several, the mean of
            their weights, which for runs from the same start lies between them.

        Raises
        ------
        OSError, ValueError
            If there is none, or it holds a generator of another kind.
        """
        weights, self.history = read_start(source)
        for network in (self.generator, self.average):
            grow(network, weights)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """
        One optimizer for each network.

        Returns
        -------
        optimizers : list of `~torch.optim.Optimizer`
            Optimizers of the generator, and of the discriminator where there is one.
        """
        own = self.config.optimizer
        adam: dict[str, Any] = {"betas": (own.beta1, own.beta2), "eps": own.epsilon}
        optimizers = [make_optimizer(self.generator, own.name, own.rate, **adam)]
        if self.discriminator is not None:
            rate = own.discriminator_rate
            optimizers.append(make_optimizer(self.discriminator, "adam", rate, **adam))
        return optimizers

    def on_fit_start(self) -> None:
        """Load the weights to start from, and the parts of the loop other than the networks."""
        # Not in `setup`, which cannot know whether a checkpoint will be restored.
        if self.config.run.starts and not self._restored:
            self.start_from(self.config.run.starts)
        self._terms.to(self.device)
        if not self._steps_per_epoch:
            self._steps_per_epoch = self.trainer.datamodule.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.run.epochs * self._steps_per_epoch

    @property
    def ramp(self) -> float:
        """Fraction of their weight that the adversarial terms have at this step."""
        run = self.config.run
        if self.discriminator is None:
            return 0.0
        done = self.step - run.pretrain_epochs * self._steps_per_epoch
        if done < 0:
            return 0.0
        return min(1.0, (done + 1) / max(1, run.ramp_epochs * self._steps_per_epoch))

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        """
        One step of the generator and one of the discriminator.

        Parameters
        ----------
        batch : dict of str to `~torch.Tensor`
            A batch of the training data.
        batch_idx : int
            Not used: the step counts.

        Raises
        ------
        FloatingPointError
            If a loss or a gradient is not finite; no weight was changed by it.
        """
        self._set_rates()
        batch = with_added(batch)
        generated = self._generator_step(batch)
        if self.ramp > 0:
            self._discriminator_step(batch, generated.detach())
        self.step += 1
        update_average(self.average, self.generator, self.step, self.config.optimizer.ema)

    def _generator_step(self, batch):
        ramp, precision = self.ramp, self.config.run.precision
        with self._autocast():
            y = self._ordered(batch["input"])
            made = self.generator.forward_with_scale if self._has_scale else self.generator
            result = made(y, *_counts(batch))
        generated, log_scale = result if self._has_scale else (result, None)
        terms = self._terms(batch, generated, log_scale, precision=precision)
        if ramp > 0:
            # The discriminator is only read here, and must collect no gradients.
            self.discriminator.requires_grad_(False)
            terms |= self._adversarial_terms(batch["target"], generated)
        total = total_loss(terms, self._terms.weights(self.step / self.total_steps, ramp))
        self._check(batch, **terms)
        self._log({**terms, "total": total})
        self._descend(batch, 0, total)
        if ramp > 0:
            self.discriminator.requires_grad_(True)
        return generated

    @property
    def _has_scale(self):
        return self.config.generator.scale is not None

    def _adversarial_terms(self, target, generated):
        options, terms = self.config.losses, {}
        needs_target = options.feature_matching > 0 or options.adversarial_kind == "relativistic"
        real, real_seen = None, None
        if needs_target:
            with torch.no_grad():
                real, real_seen = self._judge(target)
        fake, fake_seen = self._judge(generated)
        if options.adversarial > 0:
            terms["adversarial"] = generator_adversarial(fake, real, kind=options.adversarial_kind)
        if options.feature_matching > 0:
            terms["feature_matching"] = feature_matching_loss(real_seen, fake_seen)
        return terms

    def _discriminator_step(self, batch, generated):
        kind, target = self.config.losses.discriminator_kind, batch["target"]
        if kind != "mse":
            real, fake = self._judge(target)[0], self._judge(generated)[0]
            found = discriminator_adversarial(real, fake, kind=kind)
            self._descend_checked(batch, found)
            self._log({"discriminator": found})
            return
        # The seed paper's: a step on the targets, then one on the generated images.
        of_real = discriminator_adversarial(self._judge(target)[0], None, kind=kind)
        self._descend_checked(batch, of_real)
        of_fake = discriminator_adversarial(None, self._judge(generated)[0], kind=kind)
        self._descend_checked(batch, of_fake)
        self._log({"discriminator": of_real.detach() + of_fake.detach()})

    def _descend_checked(self, batch, found):
        self._check(batch, discriminator=found)
        self._descend(batch, 1, found)

    def _judge(self, images):
        images = self._ordered(self._terms.judged(images))
        with self._autocast():
            return self.discriminator.forward_with_activations(images)

    def _descend(self, batch, number, loss):
        """One step of one optimizer."""
        name, network = (("", self.generator), ("/discriminator", self.discriminator))[number]
        # Lightning counts the steps of its own wrapper; only the generator's should count.
        optimizers = self.optimizers(use_pl_optimizer=number == 0)
        optimizer = optimizers[number] if isinstance(optimizers, list) else optimizers
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        norm = clip_gradients(network, self.config.optimizer.clip_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(self._complaint(f"the gradient{name}", norm, batch))
        self.log(f"gradient{name}", norm, batch_size=1)
        optimizer.step()

    def _check(self, batch, **terms):
        """Stop all processes if a value is not finite, before it does harm."""
        values = torch.stack([term.detach().float() for term in terms.values()])
        finite = torch.isfinite(values).all()
        if self.trainer.world_size > 1:
            mine, finite = bool(finite), self.trainer.strategy.reduce_boolean_decision(bool(finite))
            if mine and not finite:
                raise FloatingPointError(f"another process had to stop at step {self.step}")
        if finite:
            return
        for name, value in zip(terms, values, strict=True):
            if not torch.isfinite(value):
                raise FloatingPointError(self._complaint(f"loss/{name}", value, batch))

    def _complaint(self, name, value, batch):
        index = batch.get("index")
        samples = "" if index is None else f" (samples {', '.join(map(str, index.tolist()))})"
        return (
            f"{name} is {value.item()} at step {self.step}{samples}; the weights are still those "
            "of the step before. Resume from the last checkpoint with a lower optimizer.rate or "
            "run.precision=float32; if that does not help, look at these samples"
        )

    def _log(self, terms):
        named = {f"loss/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(named, prog_bar=True, batch_size=1)

    def _set_rates(self):
        own, run = self.config.optimizer, self.config.run
        progress = self.step / self.total_steps
        # The discriminator starts after the pre-training.
        starts = (0, run.pretrain_epochs * self._steps_per_epoch)
        optimizers = self.optimizers(use_pl_optimizer=False)
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        peaks = (own.rate, own.discriminator_rate)
        for optimizer, peak, start in zip(optimizers, peaks, starts, strict=False):
            rate = learning_rate(
                progress,
                max(0, self.step - start),
                peak,
                schedule=own.schedule,
                warm_up=own.warm_up_steps,
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            if peak is peaks[0] and optimizer is optimizers[0]:
                self.log("rate", rate, batch_size=1)

    def on_validation_epoch_start(self) -> None:
        """Discard the results of the last validation."""
        self.pictures, self.validation_rows = [], []

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        """
        Score the fields of a batch.

        Parameters
        ----------
        batch : dict of str to `~torch.Tensor`
            A batch of the validation data.
        batch_idx : int
            Number of the batch.
        """
        generated = self(batch["input"], *_counts(batch))
        for image, sample in _fields(generated, batch):
            row = field_scores(image, sample, self.config.data)
            self.validation_rows.append({"index": int(sample.get("index", -1)), **row})
            if len(self.pictures) < self.config.run.n_pictures:
                y = sample["input"]
                shown = {"input": y[:, 0] if y.ndim == 4 else y, "generated": image}
                shown["target"] = sample["target"]
                self.pictures.append({name: image.cpu().numpy() for name, image in shown.items()})

    def on_validation_epoch_end(self) -> None:
        """Log the means over all fields; each process has all of them."""
        if not self.validation_rows:
            return
        means = {
            name: _mean_known([row[name] for row in self.validation_rows])
            for name in self.validation_rows[0]
            if name != "index"
        }
        score = flux_aware_score(means["psnr"], means.get("flux_bias", float("nan")))
        logged = {f"val/{name}": value for name, value in means.items()} | {"score": score}
        self.log_dict(logged, sync_dist=True, batch_size=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """
        Add the step, and the earlier stages.

        Parameters
        ----------
        checkpoint : dict
            Changed in place.
        """
        checkpoint[MODULE_STATE] = {
            "step": self.step,
            "steps_per_epoch": self._steps_per_epoch,
            "stages": self.stages(),
            "history": self.history,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """
        Go on at the step of a checkpoint.

        Parameters
        ----------
        checkpoint : dict
            What `on_save_checkpoint` added is read.
        """
        state = checkpoint[MODULE_STATE]
        self.step, self.history = state["step"], state["history"]
        self._restored = True

    def stages(self) -> list[dict[str, Any]]:
        """
        Training history of the generator: one entry per run, the earliest first.

        Returns
        -------
        stages : list of dict
            ``steps``, ``torch`` and the configuration of each, without paths.
        """
        config = self.config.to_dict()
        recipe = {key: config[key] for key in ("name", "losses", "optimizer")}
        recipe["data"] = {k: v for k, v in config["data"].items() if k not in ("source", "cache")}
        recipe["seed"] = self.config.run.seed
        recipe["precision"] = self.config.run.precision
        return [*self.history, recipe | {"steps": self.step, "torch": str(torch.__version__)}]

    def _autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16)

    def _ordered(self, images):
        if not self._bfloat16 or images.ndim != 4:
            return images
        return images.contiguous(memory_format=torch.channels_last)


def _counts(batch):
    """Bands of each field, where they differ, as more arguments of the generator."""
    return (batch["counts"].tolist(),) if "counts" in batch else ()


def _fields(generated, batch):
    """Images of each field, and its sample."""
    if "counts" not in batch:
        for k, image in enumerate(generated):
            yield image, {name: values[k] for name, values in batch.items()}
        return
    counts, index = batch["counts"].tolist(), batch["index"]
    names = [name for name in batch if name not in ("index", "counts")]
    parts = zip(*(batch[name].split(counts) for name in names), strict=True)
    for image, number, part in zip(generated.split(counts), index, parts, strict=True):
        sample = dict(zip(names, part, strict=True))
        flat = {name: value if name == "input" else value[:, 0] for name, value in sample.items()}
        yield image[:, 0], flat | {"index": number}


def _mean_known(values):
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")
