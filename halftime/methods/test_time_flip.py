"""Judge each image together with its mirror image.

What: in evaluation, outputs are the mean of those of the image and of its mirror image; training is left alone.
Paper: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"; Krizhevsky et al. 2012.
Costs: a second forward pass in evaluation, and wherever the network is used later. The training clock does not count
evaluation: the seconds of the second passes are said in the record, to be added.
Fails when: left and right are not alike, or the network must be as fast in use as before.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.data.batch import mapped, tensors
from halftime.places import Method, Places


def mirror(tree: Any) -> Any:
    """Images or maps mirrored, left for right.

    Args:
        tree: a nest of tensors; floating-point ones [B, C, H, W] are mirrored, others are left alone.

    Returns:
        The same nest.

    Example:
        >>> mirror(torch.tensor([[[[1.0, 2.0]]]])).tolist()
        [[[[2.0, 1.0]]]]
    """
    return mapped(tree, lambda t: t.flip(-1) if t.ndim == 4 and t.is_floating_point() else t)


def mean_of_two(one: Any, other: Any) -> Any:
    """The mean of two nests of outputs, tensor by tensor.

    Args:
        one: a tensor, or a dict, list or tuple of them.
        other: of the same form.

    Returns:
        The same form; what is not floating-point is taken from `one`.

    Example:
        >>> mean_of_two({"a": torch.tensor([1.0])}, {"a": torch.tensor([2.0])})
        {'a': tensor([1.5000])}
    """
    if isinstance(one, Tensor):
        return (one + other) / 2 if one.is_floating_point() else one
    if isinstance(one, Mapping):
        return {name: mean_of_two(value, other[name]) for name, value in one.items()}
    return type(one)(map(mean_of_two, one, other)) if type(one) in (list, tuple) else one


class MirrorJudge:
    """Makes a network judge each image together with its mirror image, for as long as it is asked to.

    Args:
        model: its outputs are logits, or maps [B, C, H, W] that are mirrored back.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
        >>> images = torch.randn(3, 1, 2, 2)
        >>> with MirrorJudge(network).judging():
        ...     one, other = network(images), network(images.flip(-1))
        >>> torch.allclose(one, other)
        True
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.seconds = 0.0  # spent on mirror images

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Inside, calls of the network in evaluation mode give the mean of both."""
        hook = self.model.register_forward_hook(self._both, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def _both(self, model: nn.Module, args: Any, kwargs: dict[str, Any], outputs: Any) -> Any:
        if model.training:
            return outputs
        began = self._now(outputs)
        other = model.forward(*mirror(args), **mirror(kwargs))  # not the call: the hook would come again
        both = mean_of_two(outputs, mirror(other))
        self.seconds += self._now(both) - began
        return both

    def _now(self, outputs: Any) -> float:
        if any(t.is_cuda for t in tensors(outputs)):
            torch.cuda.synchronize()  # the pause around an evaluation waits as well
        return time.perf_counter()


@dataclasses.dataclass(frozen=True)
class TestTimeFlip(Method):
    """Judge each image together with its mirror image."""

    __test__: ClassVar[bool] = False  # no test, whatever its name says to a collector of tests

    slot: ClassVar[str] = "judging"
    devices: ClassVar[tuple[str, ...]] = ("replicate",)
    needs: ClassVar[frozenset[str]] = frozenset({"images", "classes"})

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return _Judging(MirrorJudge(model))


class _Judging(Places):
    def __init__(self, judge: MirrorJudge) -> None:
        self.judge, self.told = judge, 0.0

    def evaluating(self) -> Any:
        return self.judge.judging()

    def events(self) -> list[str]:
        if self.judge.seconds == self.told:
            return []
        self.told = self.judge.seconds
        return [f"TestTimeFlip: mirror images took {self.told:.3g} s of evaluation so far, which the clock leaves out"]

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.judge.seconds, "told": self.told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.judge.seconds, self.told = state["seconds"], state["told"]
