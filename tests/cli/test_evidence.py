"""`halftime evidence` and the table of `halftime methods`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from halftime.cli import main, methods
from halftime.measure import prior
from tests.measure.test_prior import entry, stored


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["EMAA"], "did you mean 'EMA'"),
        (["EMA", "--workload", "digit"], "did you mean 'digits'"),
        (["EMA", "--seeds", "2"], "--seeds must be at least 3"),  # two can only hint, and that would read as no gain
        (["EMA", "--minutes", "-1"], "--minutes must be at least 0"),
        (["EMA(decay=2)"], "EMA.decay"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(given, said, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HALFTIME_LEDGER", str(tmp_path / "ledger"))
    with pytest.raises(SystemExit) as left:
        main(["evidence", *given, "--out", str(tmp_path / "evidence")])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_time_it_says_what_is_left_and_how_to_go_on(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HALFTIME_LEDGER", str(tmp_path / "ledger"))
    assert main(["evidence", "EMA", "--minutes", "0", "--workload", "digits", "--out", str(tmp_path / "out")]) == 1
    assert "the same call goes on" in capsys.readouterr().err


def test_the_table_has_gain_where_cost_and_verdict_and_names_what_has_none(capsys, tmp_path, monkeypatch) -> None:
    stored(tmp_path, entry("gain", 1.5, 1.4, 1.6), entry("harm", 0.8, 0.7, 0.9, device="a GPU"))
    monkeypatch.setattr(prior, "folders", lambda: [tmp_path])
    assert main(["methods"]) == 0
    shown = capsys.readouterr().out
    assert "1.50× (1.40 to 1.60)" in shown
    assert "0.80× (0.70 to 0.90)" in shown
    assert "no evidence here, and off in a search: EMA (a GPU)" in shown
    assert "not measured yet: AdamW, " in shown
    assert main(["methods", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert [e["verdict"] for e in rows["EMA"]["evidence"]] == ["harm", "gain"]
    assert rows["SGD"]["evidence"] == []


def test_a_line_of_an_entry_that_was_not_measured() -> None:
    found = methods.line(entry("no evidence here", 1.0, 1.0, 1.0) | {"ratio": None, "cost": None})
    assert found == ["digits", "cpu", "–", "–", "–", "no evidence here"]


def test_evidence_is_written_beside_the_package_of_a_checkout() -> None:
    assert prior.home() == Path(prior.__file__).resolve().parents[2] / "evidence"
    assert prior.home() in prior.folders()
