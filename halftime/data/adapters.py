"""Other people's loaders: which can go on where they stopped, and by what; the others are refused by name.

None of their packages is imported (torch is): a loader is known by where its class was defined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, IterableDataset

from halftime.errors import BadData, shorten


class Kind(NamedTuple):
    """A kind of loader: its package, class names, whether it goes on where it stopped, and what else to say."""

    package: str
    classes: tuple[str, ...]
    resumes: bool
    about: str


KINDS = (
    Kind("torchdata", ("StatefulDataLoader",), True, "with the same number of workers"),
    Kind("datasets", ("IterableDataset",), True, "what its shuffle buffer held is lost"),
    Kind("datasets", ("Dataset",), False, "it is map-style and has no place: give it to halftime as it is"),
    Kind("litdata", ("StreamingDataLoader",), True, ""),
    Kind("litdata", ("StreamingDataset",), False, "its place is kept by litdata's StreamingDataLoader: watch that"),
    Kind("streaming", ("StreamingDataLoader",), True, ""),
    Kind("streaming", ("StreamingDataset",), False, "its place is kept by streaming's StreamingDataLoader: watch that"),
    Kind("webdataset", (), False, "webdataset keeps no place in its shards"),
    Kind(
        "nvidia", ("DALIGenericIterator", "DALIClassificationIterator", "DALIRaggedIterator"), False,
        "DALI restores only while it is built: keep iterator.checkpoints() of pipelines made with "
        "enable_checkpointing=True, and build the iterator anew with them",
    ),
    Kind("torch", ("DataLoader",), False, "torch's DataLoader keeps no place: use torchdata's StatefulDataLoader"),
)  # fmt: skip


def kind_of(loader: Any) -> Kind | None:
    """What a loader is, by the classes it inherits from; None for one that nobody here knows."""
    own = [(c.__module__.split(".")[0], c.__name__) for c in type(loader).__mro__]
    for package, name in own:
        for kind in KINDS:
            if package == kind.package and (name in kind.classes or not kind.classes):
                return kind
    return None


def stateful(loader: Any) -> bool:
    """Whether a loader is torchdata's own `StatefulDataLoader` over samples by index, its workers not kept.

    Only such a one can be timed inside and still say where it stands: a stream's place is in the stream's own iterator,
    and workers that stay would go on with the timed data set when the loader is iterated without the watch.
    """
    own = type(loader).__name__ == "StatefulDataLoader" and type(loader).__module__.split(".")[0] == "torchdata"
    if not own or not isinstance(loader, DataLoader):
        return False
    return not loader.persistent_workers and not isinstance(loader.dataset, IterableDataset)


def started(twin: Any, loader: Any) -> Iterator[Any]:
    """Iterate the timed copy of a stateful loader; the loader itself knows its place, before and while that goes on."""
    twin.__dict__.update(next_iter_state=loader.next_iter_state, _iterator=None, _initial_iter_for_state_dict=False)
    batches: Iterator[Any] = iter(twin)
    loader.__dict__.update(next_iter_state=None, _iterator=batches, _initial_iter_for_state_dict=False)
    return batches


def state_of(loader: Any) -> dict[str, Any]:
    """Where a loader stands, for `restore`.

    Raises:
        BadData: it cannot say.
    """
    return dict(_method(loader, "state_dict")())


def restore(loader: Any, state: dict[str, Any]) -> None:
    """Let a loader go on where `state_of` found it.

    Raises:
        BadData: it cannot, or the state is not one.
    """
    load = _method(loader, "load_state_dict")
    if not isinstance(state, dict):
        raise BadData(f"a loader's state is a dictionary, as state_dict() gave it, not {shorten(state)}")
    load(state)


def _method(loader: Any, name: str) -> Callable[..., Any]:
    kind = kind_of(loader)
    found = getattr(loader, name, None)
    if kind is not None and not kind.resumes:
        raise BadData(f"{type(loader).__name__} cannot go on in the middle of an epoch: {kind.about}")
    if not callable(found):
        raise BadData(f"{type(loader).__name__} cannot go on in the middle of an epoch: it has no {name}()")
    return found  # type: ignore[no-any-return]


def batches(loader: Any) -> Iterator[Any]:
    """An iterator over one epoch; DALI's must be reset after each, which is done here."""
    kind = kind_of(loader)
    yield from loader
    if kind is not None and kind.package == "nvidia" and not getattr(loader, "_auto_reset", None):
        loader.reset()
