import json

import pytest
import torch

from bench import overhead, peers

QUICK = ["--rounds=2", "--steps=12", "--warm=2"]


@pytest.fixture(autouse=True)
def restored():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_empty_recipe_is_the_bare_loop(tmp_path, capsys):
    arms = f"bare;bare again;{overhead.HALFTIME}"
    assert overhead.main([*QUICK, f"--arms={arms}", f"--json={tmp_path / 'o.json'}", "--date=2026-01-02"]) == 0
    content = json.loads((tmp_path / "o.json").read_text())
    assert [row["state"] for row in content["tables"]["Arms"]] == ["same weights as bare"] * 3
    assert [figure["name"] for figure in content["figures"]] == [f"overhead: {overhead.HALFTIME}"]
    assert content["figures"][0]["n"] == 2
    assert content["date"] == "2026-01-02"
    assert "over bare (us)" in capsys.readouterr().out


def test_a_peer_that_is_missing_is_a_line_in_the_table(monkeypatch):
    def missing(block):
        raise ImportError("no module named 'peer'")

    monkeypatch.setitem(peers.ARMS, "peer", missing)
    found, rows = overhead.able(["bare", "peer"], 4)
    assert found == ["bare"]
    assert rows[1]["state"] == "does not run: ImportError no module named 'peer'"


def test_every_arm_is_in_a_set():
    assert set(peers.ARMS) == {name for names in overhead.ARMS.values() for name in names}


def test_a_block_is_timed_from_the_request_after_its_warm_steps():
    block = peers.Block(peers.network(), peers.Batches(*peers.data(4)), None)
    block.batches.stamps = [9.0, 0.0, 1.0, 2.0, 4.0]  # the first was a look beforehand
    assert block.seconds(1) == 1.5
    block.ends.append(7.0)
    assert block.seconds(1) == 2.0
