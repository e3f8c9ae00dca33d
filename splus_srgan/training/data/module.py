# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The pairs as Lightning needs them: batches for each device, which resume where a run stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import DataLoader, DistributedSampler

from splus_srgan.training.data.dataset import FolderPairs, make_dataset
from splus_srgan.training.data.restored import join_fields
from splus_srgan.utils.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from splus_srgan.training.config.training import TrainingConfig
    from splus_srgan.training.data.samples import Pairs

L: Any = import_optional("lightning", "train")

__all__ = ["PairsDataModule", "StepLoader", "StepSampler"]


class StepSampler(DistributedSampler):
    """
    Numbers of the samples of the rest of an epoch, those of one device.

    Sample ``j`` of the batch of step ``s`` has the number ``s * batch_size + j``, and device
    ``r`` of ``n`` takes the ``r``-th of ``n`` equal parts of each batch, so all devices
    together see the same as a single one.

    Parameters
    ----------
    pairs : `~splus_srgan.training.data.dataset.Pairs`
        The pairs.
    batch_size : int
        Samples of a step, all devices together; a multiple of ``num_replicas``.
    steps_per_epoch : int
        Batches of an epoch.
    steps_done : callable
        Gives the steps of the run so far, when an epoch begins or is resumed.
    num_replicas, rank : int, optional
        Number of devices, and which of them this is.

    Raises
    ------
    ValueError
        If the batch cannot be divided over the devices.

    Examples
    --------
    >>> from splus_srgan.training.data.module import StepSampler
    >>> options = {"batch_size": 4, "steps_per_epoch": 3, "num_replicas": 2}
    >>> list(StepSampler([0], steps_done=lambda: 1, rank=0, **options))
    [4, 5, 8, 9]
    >>> list(StepSampler([0], steps_done=lambda: 1, rank=1, **options))
    [6, 7, 10, 11]
    """

    # Lightning leaves a DistributedSampler alone, but replaces others by its own.
    def __init__(
        self,
        pairs: Pairs | Sequence[Any],
        *,
        batch_size: int,
        steps_per_epoch: int,
        steps_done: Callable[[], int],
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__(cast("Pairs", pairs), num_replicas=num_replicas, rank=rank, shuffle=False)
        if batch_size % num_replicas:
            raise ValueError(
                f"data.batch_size must be a multiple of the number of devices, {num_replicas}; "
                f"got {batch_size}"
            )
        self.batch_size, self.steps_per_epoch = batch_size, steps_per_epoch
        self.steps_done = steps_done

    def __iter__(self) -> Iterator[int]:
        first = self.steps_done()
        last = (first // self.steps_per_epoch + 1) * self.steps_per_epoch
        share = self.batch_size // self.num_replicas
        own = range(self.rank * share, (self.rank + 1) * share)
        return iter([s * self.batch_size + j for s in range(first, last) for j in own])

    def __len__(self) -> int:
        """Samples of a whole epoch for this device, wherever the present one begins."""
        return self.steps_per_epoch * self.batch_size // self.num_replicas


class StepLoader(DataLoader):
    """
    A loader that begins at the step of the run, for `StepSampler`.

    Parameters
    ----------
    *args, **kwargs
        As for `torch.utils.data.DataLoader`; the sampler is a `StepSampler`.
    """

    # Lightning needs these two methods of a loader that resumes in the middle of an epoch.
    # The loader is ahead of the steps, so its own position is no state to save.
    def state_dict(self) -> dict[str, int]:
        """Give the finished steps."""
        return {"steps_done": self.sampler.steps_done()}  # type: ignore[attr-defined]

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Do nothing: the trainer, restored by then, knows the finished steps."""


class PairsDataModule(L.LightningDataModule):
    """
    The pairs of a configuration, for training and validation.

    Parameters
    ----------
    config : `~splus_srgan.training.config.training.TrainingConfig`
        Its ``data`` and ``run`` are used.

    Attributes
    ----------
    train, validation : `~splus_srgan.training.data.dataset.Pairs`
        Made by `setup`; ``validation`` is `None` where there are no pairs for it.

    Notes
    -----
    Every device validates with all fields, so all have the same scores.
    """

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self.config = config
        self.train: Pairs | None = None
        self.validation: Pairs | None = None

    def prepare_data(self) -> None:
        """Read all matched pairs once, on one device, so that a damaged one stops the run here."""
        for purpose in ("train", "validation"):
            pairs = make_dataset(self.config, purpose)
            if isinstance(pairs, FolderPairs):
                pairs.verify()

    def setup(self, stage: str | None = None) -> None:
        """
        Make the pairs.

        Parameters
        ----------
        stage : str, optional
            Not used.
        """
        if self.train is None:
            self.train = make_dataset(self.config, "train")
            self.validation = make_dataset(self.config, "validation")

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch: as configured, or one pass over all pairs."""
        chosen = self.config.run.steps_per_epoch
        return chosen or -(-len(self._trained()) // self.config.data.batch_size)

    def _trained(self) -> Pairs:
        return cast("Pairs", self.train)  # made by `setup`

    def steps_done(self) -> int:
        """
        Steps that the run has taken; 0 without a trainer.

        Returns
        -------
        steps : int
            Steps of the generator.
        """
        if self.trainer is None:
            return 0
        # The trainer's global step counts the steps of all optimizers.
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.processed

    def train_dataloader(self) -> StepLoader:
        """
        Batches from the present step of the run on.

        Returns
        -------
        loader : `StepLoader`
            Loader of this device's part.
        """
        world, rank = 1, 0
        if self.trainer is not None:
            world, rank = self.trainer.world_size, self.trainer.global_rank
        sampler = StepSampler(
            self._trained(),
            batch_size=self.config.data.batch_size,
            steps_per_epoch=self.steps_per_epoch,
            steps_done=self.steps_done,
            num_replicas=world,
            rank=rank,
        )
        share = self.config.data.batch_size // world
        return StepLoader(self._trained(), batch_size=share, sampler=sampler, **self._options())

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """
        All validation pairs, one by one.

        Returns
        -------
        loader : `~torch.utils.data.DataLoader` or list
            An empty list if there are none.
        """
        if self.validation is None:
            return []
        every: DistributedSampler[Any] = DistributedSampler(
            self.validation, num_replicas=1, rank=0, shuffle=False
        )
        return DataLoader(self.validation, batch_size=1, sampler=every, **self._options())

    def _options(self):
        workers = self.config.data.workers
        return {
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": torch.cuda.is_available(),
            # Otherwise each pass takes a number from torch's own stream, and a run that is
            # resumed would differ in everything drawn from it afterwards.
            "generator": torch.Generator().manual_seed(self.config.run.seed),
            "collate_fn": join_fields if self.config.data.subsets else None,
        }
