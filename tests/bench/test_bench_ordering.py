import json

import pytest
import torch

from bench import ordering


@pytest.fixture(autouse=True)
def restored():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_it_measures_all_four(tmp_path, monkeypatch):
    monkeypatch.setattr(ordering, "WORKERS", (0, 1))
    quick = ["--steps=2", "--samples=5000", "--entries=4000", "--workers=1", "--epochs=1", "--repeats=2"]
    assert ordering.main([*quick, f"--json={tmp_path / 'o.json'}"]) == 0
    content = json.loads((tmp_path / "o.json").read_text())
    figures = {figure["name"]: figure for figure in content["figures"]}
    assert list(figures) == [f"order: {n}" for n in ("samples", "receipts", "resume", "first batch", "memory")]
    assert figures["order: samples"]["median"] == figures["order: receipts"]["median"] == 0
    assert figures["order: receipts"]["n"] == 2 * 2 * 9
    assert {row["loader"] for row in content["tables"]["Memory"]} == {"halftime", "DataLoader"}


def test_a_lost_sample_would_be_seen(monkeypatch):
    monkeypatch.setattr(ordering, "WORKERS", (0,))
    true = ordering.served

    def late(feed, workers, world, step, receipt, many):  # a restore that goes on one step too late
        return true(feed, workers, world, step + (step > 0), receipt, many)

    monkeypatch.setattr(ordering, "served", late)
    figures, _ = ordering.restored(3)
    assert all(figure["median"] > 0 for figure in figures)
