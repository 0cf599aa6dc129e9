"""What a search may expect: nothing where nothing was measured, less than was measured where it was."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from halftime.errors import BadData
from halftime.measure import prior


def entry(verdict: str, estimate: float, low: float | None, high: float | None, **more: Any) -> dict[str, Any]:
    ratio = {"estimate": estimate, "low": low, "high": high, "n": 5, "sd": 0.1, "bound": ""}
    known = {"workload": {"name": "digits"}, "facts": ["images"], "device": "cpu", "date": "2026-11-25",
             "words": "", "machine": {}, "packages": {}, "cost": 1.1}  # fmt: skip
    return known | {"verdict": verdict, "ratio": ratio} | more


def stored(folder: Path, *entries: dict[str, Any]) -> Path:
    content = {"format": prior.FORMAT, "method": "EMA", "entries": entries}
    (folder / "ema.json").write_text(json.dumps(content))
    return folder


def test_nothing_is_expected_where_nothing_was_measured(tmp_path: Path) -> None:
    found = prior.prior("EMA", places=[tmp_path])
    assert (found.gain, found.measured, found.helps, found.cost) == (0.0, 0, True, 1.0)
    assert found.spread == pytest.approx(prior.UNKNOWN)


def test_a_gain_is_believed_in_part_and_more_on_a_like_workload(tmp_path: Path) -> None:
    stored(tmp_path, entry("gain", 1.5, 1.4, 1.6))
    near, far = (prior.prior("EMA", facts, places=[tmp_path]) for facts in ({"images"}, {"heads"}))
    assert 0 < far.gain < near.gain < math.log(1.5)
    assert near.spread < far.spread < prior.UNKNOWN
    assert (near.cost, near.helps) == (pytest.approx(1.1), True)


def test_what_a_step_gains_has_its_cost_taken_off(tmp_path: Path) -> None:
    stored(tmp_path, entry("no gain", 1.0, 0.9, 1.1, cost=2.0, against="AdamW"))
    found = prior.prior("EMA", places=[tmp_path])
    assert found.gain == 0.0
    assert 0.0 < found.step < math.log(2.0)  # believed in part, like the gain
    assert found.against == ("AdamW",)


def test_a_file_of_an_older_format_counts_as_not_measured(tmp_path: Path) -> None:
    (tmp_path / "ema.json").write_text('{"format": 1, "method": "EMA", "entries": [{"verdict": "gain"}]}')
    assert prior.evidence("EMA", [tmp_path]) == []


def test_an_open_interval_tells_less(tmp_path: Path) -> None:
    clear = prior.prior("EMA", places=[stored(tmp_path, entry("gain", 1.5, 1.4, 1.6))])
    vague = prior.prior("EMA", places=[stored(tmp_path, entry("gain", 1.5, 1.4, None))])
    assert 0 < vague.gain < clear.gain


def test_a_gpu_tells_nothing_about_a_cpu(tmp_path: Path) -> None:
    stored(tmp_path, entry("gain", 2.0, 1.8, 2.2, device="NVIDIA H100"), entry("harm", 0.8, 0.7, 0.9))
    here, there = (prior.prior("EMA", device=device, places=[tmp_path]) for device in ("cpu", "NVIDIA H100"))
    assert here.gain < 0 < there.gain
    assert (here.helps, there.helps, here.measured, there.measured) == (False, True, 1, 1)
    assert prior.helps(prior.evidence("EMA", [tmp_path]), "mps") is None


def test_what_the_working_folder_says_replaces_what_came_with_halftime(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir(), two.mkdir()
    stored(one, entry("gain", 1.5, 1.4, 1.6))
    stored(two, entry("no gain", 1.0, 0.9, 1.1))
    assert [e["verdict"] for e in prior.evidence("EMA", [one, two])] == ["no gain"]


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2, "entries": [{}]}', '{"format": 99, "entries": []}', "[1]"])
def test_a_damaged_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "ema.json").write_text(text)
    with pytest.raises(BadData, match="measure it again"):
        prior.evidence("EMA", [tmp_path])
