"""How a network is judged: its validation score and loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from halftime.data.batch import apply as apply
from halftime.data.batch import on_device, size, split
from halftime.data.feed import fetch
from halftime.data.ranks import here
from halftime.places import total_loss
from halftime.workload import Workload


def evaluate(workload: Workload, model: nn.Module, device: torch.device, batch_size: int = 256) -> tuple[float, float]:
    """Validation score and loss of a network; leaves its mode and torch's random state as they were.

    Several ranks share the batches, and what each gave is added up in their order: the result is that of one rank. A
    score with a state of its own sees every batch on every rank.

    Args:
        workload: gives the data, the loss and the score.
        model: a network on `device`.
        device: where to compute.
        batch_size: samples at once; the result depends on it by rounding only.
    """
    training, team, data = model.training, here(), workload.valid
    metric = workload.score if hasattr(workload.score, "compute") else None
    if metric is not None:
        metric.reset()
        if hasattr(metric, "distributed_available_fn"):  # torchmetrics would add up what every rank has seen already
            metric.distributed_available_fn = lambda: False
    firsts = range(0, len(data), batch_size)
    found = torch.zeros(len(firsts), 3, dtype=torch.float64)  # score, loss and samples of each batch
    model.eval()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
        for turn in team.turns(len(firsts)) if metric is None else range(len(firsts)):
            number = min(turn, len(firsts) - 1)  # beyond the end, for a network in shards: all compute at once
            ids = torch.arange(firsts[number], min(firsts[number] + batch_size, len(data)))
            inputs, targets = split(on_device(fetch(data, ids, (0, 0, firsts[number])), device))
            outputs, n = apply(model, inputs), size(inputs)
            loss, score = float(total_loss(workload.loss(outputs, targets))), 0.0
            if metric is None:
                score = float(workload.score(outputs, targets).float().mean())
            else:
                metric.update(outputs, targets)
            if turn == number:
                found[number] = torch.tensor([score * n, loss * n, n], dtype=torch.float64)
    model.train(training)
    scores, losses, counts = (team.total(found) if metric is None else found).T.tolist()
    seen = sum(counts)
    return (sum(scores) / seen if metric is None else float(metric.compute())), sum(losses) / seen


def named(workload: Workload) -> dict[str, Any]:
    """What a score with several values says besides the one it is judged by: its `scores`, such as {"AP WBC": 0.9}."""
    values = dict(getattr(workload.score, "scores", {}))
    return {"scores": {str(name): float(value) for name, value in values.items()}} if values else {}


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether each prediction is right: outputs [B, C, ...], targets [B, ...] -> 0 or 1 of shape [B, ...].

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])).tolist()
    [1.0, 0.0]
    """
    return (outputs.argmax(1) == targets).float()


accuracy.range = (0.0, 1.0)  # type: ignore[attr-defined]
