"""The summary of a run on a terminal."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from halftime.report.tables import summary
from tests.contract.tasks import recipe, task, trained


def test_it_shows_the_receipt_of_what_was_consumed(tmp_path: Path) -> None:
    run = trained(task(), recipe(steps=3), tmp_path)
    assert len(run.receipt) == 32
    assert f"order receipt {run.receipt} of 3 batches" in summary(run)


def test_a_missed_target_is_said_as_such(tmp_path: Path) -> None:
    run = trained(task(target=1.0), recipe(steps=3), tmp_path)
    assert "  target 1: missed\n" in summary(run)


def test_batches_that_were_not_applied_are_counted(tmp_path: Path) -> None:
    run = trained(task(), recipe(steps=3), tmp_path)
    assert "not applied" not in summary(run)
    assert "  2 of 5 batches were not applied\n" in summary(dataclasses.replace(run, tried=5))
