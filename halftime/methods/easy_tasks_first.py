"""Teach the heads of a network from the easiest to the hardest, by their own learning curves.

What: each head's loss is followed by a quick and a slow mean; how far the quick one lies below the slow one, relative
to it, is how fast the head learns just now. Its share of that progress is its weight. When it stops learning, the
weight goes to others. The weights return to one, where they stay for the last part of the training.
Paper: Graves et al. 2017, "Automated Curriculum Learning for Neural Networks" (prediction gain); Guo et al. 2018,
"Dynamic Task Prioritization for Multitask Learning", which does the opposite: `first="hard"`.
Costs: a few numbers a step.
Fails when: the hard heads need all the time that there is, or an easy one teaches the trunk nothing that they can use.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.optim import Optimizer

from halftime.heads import HeadWeights, Weighing
from halftime.places import Method, Places
from halftime.settings import setting

QUICK, LITTLE = 5, 0.01  # how many times shorter the quick memory is; progress that every head is thought to make


class LearningCurves(HeadWeights):
    """Weights by how fast each loss falls, for a first part of the training.

    Args:
        memory: steps over which the slow mean of a loss reaches.
        until: progress at which all weights are one for good; they go there evenly.
        first: "easy", "hard", or "any": the same weights, but dealt to heads by chance.
        seed: of that chance.

    Example:
        >>> rule = LearningCurves(memory=10, until=0.5)
        >>> for value in (4.0, 3.0, 2.0):
        ...     _ = rule.weighed({"falls": torch.tensor(value), "stays": torch.tensor(4.0)})
        ...     rule.step(progress=0.0)
        >>> bool(rule.weights[0] > 1.5 > 0.5 > rule.weights[1])
        True
    """

    KEPT = ("weights", "quick", "slow")

    def __init__(self, memory: int = 50, until: float = 0.5, first: str = "easy", seed: int = 0) -> None:
        super().__init__()
        self.memory, self.until, self.first, self.seed = memory, until, first, seed
        self.quick, self.slow = torch.zeros(0), torch.zeros(0)

    def step(self, progress: float = 0.0) -> None:
        """Follow the losses of the step that was applied, and make new weights."""
        seen, count = self.seen, len(self.names)
        super().step(progress)
        self.quick = torch.lerp(self.quick, seen, self._rate(self.memory / QUICK)) if len(self.quick) else seen
        self.slow = torch.lerp(self.slow, seen, self._rate(self.memory)) if len(self.slow) else seen
        made = ((self.slow - self.quick) / self.slow.abs().clamp(min=1e-12)).clamp(min=0.0) + LITTLE
        made = 1.0 / made if self.first == "hard" else made
        share = made / made.sum()
        if self.first == "any":
            share = share[torch.tensor(random.Random(self.seed).sample(range(count), count), device=share.device)]
        strength = max(0.0, 1.0 - progress / self.until)
        self.weights = 1.0 - strength + strength * count * share

    def _rate(self, memory: float) -> float:
        """How much a new loss counts; the plain mean until there are as many as the memory holds."""
        return 1.0 / min(self.steps, max(memory, 1.0))


@dataclasses.dataclass(frozen=True)
class EasyTasksFirst(Method):
    """Teach the heads from the easiest to the hardest, by their own learning curves.

    Args:
        until: progress at which all heads weigh the same for good.
        memory: steps over which a learning curve is followed.
        first: "easy", "hard" to turn it round, or "any": the same weights dealt by chance, to compare with.
    """

    until: float = setting(0.5, above=0, high=1)
    memory: int = setting(50, low=2)
    first: str = setting("easy", among=("easy", "hard", "any"))

    slot: ClassVar[str] = "tasks"
    after: ClassVar[tuple[str, ...]] = ("guard", "meter")
    needs: ClassVar[frozenset[str]] = frozenset({"heads"})
    choices: ClassVar = {"until": (0.3, 0.5, 0.7)}

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        rule = LearningCurves(self.memory, self.until, self.first, feed.seed)
        return Weighing(rule, feed.device, "EasyTasksFirst")

    def control(self) -> Self:
        """The same weights, dealt to the heads by chance."""
        return dataclasses.replace(self, first="any")
