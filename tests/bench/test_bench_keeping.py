import json

import pytest
import torch

from bench import keeping


@pytest.fixture(autouse=True)
def restored():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_regime_is_swept_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(keeping, "SETTLED", 20)
    given = ["--rounds=1", "--steps=20", "--seconds=0.05", "--most=1", "--regimes=fast;shared-memory-capped"]
    assert keeping.main([*given, f"--json={tmp_path / 'k.json'}", "--date=2026-01-02"]) == 0
    content = json.loads((tmp_path / "k.json").read_text())
    rows = content["tables"]["Regimes (every run)"]
    assert [row["regime"] for row in rows] == ["fast", "shared-memory-capped"]
    assert all(row["best fixed"] in (0, 1) and row["keeper"] > 0 for row in rows)
    assert rows[1]["workers"] <= keeping.REGIMES["shared-memory-capped"].most
    assert [figure["n"] for figure in content["figures"]] == [1, 2, 2, 2]
    assert "keeper/best" in capsys.readouterr().out


def test_ten_regimes_of_which_one_halves_the_step():
    assert len(keeping.REGIMES) == 10
    assert any(regime.step[1] == regime.step[0] / 2 for regime in keeping.REGIMES.values())
