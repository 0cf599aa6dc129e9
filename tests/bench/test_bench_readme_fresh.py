"""The README's figures are those of bench/results, and each result has its printed table beside it."""

from __future__ import annotations

import json

from bench import readme
from bench.tables import printed
from tests.conftest import ROOT


def test_the_readme_is_fresh() -> None:
    assert readme.main(["--check"]) == 0


def test_every_result_has_its_table_and_none_is_typed_by_hand() -> None:
    results = sorted((ROOT / "bench" / "results").glob("*.json"))
    assert {"demo", "kills", "ledger", "overhead", "workloads"} <= {path.stem for path in results}
    for path in results:
        assert path.with_suffix(".txt").read_text() == printed(json.loads(path.read_text()))
