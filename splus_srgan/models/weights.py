# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Weights and their model cards: what a generator expects, promises and was trained on.

A model card is a JSON file beside the weights (safetensors, never pickle).  The shipped
ones lie in the package and work offline; others load by path or URL.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from splus_srgan.exceptions import ServiceError, WeightsError
from splus_srgan.models.schema import LARGEST, parse_card
from splus_srgan.utils.files import atomic_path, check_name, home_path, make_folder, replace_file
from splus_srgan.utils.notebook import html_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Literal

    from splus_srgan.models.generator import SRResNet
    from splus_srgan.models.joint import JointResNet
    from splus_srgan.utils.types import FilePath

__all__ = [
    "ANY_BAND",
    "WeightsCard",
    "available",
    "build_generator",
    "load_card",
    "load_generator",
    "save_weights",
    "verify",
]

ANY_BAND = "any"
"""Band name of a model card whose generator takes any one band."""

_FOLDER = Path(__file__).with_name("weights")
_CARD_LIMITS: dict[str, Any] = {"timeout": 15.0, "deadline": 30.0, "retries": 1, "largest": 1 << 20}
_WEIGHTS_LIMITS: dict[str, Any] = {
    "timeout": 30.0,
    "deadline": 900.0,
    "retries": 1,
    "largest": 1 << 29,
}


@dataclass(frozen=True)
class WeightsCard:
    """
    The contract of a set of weights.

    Attributes
    ----------
    name, version : str
        As the header cards of an enhanced image state them.
    file : str
        Name of the safetensors file beside the model card.
    sha256 : str
        Hash of that file.
    generator : dict
        Options of `splus_srgan.models.generator.SRResNet`; where ``kind`` is ``"joint"``, of
        `splus_srgan.models.joint.JointResNet`.
    bands : list of str
        Canonical band names in the order of the generator's channels, or
        ``["any"]`` for one that takes any one band.
    pixel_scale : float
        Arcsec per input pixel that it was trained for.
    stretch : dict
        ``softening`` and ``range`` of `splus_srgan.NoiseAsinhStretch`; or ``space`` is
        ``"seed"``, the seed paper's, which keeps no flux and cannot be used to enhance.
    target_psf : dict
        ``fwhm`` (arcsec) and ``beta`` of the Moffat PSF of the output.
    domain : dict
        Ranges seen in training, such as ``{"fwhm": [0.95, 2.4]}`` (arcsec).
    flux_anchor : float
        Default strength of the flux anchor, 0 for none.
    turned : bool
        Whether to take the mean of the image and of the image turned by 180 degrees.
    edge_reach : int or None
        Distance from the border (input pixels) within which the unknown sky beyond it changes
        more than one pixel in a thousand by 0.1 of its uncertainty, as measured; `None` where
        that was not measured.
    uncertainty : dict
        Nothing, or how errors become standard deviations: ``kind`` of the scale that the
        generator predicts, its ``calibration``, that of the ``ensemble`` of eight, and the
        ``correlation`` of the errors of two bands (`splus_srgan.training.calibration`); and of
        weights for subsets of many bands, the same for ``few``, at ``most`` so many bands.
    first_stage : dict
        Of a joint generator: name of each of the shipped weights that it builds on, in the order
        in which they are chosen, and their SHA-256.
    training, scores : dict
        How it was trained, and what was measured.
    license, acknowledgements : str
        Terms of the weights, and whom to thank.
    folder : str
        Where the model card was found.
    """

    name: str
    version: str
    file: str
    sha256: str
    generator: dict[str, Any]
    bands: list[str]
    pixel_scale: float
    stretch: dict[str, Any]
    target_psf: dict[str, Any]
    domain: dict[str, Any] = field(default_factory=dict)
    flux_anchor: float = 0.0
    turned: bool = False
    edge_reach: int | None = None
    uncertainty: dict[str, Any] = field(default_factory=dict)
    first_stage: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    license: str = ""
    acknowledgements: str = ""
    folder: str = ""

    def __repr__(self) -> str:
        return f"WeightsCard({self.name!r}, version {self.version}, bands {', '.join(self.bands)})"

    def _repr_html_(self) -> str:
        rows = {
            "version": self.version,
            "bands": ", ".join(self.bands),
            "pixel scale": f"{self.pixel_scale} arcsec",
            "PSF of the output": ", ".join(f"{k} {v}" for k, v in self.target_psf.items()),
            "trained for": ", ".join(f"{k} {v}" for k, v in self.domain.items()),
            "flux anchor": self.flux_anchor,
            "SHA-256": self.sha256,
            "licence": self.license,
        }
        return html_table(f"model card {self.name}", rows)

    def to_dict(self) -> dict[str, Any]:
        """The model card as plain data, without the folder where it was found."""
        card = asdict(self)
        del card["folder"]
        return card

    @property
    def path(self) -> Path:
        """Path of the safetensors file."""
        return Path(self.folder) / self.file

    @property
    def takes_subsets(self) -> bool:
        """Whether it takes any subset of its bands together, and is told about each."""
        return self.generator.get("kind") == "joint"

    @property
    def scale(self) -> Literal["laplace", "gaussian"] | None:
        """Distribution whose scale is predicted, as in `~splus_srgan.models.generator.SRResNet`."""
        return self.generator.get("scale")

    @property
    def takes_any_band(self) -> bool:
        """Whether the generator takes any one band."""
        return list(self.bands) == [ANY_BAND]

    def groups(self, places: Iterable[int]) -> list[list[int]]:
        """Groups of these bands that the generator takes at a time, as a list of lists."""
        return [[k] for k in places] if self.takes_any_band else [list(places)]


def available() -> list[str]:
    """
    Names of the shipped weights.

    Examples
    --------
    >>> from splus_srgan.models.weights import available
    >>> "splus-grz" in available()
    True
    """
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load_card(weights: FilePath | WeightsCard) -> WeightsCard:
    """
    Read a model card.

    Parameters
    ----------
    weights : str, path-like or `WeightsCard`
        Name of shipped weights, path of a model card or of a folder with one model card, or
        the URL of a model card (its weights lie beside it; both go to astropy's cache). A
        download is limited to 1 MiB and half a minute for the model card, and to 512 MiB and
        15 minutes for the weights.

    Returns
    -------
    card : `WeightsCard`
        The contract; the weights themselves are not read yet.

    Raises
    ------
    TypeError
        If ``weights`` is none of these.
    WeightsError
        If there is no such model card, or it is not complete.
    """
    if isinstance(weights, WeightsCard):
        return weights
    if not isinstance(weights, str | os.PathLike):
        raise TypeError(
            f"weights must be a str, path or WeightsCard; got {weights!r}; take one of "
            f"{', '.join(map(repr, available()))}, or the path or URL of a model card "
            "(*.json)"
        )
    found = find_card(weights)
    return _read_card(found) if isinstance(found, Path) else _download_card(found)


def find_card(weights: FilePath, *, auto: bool = False) -> Path | str:
    """
    Find the model card that weights are named by, without reading it.

    Parameters
    ----------
    weights : str or path-like
        As for `load_card`.
    auto : bool, optional
        Whether the caller takes ``"auto"`` as well, so that the message offers it.

    Returns
    -------
    card : `~pathlib.Path` or str
        Its file, or its URL.

    Raises
    ------
    WeightsError
        If there is no such model card.
    """
    text = str(weights)
    if text in available():
        return _FOLDER / f"{text}.json"
    if text.startswith(("http://", "https://")):
        return text
    path = home_path(weights)
    if path.is_dir():
        cards = sorted(path.glob("*.json"))
        if len(cards) != 1:
            raise WeightsError(
                f"weights folder {text!r} must hold one model card (*.json); found {len(cards)}"
            )
        path = cards[0]
    if path.suffix == ".safetensors":
        path = path.with_suffix(".json")
    if not path.is_file():
        names = ", ".join(map(repr, ["auto", *available()] if auto else available()))
        gone = ", where there is no file" if path.suffix == ".json" else ""
        raise WeightsError(
            f"weights must be one of {names}, or the path or URL of a model card (*.json); "
            f"got {text!r}{gone}"
        )
    return path


def _read_card(path: Path) -> WeightsCard:
    try:
        with path.open("rb") as file:
            content = parse_card(file.read(LARGEST + 1))
    except OSError as error:
        raise WeightsError(f"model card {str(path)!r} cannot be read: {error}") from error
    except ValueError as error:
        raise WeightsError(f"model card {str(path)!r} {error}") from error
    return WeightsCard(**content | {"folder": str(path.parent)})


def _download_card(url: str) -> WeightsCard:
    """Fetch a model card and its weights into astropy's cache, both checked before."""
    from astropy.utils.data import clear_download_cache

    from splus_srgan.utils.download import fetch_file

    shown = ServiceError(url, "").url
    try:
        card = _read_card(fetch_file(url, validate=_read_card, **_CARD_LIMITS))
        weights_url = url.partition("?")[0].rsplit("/", 1)[0] + "/" + card.file
        weights = fetch_file(weights_url, validate=partial(_check_hash, card), **_WEIGHTS_LIMITS)
    except ServiceError as error:
        clear_download_cache(shown)  # the model card may be what is wrong, and would stay so
        raise WeightsError(
            f"model card {shown!r} or its weights could not be fetched ({error.reason}); fetch "
            "both by hand and give the path of the model card"
        ) from error
    except ValueError as error:
        raise WeightsError(f"model card {shown!r}: {error}") from error
    return WeightsCard(**card.to_dict() | {"file": weights.name, "folder": str(weights.parent)})


def _check_hash(card: WeightsCard, path: FilePath) -> None:
    found = _sha256_of(path)
    if found != card.sha256:
        raise OSError(
            f"weights file of {card.name!r} has sha256 {found}, its model card says {card.sha256}: "
            "the file was changed or did not arrive whole"
        )


def _sha256_of(path: FilePath) -> str:
    """SHA-256 of a file, which may be larger than the memory."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(weights: FilePath | WeightsCard) -> WeightsCard:
    """
    Check that a weights file is the one that its model card describes.

    Parameters
    ----------
    weights : str, path-like or `WeightsCard`
        As for `load_card`.

    Returns
    -------
    card : `WeightsCard`
        The model card.

    Raises
    ------
    WeightsError
        If the file is missing, or its SHA-256 is not that of the model card.
    """
    card = load_card(weights)
    if not card.path.is_file():
        raise WeightsError(
            f"weights file {str(card.path)!r} of model card {card.name!r} is missing"
        )
    if card.path.stat().st_size > _WEIGHTS_LIMITS["largest"]:
        raise WeightsError(
            f"weights file {str(card.path)!r} must have at most {_WEIGHTS_LIMITS['largest']} bytes"
        )
    found = _sha256_of(card.path)
    if found != card.sha256:
        raise WeightsError(
            f"weights file {str(card.path)!r} has sha256 {found}, its model card says "
            f"{card.sha256}: the file was changed or did not arrive whole; get it again"
        )
    return card


def load_generator(weights: FilePath | WeightsCard) -> SRResNet | JointResNet:
    """
    Build the generator of a model card, with its weights, after checking their hash.

    Parameters
    ----------
    weights : str, path-like or `WeightsCard`
        As for `load_card`.

    Returns
    -------
    generator : `~torch.nn.Module`
        `~splus_srgan.models.generator.SRResNet` or
        `~splus_srgan.models.joint.JointResNet`, in evaluation mode, on the CPU.

    Raises
    ------
    WeightsError
        If the file is missing, is not the one of the model card, or does not fit the generator.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card = verify(weights)
    try:
        # Older safetensors make tensors where the caller's default device is.
        with torch.device("cpu"):
            state = {key: part.clone() for key, part in load_file(card.path, device="cpu").items()}
        # Takes no memory and draws no random numbers, so the caller's generator is left alone.
        with torch.device("meta"):
            generator = build_generator(card.generator)
        generator.load_state_dict(state, assign=True)
    except (KeyError, RuntimeError, SafetensorError, TypeError, ValueError, OverflowError) as error:
        said = " ".join(str(error).replace("(s)", "s").split())[:300]  # torch uses many lines
        raise WeightsError(f"weights {card.name!r} do not fit their model card: {said}") from error
    for key, part in state.items():
        if part.is_complex():
            raise WeightsError(f"weights {card.name!r} must be real numbers; {key!r} is complex")
        if part.is_floating_point() and not bool(torch.isfinite(part).all()):
            raise WeightsError(
                f"weights {card.name!r} hold numbers that are not finite, in {key!r}: their "
                "training failed; use others"
            )
    return generator.float().eval()


def build_generator(options: Mapping[str, Any]) -> SRResNet | JointResNet:
    """
    Build a generator, with the weights that it starts with.

    Parameters
    ----------
    options : dict
        As a generator keeps them in its ``options``, and a model card in ``generator``.

    Returns
    -------
    generator : `~torch.nn.Module`
        `~splus_srgan.models.generator.SRResNet`, or, where ``kind`` is ``"joint"``,
        `~splus_srgan.models.joint.JointResNet`.
    """
    from splus_srgan.models.generator import SRResNet
    from splus_srgan.models.joint import JointResNet

    options = dict(options)
    kind = options.pop("kind", "srresnet")
    return {"srresnet": SRResNet, "joint": JointResNet}[kind](**options)


def save_weights(generator: SRResNet | JointResNet, folder: FilePath, **card: Any) -> WeightsCard:
    """
    Write a generator's weights and their model card.

    Parameters
    ----------
    generator : `~splus_srgan.models.generator.SRResNet`
        Trained generator.
    folder : path-like
        Where both files go; created.
    **card
        Entries of `WeightsCard`, except ``file``, ``sha256`` and ``generator``,
        which are worked out here.

    Returns
    -------
    card : `WeightsCard`
        What was written.
    """
    from safetensors.torch import save_file

    folder = home_path(folder)
    name = check_name(card["name"], parameter="name of the weights")
    make_folder(folder)
    path = folder / f"{name}.safetensors"
    state = {
        key: value.detach().cpu().contiguous() for key, value in generator.state_dict().items()
    }
    with atomic_path(path, overwrite=True) as temporary:
        save_file(state, temporary)
    card = WeightsCard(
        **card,
        file=path.name,
        sha256=_sha256_of(path),
        generator=dict(generator.options),
        folder=str(folder),
    )
    text = json.dumps(card.to_dict(), indent=2) + "\n"
    replace_file(path.with_suffix(".json"), text)
    return card
