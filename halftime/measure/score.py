"""How a network is judged: its validation score and loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from halftime.data.batch import on_device, size, split
from halftime.data.feed import slices
from halftime.places import total_loss
from halftime.workload import Workload


def apply(model: nn.Module, inputs: Any) -> Any:
    """Call a network: a dict as keyword arguments, a tuple as arguments, anything else as the one argument."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)


def evaluate(workload: Workload, model: nn.Module, device: torch.device, batch_size: int = 256) -> tuple[float, float]:
    """Validation score and loss of a network; leaves its mode and torch's random state as they were.

    Args:
        workload: gives the data, the loss and the score.
        model: a network on `device`.
        device: where to compute.
        batch_size: samples at once; the result depends on it by rounding only.
    """
    training, random = model.training, torch.get_rng_state()
    metric = workload.score if hasattr(workload.score, "compute") else None
    if metric is not None:
        metric.reset()
    total, lost, seen = 0.0, 0.0, 0
    model.eval()
    with torch.no_grad():
        for batch in slices(workload.valid, batch_size):
            inputs, targets = split(on_device(batch, device))
            outputs, n = apply(model, inputs), size(inputs)
            lost += float(total_loss(workload.loss(outputs, targets))) * n
            if metric is None:
                total += float(workload.score(outputs, targets).float().mean()) * n
            else:
                metric.update(outputs, targets)
            seen += n
    model.train(training)
    torch.set_rng_state(random)
    return (total / seen if metric is None else float(metric.compute())), lost / seen


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
