"""The start of a search quotes its price in money where an hour has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from halftime.search import start
from halftime.search.view import View
from tests.search.planted import BASE
from tests.search.test_search_parts import work


@pytest.mark.parametrize("price", [None, 3600.0])
def test_the_quote_has_money_where_there_is_a_price(
    price: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    around = work(tmp_path)
    around.view = View(True, price)
    monkeypatch.setattr(around.view, "say", lambda text: said.append(text) or text)
    start._piloted(around, BASE, 64)
    quote = next(text for text in said if "seeds per arm" in text)
    assert bool(re.search(r"device-(minutes|hours) = \d+\.\d\d ", quote)) == (price is not None)
