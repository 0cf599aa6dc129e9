"""Train on several devices at once.

What: `torchrun` starts a process for each device; each takes its part of the one global batch, gradients are averaged,
and all else happens on every rank alike. Networks that fit are replicated (DDP), others are cut in shards (FSDP2).
Paper: Goyal et al. 2017, "Accurate, Large Minibatch SGD" (the rates); Li et al. 2020, "PyTorch Distributed" (DDP).
Costs: sending gradients, the loss and the statistics of batch normalisation in every step; the efficiency is told.
Fails when: a rank's part is too small to fill its device, the links are slow, or the loss is not a mean over samples.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from halftime.data.feed import Feed
from halftime.data.order import key
from halftime.data.ranks import here, join, share, sliced
from halftime.data.together import averaged, by_itself, normalised_together_, replicated_, sharded_
from halftime.methods.compile import blocks
from halftime.places import ComputeLoss, Loss, Method, Places, Update
from halftime.settings import setting

RULES: dict[str, Callable[[float], float]] = {"none": lambda _: 1.0, "linear": lambda ratio: ratio, "sqrt": math.sqrt}
PROBE = 4  # the step at which one rank alone is timed; the ones after it are timed together
TIMED = 3


def scaled_rate(progress: float, ratio: float, rule: str = "linear", warmup: float = 0.05) -> float:
    """The factor on the rate of a batch that is larger than the one for which the rate was tuned.

    Args:
        progress: share of the training done, 0 to 1.
        ratio: of the two batch sizes.
        rule: "linear" (the rate grows with the batch), "sqrt" (with its root) or "none".
        warmup: share of the training over which a factor above 1 is reached, from 1.

    Returns:
        The factor.

    Example:
        >>> [scaled_rate(p, 4.0, "linear", warmup=0.2) for p in (0.0, 0.1, 0.2, 1.0)]
        [1.0, 2.5, 4.0, 4.0]
    """
    full = RULES[rule](ratio)
    return full if full <= 1 or progress >= warmup else 1.0 + (full - 1.0) * progress / warmup


def meet(name: str | None = None) -> torch.device:
    """Join the processes that `torchrun` started.

    Args:
        name: "cuda" (a device each) or "cpu"; CUDA where there is a device for each if None.

    Returns:
        This rank's device; the CPU for a process alone that names no other.

    Example:
        >>> meet()
        device(type='cpu')
    """
    return torch.device(join(wanted=True).device(name) or "cpu")


def together_(model: nn.Module, loss: Loss, how: str = "replicate") -> Loss:
    """Let several ranks train a network as one; nothing changes where there is one rank.

    Args:
        model: the same on every rank; changed in place, its names stay.
        loss: (outputs, targets) -> a scalar, the mean over samples, or a dict of them.
        how: "replicate" the network, or "shard" it.

    Returns:
        The loss over all ranks.

    Example:
        >>> together_(nn.Linear(1, 1), nn.functional.mse_loss) is nn.functional.mse_loss
        True
    """
    if here().world == 1:
        return loss
    normalised_together_(model)
    sharded_(model, blocks(model)) if how == "shard" else replicated_(model)
    return averaged(loss)


def part_of(feed: Feed) -> Feed:
    """The own part of each global batch; the same feed where there is one rank.

    Args:
        feed: of the global batches.

    Returns:
        Another, with the same receipts.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> feed = Feed(Tensors(torch.arange(4)), batch_size=2, seed=0)
        >>> part_of(feed) is feed
        True
    """
    team = here()
    if team.world == 1:
        return feed
    share(next(feed.tickets()), team.rank, team.world)
    return dataclasses.replace(feed, serve=sliced(feed.serve, team.rank, team.world))


@dataclasses.dataclass(frozen=True)
class MultiDevice(Method):
    """Train on several devices at once.

    Args:
        how: "replicate" the network on each device, or "shard" it over them where it does not fit.
        rates: how the rate grows with the batch size: "linear", "sqrt" or "none".
        base: the batch size for which the rate was tuned.
        warmup: share of the training over which a rate that grew is reached.
    """

    how: str = setting("replicate", among=("replicate", "shard"))
    rates: str = setting("none", among=tuple(RULES))
    base: int = setting(128, low=1)
    warmup: float = setting(0.05, low=0, below=1)

    slot: ClassVar[str] = "devices"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    after: ClassVar[tuple[str, ...]] = ("loader", "mixing", "prior", "storage")
    choices: ClassVar = {"rates": ("none", "linear", "sqrt")}

    def data(self, data: Feed) -> Feed:
        return part_of(data)

    def loss(self, loss: Loss, model: nn.Module) -> Loss:
        return together_(model, loss, self.how)  # the weights are set, and no optimizer is made yet

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Feed) -> Places:
        ratio = feed.batch_size / self.base
        return (_Scaling if here().world == 1 else _Together)(self, model, feed, ratio)


class _Scaling(Places):
    def __init__(self, method: MultiDevice, model: nn.Module, feed: Feed, ratio: float) -> None:
        self.method, self.network, self.feed, self.ratio = method, model, feed, ratio

    def lr_factor(self, progress: float) -> float:
        return scaled_rate(progress, self.ratio, self.method.rates, self.method.warmup)


class _Together(_Scaling):
    tried, alone, seconds = 0, 0.0, 0.0

    def attempt(self, update: Update, compute_loss: ComputeLoss, optimizer: Optimizer) -> bool:
        self.tried += 1
        if self.tried == PROBE and "replica" in vars(self.network):
            self.alone = self._alone(compute_loss)
        # dropout differs by rank, and does not depend on where a run was stopped
        torch.manual_seed(key(self.feed.seed, self.feed.served.step, -10 - here().rank))
        timing = PROBE <= self.tried < PROBE + TIMED
        return update(partial(self._timed, compute_loss) if timing else compute_loss, optimizer)

    def _timed(self, compute_loss: ComputeLoss, **given: Any) -> None:
        self.seconds += self._clocked(lambda: compute_loss(**given)) / TIMED

    def _alone(self, compute_loss: ComputeLoss) -> float:
        """Seconds of the first rank's part while the others wait."""
        seconds = 0.0
        if here().first:
            with by_itself(self.network):
                seconds = [self._clocked(compute_loss) for _ in range(2)][-1]
        here().wait()
        return seconds

    def _clocked(self, what: Callable[[], Any]) -> float:
        finished = torch.cuda.synchronize if self.feed.device.type == "cuda" else lambda _: None
        finished(self.feed.device)
        began = time.perf_counter()
        what()
        finished(self.feed.device)
        return time.perf_counter() - began

    def events(self) -> list[str]:
        if self.tried < PROBE + TIMED - 1 or not self.seconds:
            return []
        world, each = here().world, self.feed.batch_size / here().world / self.seconds
        told = f"MultiDevice: {world} ranks, {each * world:.4g} samples a second in all, {each:.4g} a rank"
        if self.alone:
            share = self.alone / self.seconds
            told += f"; one alone did {each / share:.4g}: scaling efficiency {share:.0%}"
        self.seconds = 0.0
        return [told]
