# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Two stages: weights of few bands, then a joint generator that corrects what they made."""

import numpy as np

from splus_srgan.models.engines import make_engine
from splus_srgan.models.weights import choose_among, first_stage_of, load_generator

__all__ = ["FirstStage", "TwoStageEngine"]

_FACTOR = 2


class FirstStage:
    """
    The weights of few bands that a joint generator stands on.

    Parameters
    ----------
    card : `~splus_srgan.models.weights.WeightsCard`
        Model card of the joint generator.
    with_scale : bool, optional
        Whether to give the scale of the errors too.
    **options
        ``device``, ``precision`` and ``engine`` of `~splus_srgan.models.engines.make_engine`.

    Raises
    ------
    WeightsError
        If weights are missing, or not those that the joint generator was trained on.
    """

    def __init__(self, card, *, with_scale=False, **options):
        self.cards = first_stage_of(card)
        self.with_scale = with_scale
        generators = {one.name: load_generator(one) for one in self.cards}
        self.radius = max(g.receptive_field_radius for g in generators.values())
        self._engines = {
            name: make_engine(generator, with_scale=with_scale, **options)
            for name, generator in generators.items()
        }

    def __call__(self, y, *, bands):
        """
        What each of the bands becomes by itself, or with those that its weights know.

        Parameters
        ----------
        y : `~numpy.ndarray`, shape (n_band, ny, nx)
            Stretched image.
        bands : sequence of str
            Their names.

        Returns
        -------
        fine : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
            Generated bands, or with ``with_scale`` twice as many planes: after them the
            logarithms of the scales.
        """
        n_band, ny, nx = y.shape
        n_planes = n_band * (1 + self.with_scale)
        fine = np.empty((n_planes, _FACTOR * ny, _FACTOR * nx), np.float32)
        for card, places in choose_among(self.cards, bands):
            for group in [[k] for k in places] if card.takes_any_band else [places]:
                planes = self._engines[card.name](y[group])
                fine[group] = planes[: len(group)]
                if self.with_scale:
                    fine[[n_band + k for k in group]] = planes[len(group) :]
        return fine


class TwoStageEngine:
    """
    An engine of the bands of one field: the first stage, and its correction.

    The scale of the errors is that of the first stage.

    Parameters
    ----------
    first : `FirstStage`
        The first stage.
    second : callable
        Engine of a `~splus_srgan.models.joint.ToldGenerator`.
    bands : sequence of str
        Bands, in their order.
    """

    def __init__(self, first, second, bands):
        self.first, self.second, self.bands = first, second, tuple(bands)
        self.with_scale = first.with_scale
        self.name, self.device, self.precision = second.name, second.device, second.precision

    def __call__(self, y):
        """Generate from one stretched image."""
        y = np.asarray(y, np.float32)
        made = self.first(y, bands=self.bands)
        made, scales = made[: len(y)], made[len(y) :]
        return np.concatenate((self.second(np.concatenate((y, _phases(made)))), scales))


def _phases(images):
    """The phases of fine images, those of a band one after the other, on the coarse grid."""
    n_band, ny, nx = images.shape
    cut = images.reshape(n_band, ny // _FACTOR, _FACTOR, nx // _FACTOR, _FACTOR)
    return cut.transpose(0, 2, 4, 1, 3).reshape(-1, ny // _FACTOR, nx // _FACTOR)
