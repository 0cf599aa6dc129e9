"""Start from weights that were trained before.

What: weights from a safetensors file, or from a model on the Hugging Face hub, go where name and shape fit; what does
not fit starts fresh, such as a head for other classes.
Paper: Yosinski et al. 2014, "How transferable are features in deep neural networks?"
Costs: reading the file, and downloading it once; the training that made the weights is not counted.
Fails when: the weights are of another network, or their data knew the validation samples.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from halftime.errors import BadValue, shorten
from halftime.notes import Notes
from halftime.places import Method, Places

WRAPPERS = re.compile(r"^(module|model|network|backbone|_orig_mod)\.")  # names that wrappers put before a network's


@dataclasses.dataclass
class Fit:
    """Which stored weights go where.

    Args:
        loaded: tensors of the same shape, by the network's names.
        adapted: tensors made to fit: the colours of a first convolution.
        left: the network's names that start fresh, and why.
        unused: stored names that the network has no place for.

    Example:
        >>> Fit({"weight": torch.zeros(2)}, {}, {"bias": "not stored"}, [])
        Fit: 1 loaded, 0 adapted, 1 left fresh (bias: not stored), 0 unused
    """

    loaded: dict[str, Tensor]
    adapted: dict[str, Tensor]
    left: dict[str, str]
    unused: list[str]

    def __repr__(self) -> str:
        why = _some([f"{name}: {reason}" for name, reason in self.left.items()])
        counts = f"{len(self.loaded)} loaded, {len(self.adapted)} adapted{_some(self.adapted)}"
        return f"Fit: {counts}, {len(self.left)} left fresh{why}, {len(self.unused)} unused{_some(self.unused)}"


def fit(own: dict[str, Tensor], stored: dict[str, Tensor]) -> Fit:
    """Match stored weights with a network's by name and shape.

    Args:
        own: the network's `state_dict()`.
        stored: the weights; where there is none of the very name, what wrappers put before it, such as "module.",
            counts for nothing.

    Returns:
        What goes where.

    Example:
        >>> fit(nn.Linear(3, 2).state_dict(), {"module.weight": torch.zeros(2, 3), "module.bias": torch.zeros(5)})
        Fit: 1 loaded, 0 adapted, 1 left fresh (bias: stored as 5, wanted 2), 0 unused
    """
    bare = {_bare(name): tensor for name, tensor in stored.items() if name not in own}
    result = Fit({}, {}, {}, [name for name in bare if name not in {_bare(n) for n in own.keys() - stored.keys()}])
    for name, mine in own.items():
        found = stored.get(name, bare.get(_bare(name)))  # a prefix may be all that tells two networks apart
        if found is None:
            result.left[name] = "not stored"
        elif found.shape == mine.shape:
            result.loaded[name] = found
        elif (recoloured := _recoloured(found, mine)) is not None:
            result.adapted[name] = recoloured
        else:
            result.left[name] = f"stored as {_shape(found)}, wanted {_shape(mine)}"
    return result


@torch.no_grad()
def warm_start_(model: nn.Module, stored: dict[str, Tensor]) -> Fit:
    """Copy into a network, in place, the stored weights that fit.

    Args:
        model: what finds nothing that fits keeps the weights that it has.
        stored: weights by name.

    Returns:
        What was loaded, adapted, left and not used.

    Example:
        >>> warm_start_(nn.Linear(3, 2), nn.Linear(3, 2).state_dict())
        Fit: 2 loaded, 0 adapted, 0 left fresh, 0 unused
    """
    own = model.state_dict()
    result = fit(own, stored)
    for name, tensor in (result.loaded | result.adapted).items():
        own[name].copy_(tensor)
    return result


def read_weights(source: str) -> dict[str, Tensor]:
    """The weights in a safetensors file, or of a model on the Hugging Face hub.

    Args:
        source: a path that ends in .safetensors, or a hub id such as "owner/name", of which model.safetensors is taken.

    Returns:
        Tensors by name, on the CPU.

    Example:
        >>> read_weights("nowhere.safetensors")
        Traceback (most recent call last):
        halftime.errors.BadValue: WarmStart.source: there is no file 'nowhere.safetensors'
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not source.endswith(".safetensors"):
        source = _from_hub(source)
    if not Path(source).is_file():
        raise BadValue(f"WarmStart.source: there is no file {shorten(source)}")
    try:
        return load_file(source)
    except (SafetensorError, OSError) as error:
        raise BadValue(f"WarmStart.source: {shorten(source)} cannot be read as safetensors: {error}") from None


def _from_hub(source: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        wanted = "a path that ends in .safetensors or a hub id such as owner/name"
        raise BadValue(f"WarmStart.source must be {wanted}, not {shorten(source)}")
    try:
        hub = importlib.import_module("huggingface_hub")  # an extra
    except ImportError:
        raise BadValue("WarmStart.source: a hub id needs huggingface_hub: pip install huggingface_hub") from None
    try:
        return str(hub.hf_hub_download(source, "model.safetensors"))
    except Exception as error:  # of many kinds: no network, no such model, no such file
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BadValue(f"WarmStart.source: {source} did not come from the hub: {shorten(reason, 120)}") from None


def _bare(name: str) -> str:
    while (shorter := WRAPPERS.sub("", name)) != name:
        name = shorter
    return name


def _recoloured(found: Tensor, mine: Tensor) -> Tensor | None:
    """A first convolution for grey images from one for colours, or the other way: the sum over channels is kept."""
    fits = found.ndim == mine.ndim == 4 and found.shape[0] == mine.shape[0] and found.shape[2:] == mine.shape[2:]
    if not fits or {found.shape[1], mine.shape[1]} != {1, 3}:
        return None
    return found.sum(1, keepdim=True) if mine.shape[1] == 1 else found.expand_as(mine) / 3.0


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _some(names: Any) -> str:
    listed = list(names)
    return f" ({', '.join(listed[:5])}{', ...' * (len(listed) > 5)})" if listed else ""


@dataclasses.dataclass(frozen=True)
class WarmStart(Method):
    """Start from weights that were trained before.

    Args:
        source: a path that ends in .safetensors, or a hub id such as "owner/name".
    """

    source: str = ""

    slot: ClassVar[str] = "warm start"
    devices: ClassVar[tuple[str, ...]] = ("replicate", "shard")
    after: ClassVar[tuple[str, ...]] = ("initialisation", "residual", "whitening")

    def idle(self, model: nn.Module, dataset: Any) -> str:
        """Why it would change nothing here: nobody has named weights; empty where there is a source."""
        return "" if self.source else "no source of weights is named"

    def init(self, model: nn.Module, sample: list[tuple[Any, Any]]) -> None:
        warm_start_(model, read_weights(self.source))

    def start(self, model: nn.Module, optimizer: Optimizer, feed: Any) -> Places:
        return Notes([f"WarmStart: {str(fit(model.state_dict(), read_weights(self.source))).removeprefix('Fit: ')}"])
