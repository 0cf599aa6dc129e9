"""Other people's loaders, by fakes of the same names; the real ones are tried where they are installed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest

from halftime.data.adapters import KINDS, kind_of, restore, state_of
from halftime.data.watch import Watch
from halftime.errors import BadData


def fake(package: str, name: str, resumes: bool) -> Any:
    def stand(self: Any) -> dict[str, int]:
        return {"at": self.at}

    def go(self: Any, state: dict[str, int]) -> None:
        self.at = state["at"]

    def walk(self: Any) -> Any:
        while self.at < 6:
            self.at += 1
            yield self.at

    body = {"at": 0, "__iter__": walk, "__module__": f"{package}.inside", "reset": lambda self: None}
    return type(name, (), body | ({"state_dict": stand, "load_state_dict": go} if resumes else {}))()


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k.package}.{(k.classes or ('WebLoader',))[0]}")
def test_each_kind_is_watched_and_resumed_or_refused_by_name(kind: Any) -> None:
    name = (kind.classes or ("WebLoader",))[0]
    first = fake(kind.package, name, kind.resumes)
    assert kind_of(first) is kind
    watched = Watch(first)
    batches = iter(watched)
    assert [next(batches), next(batches)] == [1, 2]
    if kind.resumes:
        state = watched.state_dict()
        second = fake(kind.package, name, True)
        restore(second, state)
        assert list(Watch(second)) == [3, 4, 5, 6]
    else:
        with pytest.raises(BadData, match=name):
            watched.state_dict()
        with pytest.raises(BadData, match="middle of an epoch"):
            watched.load_state_dict({})


def test_an_unknown_loader_goes_on_if_it_can_say_where_it_stands() -> None:
    assert state_of(fake("mine", "Loader", True)) == {"at": 0}
    with pytest.raises(BadData, match="it has no state_dict"):
        state_of([1])
    with pytest.raises(BadData, match="is a dictionary"):
        restore(fake("mine", "Loader", True), [1])  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:'set_vital'")  # torchdata touches a name that torch is giving up
@pytest.mark.skipif(importlib.util.find_spec("torchdata") is None, reason="torchdata is not installed")
def test_the_real_stateful_loader_goes_on_where_it_stopped() -> None:
    loaders = importlib.import_module("torchdata.stateful_dataloader")
    data = list(range(12))
    watched = Watch(loaders.StatefulDataLoader(data, batch_size=2))
    batches = iter(watched)
    begun = [next(batches).tolist() for _ in range(3)]
    again = Watch(loaders.StatefulDataLoader(data, batch_size=2))
    again.load_state_dict(watched.state_dict())
    assert begun + [b.tolist() for b in again] == [[i, i + 1] for i in range(0, 12, 2)]


@pytest.mark.filterwarnings("ignore:'set_vital'")  # torchdata touches a name that torch is giving up
@pytest.mark.skipif(importlib.util.find_spec("torchdata") is None, reason="torchdata is not installed")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("asked", ["the watch", "the loader"])
def test_the_real_stateful_loader_is_timed_inside_and_still_knows_its_place(workers: int, asked: str) -> None:
    loaders = importlib.import_module("torchdata.stateful_dataloader")

    def loader() -> Any:
        return loaders.StatefulDataLoader(list(range(24)), batch_size=2, num_workers=workers)

    first = loader()
    watched = Watch(first)
    assert watched.inside
    batches = iter(watched)
    begun = [next(batches).tolist() for _ in range(5)]
    state = (watched if asked == "the watch" else first).state_dict()
    batches.close()  # type: ignore[attr-defined]
    second = loader()
    again = Watch(second)
    (again if asked == "the watch" else second).load_state_dict(state)
    assert begun + [b.tolist() for b in again] == [[i, i + 1] for i in range(0, 24, 2)]
    assert all(s.service is not None and s.service.samples == 2 for s in again.steps)
    assert next(iter(second)).tolist() == [0, 1]  # without the watch it is what it was
    assert next(iter(again)).tolist() == [0, 1]  # and a second epoch begins at the beginning


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="datasets is not installed")
def test_the_real_hugging_face_stream_goes_on_where_it_stopped() -> None:
    datasets = importlib.import_module("datasets")

    def stream() -> Any:
        return datasets.IterableDataset.from_generator(lambda: ({"a": i} for i in range(8)))

    watched = Watch(stream())
    batches = iter(watched)
    begun = [next(batches)["a"] for _ in range(3)]
    again = Watch(stream())
    again.load_state_dict(watched.state_dict())
    assert begun + [b["a"] for b in again] == list(range(8))


@pytest.mark.skipif(importlib.util.find_spec("webdataset") is None, reason="webdataset is not installed")
def test_the_real_webdataset_is_refused() -> None:
    webdataset = importlib.import_module("webdataset")
    with pytest.raises(BadData, match="webdataset keeps no place"):
        Watch(webdataset.DataPipeline([])).state_dict()
