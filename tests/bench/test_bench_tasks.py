"""The measurement of the rules for several heads: it runs every arm, pairs by seed, and has a prediction for each."""

from __future__ import annotations

import json

import pytest

from bench import tasks
from halftime.data import sources

pytest.importorskip("torchjd", reason="an arm needs it")


def test_it_measures(tmp_path):
    try:
        sources.files("cifar10")
    except Exception as error:
        pytest.skip(str(error))
    path = tmp_path / "tasks.json"
    assert tasks.main(["--seeds=2", "--seconds=0.15", f"--json={path}"]) == 0
    content = json.loads(path.read_text())
    assert len(content["figures"]) == 4 * (len(tasks.ARMS) - 1)
    for figure in content["figures"]:
        assert figure["n"] == 2
        assert figure["spread"][0] <= figure["median"] <= figure["spread"][1]
    (rows,) = content["tables"].values()
    assert [row["arm"] for row in rows] == list(tasks.ARMS)


def test_gains_are_paired_and_in_points():
    found = {"sum": [{"mean": v} for v in (0.4, 0.6, 0.8)], "dwa": [{"mean": v} for v in (0.5, 0.7, 0.9)]}
    figure = tasks.gain("dwa", "mean", found)
    assert [round(v, 6) for v in (figure["median"], *figure["spread"])] == [10.0, 10.0, 10.0]
    mean, low, high = tasks.interval([0.0, 1.0, 2.0, 3.0])
    assert mean == 1.5
    assert low < 0.0 < 3.0 < high
    assert set(tasks.PREDICTED) == set(tasks.ARMS) - {"sum"}
