# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Updates of the weights: optimizers, learning rate, moving average, and growing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Literal

    from splus_srgan.models.generator import SRResNet
    from splus_srgan.models.joint import JointResNet

__all__ = [
    "BodyMuon",
    "clip_gradients",
    "grow",
    "learning_rate",
    "make_optimizer",
    "update_average",
]

_FLOOR = 0.01  # fraction of the peak rate at the end of a cosine
# Early on, a long memory would mostly hold the initial weights.
_SHORT_MEMORY = 20  # steps
_HEAD = "scale."  # prefix of the weights of the head that predicts the scale
_STARTING = ("blocks.", "exchanges.", _HEAD)  # what a larger generator may have besides


class BodyMuon(torch.optim.Optimizer):
    """
    Muon for the kernels of the body, Adam for everything else, as one optimizer.

    Muon (Jordan et al. 2024) makes the momentum of a matrix orthogonal before it steps.  A
    kernel ``(out, in, ny, nx)`` is the matrix ``(out, in ny nx)``; its steps are scaled to
    the size of Adam's, so that one learning rate serves both.

    Parameters
    ----------
    generator : `~splus_srgan.models.generator.SRResNet`
        Generator, on its device and in its memory format.
    rate : float
        Learning rate, above 0.
    betas : tuple of float, optional
        Decay rates of Adam's averages.
    eps : float, optional
        Epsilon of Adam.

    Raises
    ------
    ValueError
        If this torch has no Muon.
    """

    def __init__(
        self,
        generator: torch.nn.Module,
        rate: float,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(
                f"optimizer='muon' needs torch 2.9 or newer; this is torch {torch.__version__}. "
                "Take 'adam'"
            )
        kernels = [
            parameter
            for name in ("blocks", "coarse", "join", "tail")
            if (part := getattr(generator, name, None)) is not None
            for parameter in part.parameters()
            if parameter.ndim == 4
        ]
        known = {id(parameter) for parameter in kernels}
        others = [p for p in generator.parameters() if id(p) not in known]
        # The same memory, viewed as matrices: torch's Muon takes nothing else.
        self._views = [(kernel, torch.nn.Parameter(_as_matrix(kernel))) for kernel in kernels]
        matrices = [matrix for _, matrix in self._views]
        self._parts = (
            torch.optim.Adam(others, lr=rate, betas=betas, eps=eps),
            torch.optim.Muon(matrices, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        )
        super().__init__([*others, *kernels], {"lr": rate})
        self._share_groups()

    def _share_groups(self):
        """Learning rates set here apply to both parts."""
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """
        Forget the gradients.

        Parameters
        ----------
        set_to_none : bool, optional
            Free the gradients instead of filling them with zeros.
        """
        self._parts[0].zero_grad(set_to_none=set_to_none)
        for kernel, matrix in self._views:
            kernel.grad = matrix.grad = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """
        Take one step.

        Parameters
        ----------
        closure : callable, optional
            Called first, with gradients enabled.

        Returns
        -------
        result : object
            Result of the closure, or `None`.
        """
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        for kernel, matrix in self._views:
            matrix.grad = None if kernel.grad is None else _as_matrix(kernel.grad).contiguous()
        for part in self._parts:
            part.step()
        return result

    def state_dict(self) -> dict[str, Any]:
        """
        State of both.

        Returns
        -------
        state : dict
            For `load_state_dict`.
        """
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """
        Restore both.

        Parameters
        ----------
        state_dict : dict
            Result of `state_dict`.
        """
        for part, saved in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(saved)
        self._share_groups()


def _as_matrix(kernel):
    """A view of a kernel as a matrix, whatever its memory format."""
    kernel = kernel.detach()
    if kernel.is_contiguous():
        return kernel.flatten(1)
    # The order of the columns does not matter to Muon.
    return kernel.permute(0, 2, 3, 1).flatten(1)


def make_optimizer(
    network: torch.nn.Module,
    name: Literal["adam", "muon"],
    rate: float,
    *,
    betas: tuple[float, float] = (0.9, 0.99),
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """
    Adam for all, or `BodyMuon`.

    Parameters
    ----------
    network : `~torch.nn.Module`
        Network to train.
    name : {"adam", "muon"}
        Kind of optimizer; ``"muon"`` for generators only.
    rate : float
        Learning rate, above 0.
    betas : tuple of float, optional
        Decay rates of Adam's averages.
    eps : float, optional
        Epsilon of Adam.

    Returns
    -------
    optimizer : `~torch.optim.Optimizer`
        The optimizer.

    Raises
    ------
    ValueError
        If ``name="muon"`` and this torch has no Muon.
    """
    if name == "muon":
        return BodyMuon(network, rate, betas=betas, eps=eps)
    return torch.optim.Adam(network.parameters(), lr=rate, betas=betas, eps=eps)


def learning_rate(
    progress: float,
    step: int,
    peak: float,
    *,
    schedule: Literal["cosine", "constant"] = "cosine",
    warm_up: int = 300,
) -> float:
    r"""
    Linear warm-up, then a cosine to a hundredth of the peak, or the peak.

    .. math:: r = p \min\left(1, \frac{s + 1}{u}\right)
        \left(0.01 + 0.99 \frac{1 + \cos \pi t}{2}\right)

    Parameters
    ----------
    progress : float
        Finished fraction :math:`t` of the run; more than 1 counts as 1.
    step : int
        Finished steps :math:`s`.
    peak : float
        Peak rate :math:`p`.
    schedule : {"cosine", "constant"}, optional
        ``"constant"`` takes 1 for the bracket.
    warm_up : int, optional
        Steps :math:`u` of the warm-up, at least 0.

    Returns
    -------
    rate : float
        Learning rate of the next step.

    Examples
    --------
    >>> from splus_srgan.training.optimizers import learning_rate
    >>> learning_rate(0.5, 1000, 1.0)
    0.505
    >>> learning_rate(0.5, 149, 1.0, schedule="constant")
    0.5
    """
    rise = min(1.0, (step + 1) / max(1, warm_up))
    if schedule == "constant":
        return peak * rise
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return peak * rise * (_FLOOR + (1 - _FLOOR) * cosine)


def clip_gradients(network: torch.nn.Module, limit: float) -> torch.Tensor:
    """
    Clip the gradients of a network to a norm.

    Parameters
    ----------
    network : `~torch.nn.Module`
        The network, after a backward pass.
    limit : float
        Largest norm of all gradients together; 0 for none.

    Returns
    -------
    norm : `~torch.Tensor`
        The norm before clipping; not finite if any gradient is not finite, which makes all useless.
    """
    return torch.nn.utils.clip_grad_norm_(network.parameters(), limit or math.inf)


@torch.no_grad()
def update_average(
    average: torch.nn.Module, network: torch.nn.Module, step: int, memory: float
) -> None:
    r"""
    Move an average of networks towards a network.

    .. math:: a \leftarrow k a + (1 - k) w, \qquad k = \min\left(m, \frac{s}{s + 20}\right)

    Parameters
    ----------
    average, network : `~torch.nn.Module`
        Weights :math:`a`, changed in place, and :math:`w`.  Buffers are copied.
    step : int
        Finished steps :math:`s`, including the last one.
    memory : float
        :math:`m` in [0, 1); 0 copies the network.
    """
    keep = min(memory, step / (step + _SHORT_MEMORY))
    for old, new in zip(average.parameters(), network.parameters(), strict=True):
        old.lerp_(new, 1 - keep)
    for old, new in zip(average.buffers(), network.buffers(), strict=True):
        old.copy_(new)


def grow(generator: SRResNet | JointResNet, weights: Mapping[str, torch.Tensor]) -> None:
    """
    Load the weights of a generator with as many residual blocks, or fewer.

    The last convolutions of the blocks that it lacks are set to zero, so that the
    larger generator starts as the smaller one.  A head that predicts the scale may be
    lacking or superfluous.

    Parameters
    ----------
    generator : `~splus_srgan.models.generator.SRResNet`
        Generator to fill, in place.
    weights : dict of str to `~torch.Tensor`
        State of the smaller one.

    Raises
    ------
    ValueError
        If it is a generator of another kind.
    """
    own = generator.state_dict()
    shapes = [
        f"{name} {tuple(value.shape)} for {tuple(own[name].shape)}"
        for name, value in weights.items()
        if name in own and own[name].shape != value.shape
    ]
    missing = [name for name in own if name not in weights]
    strange = [name for name in missing if not name.startswith(_STARTING)]
    unexpected = [name for name in weights if name not in own and not name.startswith(_HEAD)]
    if shapes or strange or unexpected:
        raise ValueError(
            "the run to start from has another kind of generator: "
            f"missing {strange}, unexpected {unexpected}, shapes {shapes}; give the options of "
            "that one, with as many residual blocks or more"
        )
    generator.load_state_dict(
        {name: value for name, value in weights.items() if name in own}, strict=False
    )
    for index in {int(name.split(".")[1]) for name in missing if name.startswith("blocks.")}:
        layers = generator.blocks[index].modules()
        last = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)][-1]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)  # type: ignore[arg-type]
