"""How hard each training sample is, told by a proxy: a copy of the network that is trained for a short while.

The copy starts from the weights of the network, which stays as it is, and so do the random states. What it costs is
spent wherever it is called: in a training, that is inside the clock.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from halftime.data.batch import apply, mapped, on_device, split
from halftime.data.feed import CPU, Feed, fetch, random_kept
from halftime.data.keyed import uniform
from halftime.data.order import key, shuffled
from halftime.errors import BadData, BadWorkload, unknown

SCORES = ("el2n", "forgetting", "margin", "loss", "random")
PIECE = 4  # batches read at once


def el2n(outputs: Tensor, labels: Tensor) -> Tensor:
    """How far the probabilities are from the truth: the length of the error vector (Paul et al. 2021).

    Args:
        outputs: logits, [B, C, ...].
        labels: class numbers, [B, ...]; negative ones count as no error.

    Returns:
        float32 [B], 0 to the root of 2, averaged over further dimensions.

    Example:
        >>> el2n(torch.tensor([[9.0, -9.0], [0.0, 0.0]]), torch.tensor([0, 1]))
        tensor([1.5230e-08, 7.0711e-01])
    """
    wanted = one_hot(labels.clamp(min=0), outputs.shape[1]).movedim(-1, 1)
    errors = torch.linalg.vector_norm(outputs.float().softmax(1) - wanted, dim=1)
    return _averaged(errors.where(labels >= 0, 0.0))


def margin(outputs: Tensor, labels: Tensor) -> Tensor:
    """By how much another class is ahead of the true one in probability (after Pleiss et al. 2020).

    Args:
        outputs: logits, [B, C, ...].
        labels: class numbers, [B, ...].

    Returns:
        float32 [B], -1 (sure and right) to 1 (sure and wrong).

    Example:
        >>> margin(torch.tensor([[9.0, -9.0], [0.0, 0.0]]), torch.tensor([1, 1]))
        tensor([1., 0.])
    """
    odds = outputs.float().softmax(1)
    places = labels.clamp(min=0)[:, None]
    others = odds.scatter(1, places, -1.0).amax(1)
    return _averaged((others - odds.gather(1, places)[:, 0]).where(labels >= 0, 0.0))


class Forgetting:
    """How often each sample was forgotten: right when it was met, and wrong the next time (Toneva et al. 2019).

    Args:
        samples: how many there are.
        device: where the counts are kept.

    Example:
        >>> watch = Forgetting(2)
        >>> for right in ([True, False], [False, False], [True, False]):
        ...     watch.see(torch.arange(2), torch.tensor(right))
        >>> watch.counts  # the second was never learned: more than anything can be forgotten
        tensor([1., 4.])
    """

    def __init__(self, samples: int, device: torch.device = CPU) -> None:
        self._last = torch.zeros(samples, dtype=torch.bool, device=device)
        self._ever = torch.zeros(samples, dtype=torch.bool, device=device)
        self._forgotten, self._met = (torch.zeros(samples, device=device) for _ in range(2))

    def see(self, ids: Tensor, right: Tensor) -> None:
        """Samples [B] were met, and whether they were right."""
        self._forgotten[ids] += (self._last[ids] & ~right).float()
        self._met[ids] += 1.0
        self._last[ids] = right
        self._ever[ids] |= right

    @property
    def counts(self) -> Tensor:
        """[N]; for samples that were never right, one more than the times they were met."""
        return torch.where(self._ever, self._forgotten, self._met + 1.0)


def scores(
    model: nn.Module,
    dataset: Any,
    score: str,
    *,
    epochs: int = 2,
    lr: float = 1e-3,
    batch_size: int = 128,
    seed: int = 0,
    device: torch.device = CPU,
) -> Tensor:
    """How hard each sample is: for a classifier, by cross-entropy and AdamW.

    Args:
        model: copied; outputs are logits [B, C, ...].
        dataset: samples with class numbers as targets.
        score: "el2n", "margin" or "loss" after the training, "forgetting" during it; "random" costs nothing.
        epochs: of the copy's training; forgetting wants more than two.
        lr: the copy's learning rate, constant.
        batch_size: of the copy's training.
        seed: of its order.
        device: of the model.

    Returns:
        float32 [N] on the CPU; the higher, the harder.

    Raises:
        UnknownName: no such score.
        BadWorkload: the network does not give one tensor of logits.
        BadData: a score is not finite: the copy diverged.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> x = torch.tensor([[1.0], [-1.0]]).repeat(32, 1)
        >>> data = Tensors(x, torch.cat([(x[:-1, 0] > 0), torch.tensor([True])]).long())  # the last label is wrong
        >>> int(scores(nn.Linear(1, 2), data, "el2n", epochs=5, lr=0.1, batch_size=8).argmax())
        63
    """
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    if score == "random":
        return uniform(torch.arange(len(dataset)), seed, -1, 12)
    with random_kept(), torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
        torch.manual_seed(key(seed, 0, -6))
        copied = copy.deepcopy(model).train()
        watch = Forgetting(len(dataset), device)
        optimizer = torch.optim.AdamW(copied.parameters(), lr=lr)
        for epoch in range(epochs):
            order = shuffled(seed, epoch, len(dataset))
            _pass(copied, optimizer, watch, _batches(dataset, order, batch_size, (seed, epoch), device))
        found = watch.counts
        if score != "forgetting":
            found = _scored(copied, dataset, score, batch_size, seed, device)
    found = found.to("cpu")
    if not bool(found.isfinite().all()):
        raise BadData(f"the proxy diverged: its {score} is not finite; give it a lower rate than {lr:g}")
    return found


def scores_of(feed: Feed, model: nn.Module, score: str, epochs: int = 2, lr: float = 1e-3) -> Tensor:
    """How hard each sample of a feed is: `scores` with its batch size, seed and device.

    Args:
        feed: of samples with class numbers as targets.
        model: copied; lies on the feed's device.
        score: one of `SCORES`.
        epochs: of the copy's training.
        lr: the copy's learning rate.

    Returns:
        float32 [N] on the CPU; the higher, the harder.

    Example:
        >>> from halftime.data.feed import Tensors
        >>> feed = Feed(Tensors(torch.randn(8, 4), torch.arange(8) % 2), batch_size=4, seed=0)
        >>> scores_of(feed, nn.Linear(4, 2), "el2n").shape
        torch.Size([8])
    """
    return scores(
        model, feed.dataset, score, epochs=epochs, lr=lr, batch_size=feed.batch_size, seed=feed.seed, device=feed.device
    )


def _pass(copied: nn.Module, optimizer: torch.optim.Optimizer, watch: Forgetting, batches: Iterator[Any]) -> None:
    """One epoch of the copy's training."""
    for number, (ids, inputs, labels) in enumerate(batches):
        if number and len(ids) == 1:  # the rest of an epoch: norms know no spread of one sample
            continue
        outputs = _logits(copied, inputs)
        right = (outputs.argmax(1) == labels).view(len(ids), -1).all(1)
        watch.see(ids.to(right.device), right)
        optimizer.zero_grad()
        cross_entropy(outputs, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@torch.no_grad()
def _scored(copied: nn.Module, dataset: Any, score: str, batch_size: int, seed: int, device: torch.device) -> Tensor:
    """One more look at every sample."""
    copied.eval()
    of = {"el2n": el2n, "margin": margin, "loss": _loss}[score]
    found = torch.zeros(len(dataset), device=device)
    for ids, inputs, labels in _batches(dataset, torch.arange(len(dataset)), batch_size, (seed, -1), device):
        found[ids.to(device)] = of(_logits(copied, inputs), labels)
    return found


def _loss(outputs: Tensor, labels: Tensor) -> Tensor:
    return _averaged(cross_entropy(outputs, labels, reduction="none"))


def _batches(dataset: Any, order: Tensor, size: int, at: tuple[int, int], device: torch.device) -> Iterator[Any]:
    """(ids, inputs, labels) of all samples in an order; several batches are read at once."""
    generator = torch.Generator()
    for first in range(0, len(order), size * PIECE):
        ids = order[first : first + size * PIECE]
        piece = on_device(fetch(dataset, ids, (*at, first), generator), device)
        for begin in range(0, len(ids), size):
            inputs, labels = mapped(split(piece), itemgetter(slice(begin, begin + size)))
            yield ids[begin : begin + size], inputs, labels


def _logits(model: nn.Module, inputs: Any) -> Tensor:
    outputs = apply(model, inputs)
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        raise BadWorkload("scores of samples need a network that gives one tensor of logits, [batch, classes, ...]")
    return outputs


def _averaged(values: Tensor) -> Tensor:
    return values.view(len(values), -1).float().mean(1)
