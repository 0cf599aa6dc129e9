"""Weigh the losses of several heads by what the training itself shows.

What: "uncertainty" learns how noisy each head's task is and weighs it by that; "dwa" gives more to heads whose loss has
fallen least of late; "gradnorm" lets all heads pull equally hard at the trunk, and harder where a head is behind.
Paper: Kendall et al. 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses"; Liu et al. 2019, "End-to-End
Multi-Task Learning with Attention"; Chen et al. 2018, "GradNorm".
Costs: a few numbers a step; "gradnorm" also a backward pass through each head to the last weight that they share.
Fails when: the losses are on one scale and equally hard (the plain sum is as good), or one of them is mostly noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import on_device, split
from halftime.errors import BadWorkload
from halftime.heads import HeadWeights, Rows, Weighing, added, graph_kept, head_gradients, heads_of
from halftime.places import ComputeLoss, Method, Places, Update
from halftime.settings import setting

LEAST, TINY = 1e-3, 1e-12  # the smallest weight of gradnorm; what divides where a loss or a pull is gone


class Uncertainty(HeadWeights):
    """The inverse variance of each task as its weight, the variance being learned (Kendall et al. 2018).

    The paper's weights grow without end while losses fall, and the step of the trunk with them. Here what the network
    sees sums to the number of heads, so that a learning rate means what it meant.

    Args:
        names: of the heads.
        device: of the network.

    Example:
        >>> rule = Uncertainty(["a", "b"])
        >>> optimizer = torch.optim.SGD(rule.logs, lr=0.1)
        >>> sum(rule.weighed({"a": torch.tensor(4.0), "b": torch.tensor(0.5)}).values()).backward()
        >>> [float(log.grad) for log in rule.logs]
        [-3.5, 0.0]
    """

    def __init__(self, names: Sequence[str], device: torch.device | None = None) -> None:
        super().__init__()
        self.heads, self.logs = list(names), [nn.Parameter(torch.zeros((), device=device)) for _ in names]

    def weighed(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses, each times its weight; what the variances learn from is added, with the value zero."""
        if odd := set(losses) - set(self.heads):
            raise BadWorkload(f"TaskWeights: 'uncertainty' needs a head called {min(odd)!r}, as a loss is: take 'dwa'")
        first, logs = not len(self.seen), dict(zip(self.heads, self.logs, strict=True))
        self.note(losses)
        self.weights = len(losses) * torch.softmax(torch.stack([-logs[name].detach() for name in losses]), 0)
        learning = {n: (-logs[n]).exp() * loss.detach() + 0.5 * first * logs[n] for n, loss in losses.items()}
        each = zip(losses.items(), self.weights, strict=True)
        return {n: w * loss + (learning[n] - learning[n].detach()) for (n, loss), w in each}

    def state(self) -> dict[str, Any]:
        """What must survive a stop."""
        return {**super().state(), "logs": [log.detach() for log in self.logs]}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Take back what `state` returned."""
        torch._foreach_copy_([log.detach() for log in self.logs], state.pop("logs"))
        super().restore(state, device)


class DynamicAverage(HeadWeights):
    """More weight for heads whose loss fell least from one period to the next (Liu et al. 2019).

    Args:
        every: steps in a period; an epoch in the paper.
        heat: high values make the weights equal.

    Example:
        >>> rule = DynamicAverage(every=1)
        >>> for value in (4.0, 1.0):
        ...     _ = rule.weighed({"falls": torch.tensor(value), "stays": torch.tensor(4.0)})
        ...     rule.step()
        >>> rule.weights
        tensor([0.8147, 1.1853])
    """

    KEPT = ("weights", "total", "before")

    def __init__(self, every: int = 50, heat: float = 2.0) -> None:
        super().__init__()
        self.every, self.heat, self.total, self.before = every, heat, torch.zeros(0), torch.zeros(0)

    def step(self, progress: float = 0.0) -> None:
        """Add the losses; at the end of a period, make new weights."""
        self.total = self.total + self.seen if len(self.total) else self.seen
        super().step(progress)
        if self.steps % self.every == 0:
            if len(self.before):
                self.weights = len(self.names) * torch.softmax(self.total / self.before.clamp(min=TINY) / self.heat, 0)
            self.before, self.total = self.total, torch.zeros(0)


class GradNorm(HeadWeights):
    """Weights by which all heads pull equally hard at the trunk, and harder where a head is behind (Chen et al. 2018).

    Args:
        parameters: of the network; pulls are measured in the last matrix or kernel that all heads reach.
        alpha: how much harder a head pulls that is behind the others.
        lr: how fast the weights follow.

    Example:
        >>> w = nn.Parameter(torch.ones(1, 1))
        >>> rule = GradNorm([w], alpha=0.0, lr=0.1)
        >>> _ = rule.weighed({"strong": 3 * w.sum(), "weak": w.sum()})
        >>> rule.step()
        >>> rule.weights
        tensor([0.8947, 1.1053])
    """

    KEPT = ("weights", "initial", "place")

    def __init__(self, parameters: Iterable[Tensor], alpha: float = 1.5, lr: float = 0.025) -> None:
        super().__init__()
        self.trunk = [p for p in parameters if p.requires_grad and p.ndim > 1]
        self.alpha, self.lr, self.initial, self.place, self.rows = alpha, lr, torch.zeros(0), -1, Rows()

    def begin(self) -> None:
        """Forget what was seen of a step."""
        super().begin()
        self.rows = []

    def weighed(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses, each times its weight; how hard each head pulls is noted."""
        places = [i for i, p in enumerate(self.trunk) if p.requires_grad and self.place in (-1, i)]  # frozen by now?
        rows = head_gradients(losses, [self.trunk[i] for i in places]) if places else []
        if rows and self.place < 0:
            if not (shared := [i for i, c in enumerate(zip(*rows, strict=True)) if all(g is not None for g in c)]):
                raise BadWorkload("TaskWeights: rule 'gradnorm' needs a matrix that all heads reach: take 'dwa'")
            self.place, rows = places[shared[-1]], [[row[shared[-1]]] for row in rows]
        self.rows = added(self.rows, rows)
        return super().weighed(losses)

    def step(self, progress: float = 0.0) -> None:
        """Follow the pulls of the step that was applied; the weights go on to sum to the number of heads."""
        self.initial = self.initial if len(self.initial) else self.seen
        if self.rows:
            self._follow(torch.stack([row[0].norm() for row in self.rows]))  # type: ignore[union-attr]
        super().step(progress)

    def _follow(self, norms: Tensor) -> None:
        pulls, rates = self.weights * norms, self.seen / self.initial.clamp(min=TINY)
        wanted = pulls.mean() * (rates / rates.mean().clamp(min=TINY)) ** self.alpha
        slope = torch.sign(pulls - wanted) * norms / pulls.mean().clamp(min=TINY)
        moved = (self.weights - self.lr * slope).clamp(min=LEAST)
        self.weights = moved * (len(moved) / moved.sum())


@dataclasses.dataclass(frozen=True)
class TaskWeights(Method):
    """Weigh the losses of several heads by what the training itself shows.

    Args:
        rule: "uncertainty", "dwa" (dynamic weight average) or "gradnorm".
        lr: rate of the weights: the optimizer's for those of "uncertainty", and that of "gradnorm".
        every: steps in a period of "dwa".
        alpha: how much harder a head pulls that is behind, in "gradnorm".
    """

    rule: str = setting("uncertainty", among=("uncertainty", "dwa", "gradnorm"))
    lr: float = setting(0.025, above=0)
    every: int = setting(50, low=1)
    alpha: float = setting(1.5, low=0)

    slot: ClassVar[str] = "tasks"
    after: ClassVar[tuple[str, ...]] = ("guard", "meter")
    needs: ClassVar[frozenset[str]] = frozenset({"heads"})
    choices: ClassVar = {"rule": ("uncertainty", "dwa", "gradnorm")}

    def trial(self, model: nn.Module, outputs: Any, losses: Mapping[str, Tensor]) -> None:
        """Weigh the losses of two samples once: what the first step would refuse is refused before it."""
        if self.rule != "dwa":
            heads = [*getattr(outputs, "keys", list)()]
            (GradNorm(model.parameters()) if self.rule == "gradnorm" else Uncertainty(heads)).weighed(losses)

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        if self.rule == "dwa":
            return Weighing(DynamicAverage(self.every), feed.device, "TaskWeights")
        if self.rule == "gradnorm":
            return _Measuring(GradNorm(model.parameters(), self.alpha, self.lr), feed.device, "TaskWeights")
        rule = Uncertainty(heads_of(model, split(on_device(feed.look(), feed.device))[0]), feed.device)
        optimizer.add_param_group({"params": rule.logs, "lr": self.lr, "weight_decay": 0.0, "apart": True})
        return Weighing(rule, feed.device, "TaskWeights")


class _Measuring(Weighing):
    def attempt(self, update: Update, compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
        with graph_kept():
            return super().attempt(update, compute_loss, optimizer)
