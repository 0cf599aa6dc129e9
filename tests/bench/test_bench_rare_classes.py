"""The measurement of rare classes: it runs, pairs by seed, and leaves out what is not there with a word."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bench import rare_classes
from halftime import methods
from halftime.data import sources
from halftime.workloads.detector import Detector

pytest.importorskip("pycocotools", reason="boxes are judged by pycocotools")


def test_it_measures(tmp_path, monkeypatch):
    try:
        sources.files("bccd")
    except Exception as error:
        pytest.skip(str(error))
    monkeypatch.delattr(methods, "RepeatFactor", raising=False)
    whole = rare_classes.get("blood_cells")
    few = {name: [getattr(whole, name)[i] for i in range(8)] for name in ("train", "valid")}
    small = dataclasses.replace(whole, **few, model=lambda: Detector(3, width=8))
    monkeypatch.setattr(rare_classes, "get", lambda name: small)
    path = tmp_path / "rare.json"
    assert rare_classes.main(["--seeds=2", "--seconds=0.5", f"--json={path}"]) == 0
    content = json.loads(path.read_text())
    names = [figure["name"] for figure in content["figures"]]
    assert names[0] == "plain again, end: AP of the rare"
    assert len(names) == 12
    for figure in content["figures"]:
        assert figure["n"] == 2
        assert figure["spread"][0] <= figure["median"] <= figure["spread"][1]
    assert all("RepeatFactor is not here" in title for title in content["tables"])
    assert "mean; 95 % interval" in path.with_suffix(".txt").read_text()


def test_gains_are_paired_and_in_points():
    arm = [{"end": {"mAP": v}} for v in (0.5, 0.7, 0.9)]
    plain = [{"end": {"mAP": v}} for v in (0.4, 0.6, 0.8)]
    figure = rare_classes.gain("FocalPrior", "end", "mAP", {"plain": plain, "FocalPrior": arm})
    assert [round(v, 6) for v in (figure["median"], *figure["spread"])] == [10.0, 10.0, 10.0]
    mean, low, high = rare_classes.bootstrapped([0.0, 1.0, 2.0, 3.0])
    assert (mean, low >= 0, high <= 3) == (1.5, True, True)
    assert low < 1.0 < 2.0 < high


def test_the_arms_meet_repeat_factor_by_name(monkeypatch):
    made = []

    def stand_in(threshold):
        made.append(threshold)
        return "a method"

    monkeypatch.setattr(methods, "RepeatFactor", stand_in, raising=False)
    several, left_out = rare_classes.arms()
    assert list(several) == ["plain", "plain again", "FocalPrior", "RepeatFactor", "both"]
    assert (set(made), left_out) == ({1.0}, "")
