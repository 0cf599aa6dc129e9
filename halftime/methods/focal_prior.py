"""Start from the class frequencies of the data, and learn less from what is easy.

What: the bias of the last layer starts at the log-odds of each class as served, so that the first outputs are the
frequencies; the loss weighs each sample by how wrong it is.
Paper: Lin et al. 2017, "Focal Loss for Dense Object Detection".
Costs: a look at the targets before training; the training loss is another one than the workload's.
Fails when: classes are about equally frequent, many labels are wrong, or probabilities must be calibrated.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import Optimizer

from halftime.data.batch import apply, on_device, split
from halftime.data.boxes import has_boxes
from halftime.data.feed import Feed, in_turn
from halftime.data.kinds import columns_of
from halftime.data.order import shuffled
from halftime.notes import Notes
from halftime.places import Loss, Method, Places
from halftime.settings import setting

BATCHES = 64  # looked at where targets are not at hand in memory


def focal_loss(outputs: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross-entropy in which each sample counts by the gamma-th power of what is missing from its probability.

    Args:
        outputs: logits, [B, C, ...] for class numbers, or shaped like the targets.
        targets: class numbers [B, ...] for a softmax head, -100 for none; or zeros and ones for a sigmoid head.
        gamma: zero gives the plain cross-entropy.

    Returns:
        A scalar, the mean.

    Example:
        >>> sure, unsure = torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 0.0]])
        >>> bool(focal_loss(sure, torch.tensor([0])) < 1e-3 * focal_loss(unsure, torch.tensor([0])))
        True
    """
    if targets.is_floating_point():
        plain = binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        probability = outputs.sigmoid()
        missing = probability + targets - 2.0 * probability * targets  # one minus that of the truth
        counted: Tensor | int = targets.numel()
    else:
        plain = cross_entropy(outputs, targets, reduction="none")
        missing = -torch.expm1(-plain)
        counted = (targets != -100).sum()
    return (missing.clamp(1e-6, 1.0) ** gamma * plain).sum() / counted


def prior_bias(targets: Tensor, classes: int, places: int = 0) -> Tensor:
    """The bias at which the outputs are the class frequencies.

    Args:
        targets: class numbers [N, ...], negative for none; or zeros and ones [N, C].
        classes: C.
        places: how many places of all maps could have held a box, where the targets are the class numbers of boxes.

    Returns:
        [C], of mean zero for a softmax head; every class is counted once more than it is there.

    Example:
        >>> prior_bias(torch.tensor([0, 0, 1]), classes=2).softmax(0)
        tensor([0.6000, 0.4000])
    """
    if targets.is_floating_point():
        share = (targets.to("cpu").double().sum(0) + 1.0) / (len(targets) + 2.0)
        return torch.logit(share).float()
    counts = torch.bincount(targets[targets >= 0].flatten(), minlength=classes).to("cpu").double() + 1.0
    if places:
        return torch.logit(counts / (places + 2.0)).float()
    logs = counts.log()
    return (logs - logs.mean()).float()


@torch.no_grad()
def set_prior_(model: nn.Module, targets: Tensor, places: int = 0) -> str:
    """Set the bias of the last layer from targets, in place.

    Args:
        model: its last linear or convolutional layer gives the logits, a channel for each class.
        targets: see `prior_bias`.
        places: see `prior_bias`.

    Returns:
        What was done, or why nothing was, in a line.

    Example:
        >>> set_prior_(nn.Linear(4, 2), torch.tensor([0, 0, 0, 1]))
        'bias of 2 classes set; the rarest is 33.3 % of the targets'
    """
    layer = _last_layer(model)
    if layer is None or layer.bias is None:
        return "the last layer has no bias: nothing was set"
    classes = len(layer.bias)
    bias = prior_bias(targets, classes, places)
    if len(bias) != classes:
        return f"the targets have {len(bias)} classes, the last layer {classes} outputs: nothing was set"
    layer.bias.copy_(bias)
    share = bias.sigmoid() if places or targets.is_floating_point() else bias.softmax(0)
    rarest = f"{float(share.min()):.2%} of the places" if places else f"{float(share.min()):.1%} of the targets"
    return f"bias of {classes} classes set; the rarest is {rarest}".replace("%", " %")


def _last_layer(model: nn.Module) -> Any:
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return next((m for m in reversed(list(model.modules())) if isinstance(m, kinds)), None)


@torch.no_grad()
def map_places(model: nn.Module, inputs: Any) -> int:
    """How many places the maps of the last layer have, over a whole batch.

    Args:
        model: left as it is.
        inputs: of a batch.

    Returns:
        The number of places in all images together.

    Example:
        >>> map_places(nn.Conv2d(1, 3, 1), torch.zeros(2, 1, 4, 5))
        40
    """
    seen: list[int] = []
    layer, training = _last_layer(model), model.training
    hook = layer.register_forward_hook(lambda _, __, made: seen.append(made.numel() // made.shape[1]))
    try:
        apply(model.eval(), inputs)
    finally:
        hook.remove()
        model.train(training)
    return sum(seen)


def served_targets(feed: Feed) -> Tensor:
    """The targets of the first epoch, in memory, or of its first batches where they must be read.

    Args:
        feed: nothing of it counts as served.

    Returns:
        [N, ...] on the CPU, of all data where nobody knows yet who is served; of boxes their class numbers, [N].

    Example:
        >>> from halftime.data.feed import Tensors
        >>> served_targets(Feed(Tensors(torch.zeros(6, 2), torch.arange(6)), 2, seed=0)).sort().values
        tensor([0, 1, 2, 3, 4, 5])
    """
    feed = dataclasses.replace(feed, order=shuffled) if getattr(feed.order, "unsettled", False) else feed
    if _in_memory(feed):
        return feed.dataset.columns[1][feed.indices(0)]  # type: ignore[attr-defined,no-any-return]
    read = in_turn(feed, feed.tickets())
    several = [split(batch)[1] for _, (_, batch) in zip(range(min(BATCHES, feed.steps_per_epoch)), read, strict=False)]
    return torch.cat([t["classes"].flatten() if has_boxes(t) else t for t in several])


def _in_memory(feed: Feed) -> bool:
    return len(columns_of(feed.dataset) or ()) == 2


def _places(model: nn.Module, feed: Feed) -> int:
    if _in_memory(feed):
        return 0
    inputs, targets = split(on_device(feed.look(), feed.device))
    known = has_boxes(targets) and _last_layer(model) is not None
    return min(BATCHES, feed.steps_per_epoch) * map_places(model, inputs) if known else 0


@dataclasses.dataclass(frozen=True)
class FocalPrior(Method):
    """Start from the class frequencies of the data, and learn less from what is easy.

    Args:
        gamma: of the focal loss; zero keeps the workload's own loss.
    """

    gamma: float = setting(2.0, low=0)

    slot: ClassVar[str] = "prior"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    choices: ClassVar = {"gamma": (0.0, 1.0, 2.0)}

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        if hasattr(loss, "refocused") and self.gamma:  # of boxes: a focal loss that knows what its maps mean
            return loss.refocused(self.gamma)  # type: ignore[no-any-return]
        return (lambda outputs, targets: focal_loss(outputs, targets, self.gamma)) if self.gamma else loss

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        return Notes([f"FocalPrior: {set_prior_(model, served_targets(feed), _places(model, feed))}"])
