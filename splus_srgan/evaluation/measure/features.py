# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Which channels of a network answer to galaxies, and which to noise.

A perceptual loss compares the channels of a network such as VGG19: one that answers to
noise makes a generator paint noise.  The probe shows fields and pure noise to a network,
and ranks its channels by how much more they answer to one than to the other.
"""

import math
from collections.abc import Mapping

import numpy as np
from astropy.table import QTable

from splus_srgan.evaluation.measure.networks import answering_layers
from splus_srgan.images.unpack import fill_missing, unpack
from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.stretch import NoiseAsinhStretch
from splus_srgan.simulate.field import correlated_noise
from splus_srgan.utils.validate import check_integer, check_one_of

__all__ = ["FeatureProbe", "strongest_channels"]

_CLEAR = 1 / 3  # preference of a channel that answers twice as much to one as to the other
_DEAD = 1e-6  # of the strongest answer in its layer
_DITHERS = ((0.1, -0.3), (-0.4, 0.2), (0.3, 0.4))


class FeatureProbe:
    r"""
    Rank the channels of a network by what they answer to.

    Parameters
    ----------
    network : {"generator", "vgg19"} or `~torch.nn.Module`, optional
        ``"generator"`` needs no download.  A module takes images ``(1, n_band, ny, nx)``,
        stretched as `~splus_srgan.NoiseAsinhStretch` does by default.
    weights : str, path-like or card, optional
        Of the generator: as for `~splus_srgan.SRGANEnhancer`.  Of VGG19: a file with
        torchvision's names of the tensors, ``"random"``, or `None`: those that torchvision
        downloads, ``IMAGENET1K_V1``.
    bands : sequence of str, optional
        Bands of the fields, from blue to red.
    layers : sequence of str, optional
        Which layers; all rectifiers where not given.

    Raises
    ------
    ImportError
        If VGG19 with its own weights is asked for, and torchvision cannot be imported.
    OSError
        If its weights cannot be downloaded.
    WeightsError
        If weights do not fit.
    ValueError
        If network or layers are unknown.

    Notes
    -----
    With :math:`a_c(y)` the activations of channel :math:`c` for the stretched image
    :math:`y`, its gain for images of one kind is

    .. math:: g_c = \sqrt{\frac{\langle (a_c(y) - a_c(0))^2 \rangle}{\langle y^2 \rangle}}

    averaged over pixels and images: its answer per contrast of what it is shown, beyond that
    to an empty sky.  The preference is :math:`p = (g_\mathrm{galaxy} - g_\mathrm{noise}) /
    (g_\mathrm{galaxy} + g_\mathrm{noise})`: 1 answers to galaxies alone, -1 to noise alone.

    VGG19 sees three bands as red, green and blue (the reddest is red), from 0 at the sky to
    1 at about 4000 sigma, normalized as its training images were; one band thrice.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.measure.features import FeatureProbe
    >>> fields = [simulate_field(seed, shape=(32, 32), kind="fill").observed for seed in (1, 2)]
    >>> table = FeatureProbe("generator", layers=["tail.1"])(fields)
    >>> len(table), table.colnames[:4]
    (32, ['rank', 'layer', 'channel', 'galaxy'])
    """

    def __init__(self, network="generator", *, weights=None, bands=("g", "r", "z"), layers=None):
        self.bands = tuple(bands)
        self.stretch = NoiseAsinhStretch(0.0, 1.0)
        self._as_rgb = False
        if isinstance(network, str) and network == "generator":
            self.network = self._generator(weights)
        elif isinstance(network, str) and network == "vgg19":
            from splus_srgan.models.features import load_vgg19

            self.network, self._as_rgb = load_vgg19(weights), True
        elif hasattr(network, "named_modules"):
            self.network = network
        else:
            raise ValueError(
                f"network must be 'generator', 'vgg19' or a torch module; got {network!r}"
            )
        known = answering_layers(self.network)
        unknown = [name for name in layers or () if name not in known]
        if unknown:
            raise ValueError(f"layers must be among {', '.join(known)}; got {unknown}")
        self.layers = {name: known[name] for name in (known if layers is None else layers)}

    def _generator(self, weights):
        from splus_srgan.models.weights import choose_card, load_card, load_generator

        card = choose_card("auto" if weights is None else load_card(weights), self.bands)
        self.stretch = NoiseAsinhStretch(0.0, 1.0, **card.stretch)
        if card.takes_any_band:
            self.bands = self.bands[:1]
        else:
            self.bands = tuple(card.bands)
        return load_generator(card)

    def __call__(self, galaxies, *, noise=None, n_noise=8, progress_bar=None):
        """
        Show images to the network and rank its channels.

        Parameters
        ----------
        galaxies : sequence
            Fields with galaxies: mappings of band to `~astropy.nddata.CCDData`, whose sky and
            sigma are measured; or arrays ``(n_band, ny, nx)`` in units of sigma, without
            sky.  Noise-free ones separate best.
        noise : sequence, optional
            Blank fields, likewise.  `None`: ``n_noise`` of simulated noise, correlated as
            in coadds, of the shape of the first field.
        n_noise : int, optional
            How many of these.
        progress_bar : callable, optional
            Wraps the list of images, as ``tqdm.tqdm`` does.

        Returns
        -------
        table : `~astropy.table.QTable`
            A row per channel, those that prefer galaxies first: ``rank, layer, channel``;
            the gains ``galaxy`` and ``noise``; ``preference`` with its standard ``error``
            (jackknife over the images); ``answers_to``: ``"galaxies"``, ``"noise"`` (one at
            least twice the other), ``"both"``, or ``"nothing"``.

        Raises
        ------
        ValueError
            If there are no galaxies or no noise, an image is blank, or bands are missing.
        """
        galaxies = [self._stretched(field) for field in galaxies]
        if not galaxies:
            raise ValueError("galaxies must hold at least one field; got none")
        if noise is None:
            noise = self._simulated(galaxies[0].shape, check_integer("n_noise", n_noise, minimum=1))
        noise = [self._stretched(field) for field in noise]
        if not noise:
            raise ValueError("noise must hold at least one field; got none")
        images = galaxies + noise
        answers = [self._answers(y) for y in (progress_bar(images) if progress_bar else images)]
        contrast = np.array([np.mean(y**2) for y in images])
        if (contrast[: len(galaxies)].sum() <= 0) or (contrast[len(galaxies) :].sum() <= 0):
            raise ValueError("galaxies and noise must not be blank; all of one are 0 everywhere")
        power = np.array([np.concatenate(list(one.values())) for one in answers])
        return _ranked(answers[0], power, contrast, len(galaxies))

    def maps(self, field, channels):
        """
        Pictures of what channels answer to a field.

        Parameters
        ----------
        field : mapping or array
            As at the call.
        channels : sequence of (str, int)
            Layer and channel.

        Returns
        -------
        maps : list of `~numpy.ndarray`
            Activations less those of an empty sky, each on its layer's grid.
        """
        kept = {}
        y = self._stretched(field)

        def keep(name, difference):
            for index in {c for layer, c in channels if layer == name}:
                kept[name, index] = difference[0, index].numpy()

        self._show(y, keep)
        return [kept[str(layer), int(channel)] for layer, channel in channels]

    def _simulated(self, shape, number):
        """Noise of unit sigma, in units of sigma."""
        rng = np.random.default_rng(1)
        return [
            np.stack([correlated_noise(rng, shape[1:], _DITHERS) for _ in range(shape[0])])
            for _ in range(number)
        ]

    def _stretched(self, field):
        """Stretched image ``(n_band, ny, nx)``, 0 at the sky and where nothing is known."""
        if isinstance(field, Mapping):
            stack = unpack(field, bands=self.bands)
            measured = measure_background(stack.data, mask=stack.mask)
            sky = measured.sky[:, None, None]
            data = fill_missing(stack.data, stack.mask, default=measured.sky)
            field = (data - sky) / measured.sigma[:, None, None]
        field = np.nan_to_num(np.asarray(field, np.float32))
        if field.ndim != 3 or len(field) != len(self.bands):
            raise ValueError(
                f"a field must have shape (n_band, ny, nx) with the {len(self.bands)} band(s) "
                f"{', '.join(self.bands)}; got shape {field.shape}"
            )
        return np.asarray(self.stretch(field), np.float32)

    def _as_input(self, y):
        """What the network takes of a stretched image."""
        import torch

        if self._as_rgb:
            from splus_srgan.models.features import IMAGENET

            # Red, green, blue are the last, the middle and the first band.
            order = np.rint(np.linspace(len(y) - 1, 0, 3)).astype(int)
            mean, deviation = (np.array(v, np.float32)[:, None, None] for v in IMAGENET)
            y = (y[order] - mean) / deviation
        return torch.from_numpy(np.ascontiguousarray(y, np.float32))[None]

    def _answers(self, y):
        """Mean square activation of each channel of each layer, beyond that to an empty sky."""
        found = {}

        def measure(name, difference):
            found[name] = difference.double().square().mean(dim=(0, 2, 3)).numpy()

        self._show(y, measure)
        return {name: found[name] for name in self.layers}

    def _show(self, y, use):
        """Run the network on an image and on an empty sky; ``use(name, difference)``."""
        import torch

        # Both in one batch: no activation of one has to wait for the other.
        batch = torch.cat([self._as_input(y), self._as_input(np.zeros_like(y))])

        def hook(name):
            return lambda _module, _given, answer: use(name, (answer[:1] - answer[1:]).float())

        handles = [layer.register_forward_hook(hook(name)) for name, layer in self.layers.items()]
        try:
            with torch.inference_mode():
                self.network(batch)
        finally:
            for handle in handles:
                handle.remove()


def strongest_channels(table, answers_to, *, number=6):
    """
    Choose the channels that answer most, to look at their maps.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Of `FeatureProbe`.
    answers_to : {"galaxies", "noise"}
        What the channels answer to.
    number : int, optional
        How many at most.

    Returns
    -------
    channels : list of (str, int)
        Layer and channel, the strongest (relative to the strongest of its layer) first.

    Raises
    ------
    ValueError
        If ``answers_to`` is neither.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.measure.features import FeatureProbe, strongest_channels
    >>> fields = [simulate_field(seed, shape=(32, 32), kind="fill").observed for seed in (1, 2)]
    >>> table = FeatureProbe("generator", layers=["first.1"])(fields)
    >>> strongest_channels(table, "noise", number=1)[0][0]
    'first.1'
    """
    check_one_of("answers_to", answers_to, ("galaxies", "noise"))
    gain = np.asarray(table["galaxy" if answers_to == "galaxies" else "noise"], float)
    layers = np.asarray(table["layer"])
    most = {layer: gain[layers == layer].max() for layer in dict.fromkeys(layers)}
    share = np.array([g / most[n] if most[n] else 0 for g, n in zip(gain, layers, strict=True)])
    share[np.asarray(table["answers_to"]) != answers_to] = -1
    best = np.argsort(-share, kind="stable")[:number]
    return [(str(layers[k]), int(table["channel"][k])) for k in best if share[k] >= 0]


def _ranked(answers, power, contrast, n_galaxy):
    """The table, from mean squares (n_image, n_channel) and contrasts (n_image,)."""
    sets = [slice(0, n_galaxy), slice(n_galaxy, None)]
    preference, gains = _preference([power[s] for s in sets], [contrast[s] for s in sets])
    layers = np.concatenate([[name] * len(part) for name, part in answers.items()])
    strongest = np.concatenate(
        [np.full(len(p), gains[:, layers == n].max()) for n, p in answers.items()]
    )
    dead = gains.max(axis=0) <= _DEAD * strongest
    preference = np.where(dead, math.nan, preference)
    names = np.select([dead, preference > _CLEAR, preference < -_CLEAR], _NAMES[:3], _NAMES[3])
    table = QTable(
        {
            "layer": layers,
            "channel": np.concatenate([np.arange(len(part)) for part in answers.values()]),
            "galaxy": gains[0],
            "noise": gains[1],
            "preference": preference,
            "error": np.where(dead, math.nan, _jackknife(power, contrast, n_galaxy)),
            "answers_to": names,
        }
    )
    # Dead channels last; among equals the stronger answer is nearer to its end of the list.
    order = np.lexsort((gains[1] - gains[0], -np.nan_to_num(preference, nan=-2.0)))
    table = table[order]
    table.meta["layers"] = list(answers)
    table.add_column(np.arange(1, len(table) + 1), name="rank", index=0)
    for name in ("galaxy", "noise", "preference", "error"):
        table[name].info.format = ".3g"
    return table


_NAMES = ("nothing", "galaxies", "noise", "both")


def _preference(power, contrast):
    gains = np.array(
        [np.sqrt(p.sum(axis=0) / c.sum()) for p, c in zip(power, contrast, strict=True)]
    )
    total = gains.sum(axis=0)
    return np.divide(gains[0] - gains[1], total, out=np.zeros_like(total), where=total > 0), gains


def _jackknife(power, contrast, n_galaxy):
    """Standard error from leaving out one image after the other; NaN with one of a kind."""
    variance = np.zeros(power.shape[1])
    index = np.arange(len(power))
    groups = [index[:n_galaxy], index[n_galaxy:]]
    for k, group in enumerate(groups):
        if len(group) < 2:
            return np.full(power.shape[1], math.nan)
        values = []
        for out in group:
            chosen = [g[g != out] if i == k else g for i, g in enumerate(groups)]
            values.append(_preference([power[g] for g in chosen], [contrast[g] for g in chosen])[0])
        variance += (len(group) - 1) * np.var(values, axis=0)
    return np.sqrt(variance)
