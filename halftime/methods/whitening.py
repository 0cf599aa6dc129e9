"""Start the first convolution with filters that whiten the patches of the data.

What: the filters become the principal directions of small patches, each scaled to unit variance, and their negatives.
Paper: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", after Page 2019, "How to Train Your ResNet".
Costs: one decomposition of a small matrix before training; saves the gradient of the first layer where it is frozen.
Fails when: the first convolution has a large kernel (its patches have too many directions), or was trained before.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import split, tensors
from halftime.notes import Notes
from halftime.places import Method, Places
from halftime.settings import setting


def directions(patches: Tensor, eps: float = 5e-4) -> tuple[Tensor, Tensor]:
    """Filters whose responses to patches are uncorrelated and of unit variance.

    Args:
        patches: [N, D].
        eps: added to each variance, so that directions with hardly any are not blown up.

    Returns:
        Filters [D, D], the direction of most variance first, and their mean responses [D].

    Example:
        >>> patches = torch.randn(500, 3).double() * torch.tensor([1, 2, 3])
        >>> filters, means = directions(patches, eps=0.0)
        >>> torch.allclose((patches @ filters.T - means).T.cov(), torch.eye(3).double())
        True
    """
    patches = (patches.to("cpu") if patches.device.type == "mps" else patches).double()  # MPS has no float64
    values, vectors = torch.linalg.eigh(patches.T.cov().reshape(patches.shape[1], -1))
    filters = ((values + eps).rsqrt() * vectors).T.flip(0)
    return filters, filters @ patches.mean(0)


@torch.no_grad()
def whiten_(layer: nn.Conv2d, images: Tensor, eps: float = 5e-4, frozen: bool = False) -> int:
    """Set filters of a convolution to the whitening ones of image patches, in place, and the next to their negatives.

    Half of the filters at most become directions, those of most variance, and as many their negatives, so that a
    rectifier loses nothing. What is left over stays as it was. A bias takes the mean away.

    Args:
        layer: changed in place; one group.
        images: [B, C, H, W], as the layer sees them.
        eps: see `directions`.
        frozen: whether the layer is then kept from learning.

    Returns:
        How many filters were set.

    Example:
        >>> whiten_(nn.Conv2d(1, 10, 2), torch.randn(8, 1, 6, 6))
        8
    """
    kernel: Any = layer.kernel_size
    patches = nn.functional.unfold(images.float(), kernel, dilation=layer.dilation)
    filters, means = directions(patches.transpose(1, 2).flatten(0, 1), eps)
    n = min(layer.out_channels // 2, len(filters))
    for first, sign in ((0, 1.0), (n, -1.0)):
        layer.weight[first : first + n] = sign * filters[:n].reshape(n, *layer.weight.shape[1:]).to(layer.weight)
        if layer.bias is not None:
            layer.bias[first : first + n] = -sign * means[:n].to(layer.bias)
    layer.requires_grad_(not frozen)
    return 2 * n


def first_convolution(model: nn.Module, channels: int) -> nn.Conv2d | None:
    """The first convolution in a network, if it can be whitened.

    Args:
        model: searched in the order of its modules.
        channels: of the images.

    Returns:
        The layer; None where there is none, or where it is grouped or takes another number of channels.

    Example:
        >>> first_convolution(nn.Sequential(nn.Conv2d(3, 8, 2)), channels=3)
        Conv2d(3, 8, kernel_size=(2, 2), stride=(1, 1))
    """
    layer = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return layer if layer is not None and layer.groups == 1 and layer.in_channels == channels else None


@dataclasses.dataclass(frozen=True)
class Whitening(Method):
    """Start the first convolution with whitening filters.

    Args:
        frozen: whether the first convolution is then kept from learning.
        eps: added to each direction's variance.
    """

    frozen: bool = False
    eps: float = setting(5e-4, low=0)

    slot: ClassVar[str] = "whitening"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    after: ClassVar[tuple[str, ...]] = ("initialisation",)
    needs: ClassVar[frozenset[str]] = frozenset({"images"})
    choices: ClassVar = {"frozen": (False, True)}

    def init(self, model: nn.Module, sample: list[tuple[Any, Any]]) -> None:
        images = _images(sample[0][0])
        if layer := first_convolution(model, images.shape[1]):
            whiten_(layer, images, self.eps, self.frozen)

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        layer = first_convolution(model, _images(split(feed.look())[0]).shape[1])
        if layer is None:
            return Notes(["Whitening: no convolution that can be whitened: nothing was changed"])
        size = layer.weight[0].numel()
        n = min(layer.out_channels // 2, size)
        return Notes([f"Whitening: {n} of {size} directions of a patch, each twice, in {layer.out_channels} filters"])


def _images(inputs: Any) -> Tensor:
    return next(t for t in tensors(inputs) if t.ndim == 4 and t.is_floating_point())
