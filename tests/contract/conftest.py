"""Fixtures of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from halftime.errors import BadWorkload
from halftime.methods import Float8

from . import tasks


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Tiny networks: several threads would wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a method keeps for later runs is kept for one test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("halftime.data.storage.cache", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def where_it_can(request: pytest.FixtureRequest, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that needs CUDA is trained where it is; a test that would train it on a CPU sees that it is refused."""
    given = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    method, trains = given.get("method"), "tmp_path" in request.node.fixturenames
    if isinstance(method, Float8):
        monkeypatch.setattr(tasks, "network", tasks.NETWORKS[Float8])
    device = given.get("device", "cpu")
    if trains and tasks.lacks(method, device):
        with pytest.raises(BadWorkload, match=f"^{tasks.name(method)} needs "):
            tasks.trained(tasks.task(), tasks.recipe(method), own_folder, device=device)
        assert not (own_folder / "runs").exists()
        pytest.skip(f"{tasks.name(method)} needs CUDA; here it was refused, by name")
