"""What every test shares: an own ledger in an own folder, and small tasks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import nn
from tqdm import tqdm

import halftime as ht

# a green change stays green, new cases are found at the desk; a machine that stalls is no failure
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("desk", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
torch.set_num_threads(1)  # the networks of the tests are too small for two
tqdm.monitor_interval = 0  # torch's compiler shows a bar, whose watcher is a thread that stays
ROOT = Path(__file__).resolve().parent.parent
if "HALFTIME_DATA" not in os.environ and (ROOT.parent / "shared" / "data" / "README.md").exists():
    os.environ["HALFTIME_DATA"] = str(ROOT.parent / "shared" / "data")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test works in its own folder and writes to its own ledger."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HALFTIME_LEDGER", str(tmp_path / "ledger"))
    return tmp_path


def make_net() -> nn.Module:
    """A small convolutional network with normalisation and dropout, for images of any size."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip


def make_task(n: int = 256, **changes: object) -> ht.Workload:
    """Are the bright images told from the dark ones?"""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, 8, 8, generator=generator) + torch.randn(n, 1, 1, 1, generator=generator)
    y = (x.mean((1, 2, 3)) > 0).long()
    fields = dict(name="bright", model=make_net, train=(x, y), valid=(x, y), loss=nn.functional.cross_entropy,
                  score=ht.accuracy, target=0.9, evaluations=4)  # fmt: skip
    return ht.Workload(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def task() -> ht.Workload:
    return make_task()
