"""Average precision against a slow obvious twin, and by cases that can be worked out by hand."""

from __future__ import annotations

import builtins
import random
from typing import Any

import pytest
import torch

from halftime.data.boxes import NONE
from halftime.errors import BadWorkload
from halftime.measure.average_precision import AveragePrecision

Box = list[float]
pytest.importorskip("pycocotools", reason="boxes are judged by pycocotools")


def overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, wide) * max(0.0, tall)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return common / (sum(areas) - common)


def twin(truth: list[list[Box]], seen: list[list[tuple[float, Box]]], least: float) -> float:
    """The average precision of one class: truth and (score, box) by image, in the words of the definition."""
    hits: list[tuple[float, bool]] = []
    for real, shown in zip(truth, seen, strict=True):
        free = list(real)
        for score, box in sorted(shown, key=lambda pair: -pair[0]):
            best = max(free, key=lambda r: overlap(r, box), default=None)
            hit = best is not None and overlap(best, box) >= least
            if hit:
                free.remove(best)
            hits.append((score, hit))
    hits.sort(key=lambda pair: -pair[0])
    points = []
    for n in range(1, len(hits) + 1):
        right = sum(hit for _, hit in hits[:n])
        points.append((right / sum(map(len, truth)), right / n))
    return sum(max((p for r, p in points if r >= level / 100), default=0.0) for level in range(101)) / 101


def padded(rows: list[list[Any]], fill: Any) -> list[list[Any]]:
    longest = max(1, *map(len, rows))
    return [row + [fill] * (longest - len(row)) for row in rows]


def judged(
    truth: list[list[tuple[int, Box]]], seen: list[list[tuple[int, float, Box]]], least: float, batch: int
) -> Any:
    """Truth (class, box) and finds (class, score, box) by image, through the metric in batches."""
    metric = AveragePrecision("abc", lambda found: found, least)
    for at in range(0, len(truth), batch):
        real, shown = truth[at : at + batch], seen[at : at + batch]
        boxes = torch.tensor(padded([[b for _, b in row] for row in real], [0.0] * 4))
        classes = torch.tensor(padded([[c for c, _ in row] for row in real], NONE))
        finds = (
            torch.tensor(padded([[b for _, _, b in row] for row in shown], [0.0] * 4)),
            torch.tensor(padded([[s for _, s, _ in row] for row in shown], 0.0)),
            torch.tensor(padded([[c for c, _, _ in row] for row in shown], 0)),
        )
        metric.update(finds, {"boxes": boxes, "classes": classes})
    return metric.compute(), metric.scores


@pytest.mark.parametrize("seed", range(12))
def test_it_equals_the_twin(seed: int) -> None:
    chance = random.Random(seed)

    def box() -> Box:
        left, top = chance.uniform(0, 30), chance.uniform(0, 30)
        return [left, top, left + chance.uniform(3, 20), top + chance.uniform(3, 20)]

    truth, seen = [], []
    for _ in range(7):
        real = [(chance.choice([0, 0, 0, 1, 2]), box()) for _ in range(chance.randrange(5))]
        near = [(c, chance.random(), [v + chance.gauss(0, 1.5) for v in b]) for c, b in real if chance.random() < 0.8]
        near = [(c, s, b) for c, s, b in near if b[2] > b[0] and b[3] > b[1]]
        strange = [(chance.randrange(3), chance.random(), box()) for _ in range(chance.randrange(5))]
        truth.append(real)
        seen.append(near + strange)
    least = 0.5 if seed % 2 else 0.7
    score, scores = judged(truth, seen, least, batch=1 + seed % 3)
    expected = {}
    for kind, name in enumerate("abc"):
        real = [[b for c, b in row if c == kind] for row in truth]
        shown = [[(s, b) for c, s, b in row if c == kind] for row in seen]
        if any(real):
            expected[f"AP {name}"] = twin(real, shown, least)
    assert scores == pytest.approx(expected, abs=1e-6)
    assert score == pytest.approx(sum(expected.values()) / len(expected), abs=1e-6)
    assert 0 < score < 1


def test_cases_by_hand() -> None:
    one, two, far = [0.0, 0, 10, 10], [20.0, 0, 30, 10], [50.0, 50, 60, 60]
    truth = [[(0, one), (0, two)], [(1, one)]]
    perfect = [[(0, 0.9, one), (0, 0.8, two)], [(1, 0.3, one)]]
    assert judged(truth, perfect, 0.5, 2) == (
        pytest.approx(1.0),
        {"AP a": pytest.approx(1.0), "AP b": pytest.approx(1.0)},
    )
    twice = [[(0, 0.9, one), (0, 0.8, one)], []]  # the second find of a box counts as wrong
    assert judged(truth, twice, 0.5, 2)[1] == {"AP a": pytest.approx(51 / 101), "AP b": 0.0}
    wrong_kind = [[(1, 0.9, one)], [(0, 0.9, one)]]
    assert judged(truth, wrong_kind, 0.5, 2)[0] == 0.0
    late = [[(0, 0.9, far), (0, 0.8, one), (0, 0.7, two)], [(1, 0.1, one)]]
    assert judged(truth, late, 0.5, 2)[1] == {"AP a": pytest.approx(2 / 3), "AP b": pytest.approx(1.0)}


def test_a_class_that_never_occurs_is_left_out_and_nothing_found_is_nothing() -> None:
    score, scores = judged([[(2, [0.0, 0, 4, 4])]], [[(1, 0.9, [0.0, 0, 4, 4]), (2, 0.1, [0.0, 0, 4, 4])]], 0.5, 1)
    assert (score, scores) == (pytest.approx(1.0), {"AP c": pytest.approx(1.0)})
    assert judged([[(2, [0.0, 0, 4, 4])]], [[]], 0.5, 1) == (0.0, {"AP c": 0.0})
    assert judged([[]], [[]], 0.5, 1) == (0.0, {})


def test_a_reset_forgets(capsys: pytest.CaptureFixture[str]) -> None:
    metric = AveragePrecision("a", lambda found: found)
    box, kind = torch.tensor([[[0.0, 0, 4, 4]]]), torch.tensor([[0]])
    metric.update((box + 100, torch.tensor([[0.5]]), kind), {"boxes": box, "classes": kind})
    assert metric.compute() == 0.0
    metric.reset()
    metric.update((box, torch.tensor([[0.5]]), kind), {"boxes": box, "classes": kind})
    assert metric.compute() == pytest.approx(1.0)
    assert capsys.readouterr().out == ""


def test_without_pycocotools_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pycocotools"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(BadWorkload, match=r"pycocotools, which is not installed: pip install pycocotools"):
        AveragePrecision("a", lambda found: found)
