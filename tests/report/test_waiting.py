"""The page says what a run's steps waited for."""

from __future__ import annotations

import re
from pathlib import Path

import halftime as ht
from halftime.methods import SGD
from halftime.report.page import runs_page
from halftime.report.waiting import queue, strip, waits
from tests.conftest import make_task


def test_a_page_with_strip_and_table(own_folder: Path) -> None:
    run = ht.train(make_task(), ht.Recipe([SGD(lr=0.1)], steps=30, batch_size=16), quiet=True)
    page = runs_page([run])
    assert f'What the steps of <span class="id">{run.id}</span> waited for' in page
    assert page.count('class="bar k0"') == page.count('class="bar k1"') == 60  # 30 columns, for both widths
    assert "infinitely fast loader" in page
    assert "Queue depth" not in page
    assert waits("w", run) is not None


def test_columns_are_means_of_neighbours_and_stack_up() -> None:
    drawn = str(strip("s", [(0.001, 0.003)] * 1000))
    assert drawn.count("bar k0") == 2 * 112  # of nine steps each
    heights = [float(h) for h in re.findall(r'height="([\d.]+)" class="bar k\d"', drawn)]
    assert abs(heights[0] - 3 * heights[1]) < 0.3
    assert "waiting takes 25.0 % of their time" in drawn


def test_the_depth_of_the_queue_where_it_was_counted() -> None:
    assert queue("q", []) == ""
    assert "Between 1 and 4 batches stood ready" in str(queue("q", [(1, 4.0), (2, 1.0), (3, 2.0)]))
