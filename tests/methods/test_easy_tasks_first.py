"""EasyTasksFirst: weight goes to the head that learns, moves on when it has learned, and is even in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from halftime.errors import BadValue
from halftime.methods import EasyTasksFirst
from halftime.methods.easy_tasks_first import LearningCurves
from tests.contract.tasks import recipe, same, task, trained, weights

EASY_THEN_HARD = [(max(0.1, 2.0 - 0.1 * s), min(3.0, max(1.0, 15.0 - 0.1 * s))) for s in range(140)]


def weighed(rule: LearningCurves, curves: list[tuple[float, ...]], progress: float = 0.0) -> list[list[float]]:
    """The weights after each step."""
    found = []
    for values in curves:
        rule.weighed({f"head {i}": torch.tensor(v) for i, v in enumerate(values)})
        rule.step(progress)
        found.append(rule.weights.tolist())
    return found


def test_the_easy_head_comes_first_and_the_hard_one_when_it_has_learned() -> None:
    found = weighed(LearningCurves(memory=10), EASY_THEN_HARD)
    assert found[10][0] > 1.8 > 0.2 > found[10][1]  # the first head learns alone
    assert found[115] == pytest.approx([1.0, 1.0], abs=0.1)  # nobody learns
    assert found[130][1] > 1.8  # the second one does
    assert all(sum(one) == pytest.approx(2.0) for one in found)


def test_it_does_not_know_scales() -> None:
    plain = weighed(LearningCurves(memory=10), EASY_THEN_HARD)
    scaled = weighed(LearningCurves(memory=10), [(1000 * a, 0.01 * b) for a, b in EASY_THEN_HARD])
    assert [v for one in scaled for v in one] == pytest.approx([v for one in plain for v in one], rel=1e-3)


def test_hard_turns_it_round_and_any_deals_the_same_weights_by_chance() -> None:
    easy, hard = (weighed(LearningCurves(memory=10, first=first), EASY_THEN_HARD)[10] for first in ("easy", "hard"))
    assert hard[0] == pytest.approx(easy[1], rel=1e-4)
    dealt = [weighed(LearningCurves(memory=10, first="any", seed=s), EASY_THEN_HARD)[10] for s in range(8)]
    assert all(sorted(one) == pytest.approx(sorted(easy)) for one in dealt)
    assert {one[0] > 1.0 for one in dealt} == {True, False}
    assert EasyTasksFirst(until=0.3).control() == EasyTasksFirst(until=0.3, first="any")


def test_all_weigh_the_same_at_last() -> None:
    for progress, strength in ((0.0, 1.0), (0.25, 0.5), (0.5, 0.0), (0.9, 0.0)):
        found = weighed(LearningCurves(memory=10, until=0.5), EASY_THEN_HARD[:11], progress)[-1]
        whole = weighed(LearningCurves(memory=10, until=0.5), EASY_THEN_HARD[:11])[-1]
        assert found == pytest.approx([1 + strength * (w - 1) for w in whole], rel=1e-4)


def test_losses_below_zero_do_no_harm() -> None:
    found = weighed(LearningCurves(memory=4), [(1.0 - s, -2.0 - s) for s in range(9)])
    assert all(0.0 <= v <= 2.0 for one in found for v in one)


def test_it_tells_and_changes_the_training(tmp_path: Path) -> None:
    run = trained(task(), recipe(EasyTasksFirst(until=1.0, memory=10), steps=120), tmp_path)
    assert [text for text in run.events if text.startswith("EasyTasksFirst: by step ") and "kind" in text]
    other = trained(task(), recipe(EasyTasksFirst(until=1.0, memory=10, first="hard"), steps=120), tmp_path)
    assert not same(weights(run), weights(other))


@pytest.mark.parametrize(("field", "value"), [("until", 0.0), ("until", 1.5), ("memory", 1), ("first", "hardest")])
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^EasyTasksFirst\.{field}") as error:
        EasyTasksFirst(**{field: value})
    assert "\n" not in str(error.value)
