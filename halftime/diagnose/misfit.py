"""Symptom: network, data, loss and target do not fit each other. Found before anything is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from halftime.data.batch import describe, mapped, size, tensors
from halftime.data.boxes import has_boxes
from halftime.data.labels import classes_in
from halftime.data.ranks import here
from halftime.data.weights import Apart
from halftime.errors import BadRecipe, BadWorkload, shorten
from halftime.measure.score import apply
from halftime.places import Method, overrides
from halftime.workload import Workload

# what `Method.needs` may ask for
FACTS = ("cuda", "images", "classes", "labels", "heads", "movable", "kinds", "mean", "tokens")
_MEANING = {
    "cuda": "a CUDA device",
    "images": "inputs that are images, [batch, channels, height, width]",
    "classes": "targets that are class numbers and a single loss",
    "labels": (
        "targets that are class numbers (for a softmax), or zeros and ones for each output (for a sigmoid), and one "
        "loss, or boxes and a loss with `refocused(gamma)`"
    ),
    "movable": (
        'targets that follow their image: none that lies on it but "boxes" beside their "classes", and no "rotation"'
    ),
    "heads": "a loss that is a dict of several",
    "kinds": "targets that name classes: class numbers, zeros and ones for each class, or those of boxes",
    "mean": "a single loss that is the mean over the samples of a batch",
    "tokens": "inputs and targets that are token numbers, [batch, length] both, and a single loss",
}


def inspect(workload: Workload, model: nn.Module, batch: tuple[Any, Any]) -> frozenset[str]:
    """Try one batch, and return the facts that methods may need; the network stays as it was.

    Args:
        workload: gives loss, score and target.
        model: a fresh network on its device.
        batch: (inputs, targets) on the same device.

    Raises:
        BadWorkload: what does not fit, in one line.
    """
    inputs, targets = batch
    with _looking(model):
        outputs = _tried("the network does not take its inputs", lambda: apply(model, inputs), inputs)
        misfit = "the network's output does not fit the "
        loss = _tried(f"{misfit}loss", lambda: workload.loss(outputs, targets), outputs, targets)
        if not hasattr(workload.score, "compute"):
            score = _tried(f"{misfit}score", lambda: workload.score(outputs, targets).float().mean(), outputs, targets)
            _check_sign(workload, float(score), loss)
    for value in loss.values() if isinstance(loss, Mapping) else [loss]:
        if not isinstance(value, Tensor) or value.numel() != 1:
            what = describe(value) if isinstance(value, Tensor) else shorten(value)
            raise BadWorkload(f"{workload.name}: the loss must return one number, not {what}: take its mean")
    several = isinstance(loss, Mapping)
    numbers = isinstance(targets, Tensor) and not targets.is_floating_point() and not several
    facts = {
        "cuda": any(t.is_cuda for t in tensors(inputs)),
        "images": any(t.ndim == 4 and t.is_floating_point() for t in tensors(inputs)),
        "classes": numbers,
        "labels": numbers
        or (not several and _yes_or_no(outputs, targets) and not _of_a_softmax(workload, outputs, targets, loss))
        or _refocusable(workload, targets),
        "heads": several and len(loss) > 1,
        "movable": _follow(inputs, targets),
        "kinds": classes_in(mapped(targets, lambda t: t[0])) is not None,
        "mean": not several and _is_mean(workload, outputs, targets, loss),
        "tokens": numbers and _are_tokens(inputs) and inputs.shape == targets.shape,
    }
    return frozenset(name for name in FACTS if facts[name])


def _yes_or_no(outputs: Any, targets: Any) -> bool:
    """Whether the targets say yes or no for each output, as a sigmoid head has them."""
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor) and outputs.shape == targets.shape):
        return False
    return bool(((targets == 0) | (targets == 1)).all())


def _of_a_softmax(workload: Workload, outputs: Tensor, targets: Any, loss: Tensor) -> bool:
    """Whether the loss stays what it is when all outputs of a sample are raised by as much."""
    low, high = float(outputs.min()), float(outputs.max())
    rises = (1.0, 2.0)
    if 0 < low <= high < 1:  # these may be shares, whose loss may not be asked beyond them
        rises = ((1 - high) / 2, -low / 2)
    return all(_meets(loss, partial(workload.loss, outputs + rise, targets)) for rise in rises)


def _is_mean(workload: Workload, outputs: Any, targets: Any, loss: Tensor) -> bool:
    """Whether the loss of a batch is the mean of those of its samples; a random one is not."""

    def alone() -> Tensor:
        rows = [mapped((outputs, targets), lambda t: t[i : i + 1]) for i in range(size(targets))]  # noqa: B023
        return torch.stack([workload.loss(*row).reshape(()) for row in rows])

    return _meets(loss, alone)


def _is_mean_of_all(workload: Workload, model: nn.Module, batch: tuple[Any, Any]) -> bool:
    """Whether that holds for a whole batch, taken apart as in training: two samples of one class weigh the same."""
    with _looking(model):
        outputs = apply(model, batch[0])
        return _meets(workload.loss(outputs, batch[1]), partial(Apart(workload.loss), outputs, batch[1]))


def _meets(loss: Tensor, others: Callable[[], Tensor]) -> bool:
    """Whether the mean of others is this loss."""
    try:
        return bool(torch.allclose(others().mean(), loss.reshape(()), rtol=1e-4, atol=1e-6))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, StopIteration):
        return False


def _are_tokens(inputs: Any) -> bool:
    return isinstance(inputs, Tensor) and inputs.ndim == 2 and not inputs.is_floating_point()


def _refocusable(workload: Workload, targets: Any) -> bool:
    """Whether boxes are learned by a loss whose focus can be set."""
    return has_boxes(targets) and hasattr(workload.loss, "refocused")


def _follow(inputs: Any, targets: Any) -> bool:
    """Whether no target would be wrong after images were resized or mirrored: none that lies on one goes unknown."""
    sides = {t.shape[-2:] for t in tensors(inputs) if t.ndim == 4}
    rest = {k: v for k, v in targets.items() if k not in ("boxes", "classes")} if has_boxes(targets) else targets
    maps = any(t.ndim >= 3 and t.shape[-2:] in sides for t in tensors(rest))
    strange = any(t.ndim == 3 and t.shape[-1] == 4 and t.is_floating_point() for t in tensors(rest))
    turned = isinstance(rest, Mapping) and "rotation" in rest
    return not (sides and (maps or strange or turned))


def check(workload: Workload, methods: tuple[Method, ...], model: nn.Module, batch: tuple[Any, Any]) -> None:
    """Try two samples of a batch, and refuse a method that needs what this workload or machine does not have, by name.

    A method that also has `trial(model, outputs, losses)` is given theirs, and may refuse them itself.

    Raises:
        BadWorkload: what does not fit, in one line.
        BadRecipe: several devices, and a method that is not proved on them.
    """
    several = next((m for m in methods if m.slot == "devices"), None) if here().world > 1 else None
    for method in methods:
        if several and (how := getattr(several, "how", "replicate")) not in method.devices:
            raise BadRecipe(
                f"{type(method).__name__} is not proved on several devices that {how} the network: "
                "leave it out, or train on one device"
            )
    inputs, targets = mapped(batch[0], lambda t: t[:2]), mapped(batch[1], lambda t: t[:2])
    facts = inspect(workload, model, (inputs, targets))
    if "mean" in facts and any("mean" in m.needs for m in methods) and not _is_mean_of_all(workload, model, batch):
        facts -= {"mean"}
    for method in methods:
        for missing in sorted(method.needs - facts):
            raise BadWorkload(
                f"{type(method).__name__} needs {_MEANING[missing]}, which {workload.name!r} does not have here: "
                "leave it out of the recipe"
            )
    for trial in [m.trial for m in methods if hasattr(m, "trial")]:
        with _looking(model), torch.enable_grad(), suppress(RuntimeError):  # a layer may go back in training only
            outputs = apply(model, inputs)
            trial(model, outputs, workload.loss(outputs, targets))
    for method in (m for m in methods if overrides(m, "batch")):
        inputs, targets = method.batch(inputs, targets, 0.0)
        what = f"network or loss does not take what {type(method).__name__} makes of a batch"
        with _looking(model):
            _tried(what, partial(lambda x, y: workload.loss(apply(model, x), y), inputs, targets), inputs)


@contextmanager
def _looking(model: nn.Module) -> Iterator[None]:
    """Inside, a network can be tried without a trace."""
    training = model.training
    cards = [p.device for p in model.parameters() if p.is_cuda][:1]
    model.eval()
    try:
        with torch.random.fork_rng(devices=cards), torch.no_grad():
            yield
    finally:
        model.train(training)


def _check_sign(workload: Workload, score: float, loss: Any) -> None:
    """Refuse a target that lies on the other side of zero than a score that is the loss itself, or minus it.

    Other scores, such as a correlation, may well begin below zero and end above.
    """
    target = workload.target
    one = isinstance(loss, Tensor) and loss.numel() == 1
    if target is not None and target * score < 0 and one and math.isclose(abs(score), abs(float(loss)), rel_tol=1e-3):
        raise BadWorkload(
            f"{workload.name}: the target {target:g} has the wrong sign: the untrained network scores "
            f"{score:.3g}; did you mean {-target:g}?"
        )


def _tried(what: str, attempt: Callable[[], Any], *shown: Any) -> Any:
    try:
        return attempt()
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, NotImplementedError) as error:
        shapes = ", ".join(describe(t) for thing in shown for t in tensors(thing))
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BadWorkload(f"{what} ({shapes or 'no tensor'}): {shorten(reason, 160)}") from error
