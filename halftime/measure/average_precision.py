"""How boxes are judged: average precision as COCO defines it, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from halftime.data.boxes import NONE
from halftime.errors import BadWorkload

Find = Callable[[Any], tuple[Tensor, Tensor, Tensor]]  # outputs -> boxes [B, K, 4], scores [B, K], classes [B, K]


class AveragePrecision:
    """The mean over classes of the average precision at one overlap; `scores` names that of each class.

    The average precision is the mean precision over 101 levels of recall (Lin et al. 2014, "Microsoft COCO").

    Args:
        names: of the classes, in the order of their numbers.
        find: what the network's outputs show: boxes in pixels, scores and classes; what scores 0 is no box.
        overlap: intersection over union from which a box counts as found.

    Raises:
        BadWorkload: pycocotools is not installed.
    """

    range = (0.0, 1.0)

    def __init__(self, names: Sequence[str], find: Find, overlap: float = 0.5) -> None:
        try:
            import pycocotools.cocoeval  # noqa: F401
        except ImportError:
            reason = "boxes are judged by pycocotools, which is not installed: pip install pycocotools"
            raise BadWorkload(reason) from None
        self.names, self.find, self.overlap = tuple(names), find, overlap
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.images = 0
        self.truth: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []
        self.scores: dict[str, float] = {}

    def update(self, outputs: Any, targets: Mapping[str, Tensor]) -> None:
        """Take a batch; targets are {"boxes": [B, N, 4], "classes": [B, N]}, -1 for no box."""
        boxes, scores, kinds = (t.cpu().numpy() for t in self.find(outputs))
        real, wanted = (targets[key].cpu().numpy() for key in ("boxes", "classes"))
        for i in range(len(real)):
            self.images += 1
            shown, there = scores[i] > 0, wanted[i] != NONE
            self.seen += self._entries(boxes[i][shown], kinds[i][shown], scores[i][shown])
            self.truth += self._entries(real[i][there], wanted[i][there], np.ones(int(there.sum())))

    def compute(self) -> float:
        """The mean over the classes that occur."""
        precision = _judged(self.images, len(self.names), self.truth, self.seen, self.overlap)
        each = {name: float(precision[:, i].mean()) for i, name in enumerate(self.names)}
        self.scores = {f"AP {name}": value for name, value in each.items() if value >= 0}  # -1: no such box
        return sum(self.scores.values()) / max(1, len(self.scores))

    def _entries(self, boxes: Any, kinds: Any, scores: Any) -> list[dict[str, Any]]:
        sides = boxes[:, 2:] - boxes[:, :2]
        return [
            {
                "image_id": self.images,
                "category_id": int(kind) + 1,
                "bbox": [*box[:2].tolist(), *side.tolist()],
                "area": float(side.prod()),
                "score": float(score),
                "iscrowd": 0,
            }
            for box, side, kind, score in zip(boxes, sides, kinds, scores, strict=True)
        ]


def _judged(images: int, classes: int, truth: list[Any], seen: list[Any], overlap: float) -> Any:
    """Precision at each of 101 levels of recall for each class, [101, classes]; -1 for a class that never occurs."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    categories = [{"id": i + 1} for i in range(classes)]
    sides = [_index(entries, images, categories) for entries in (truth, seen)]
    with contextlib.redirect_stdout(io.StringIO()):  # it talks of what it does
        made = []
        for dataset in sides:
            one = COCO()
            one.dataset = dataset
            one.createIndex()
            made.append(one)
        judge = COCOeval(*made, "bbox")
        judge.params.iouThrs = np.array([overlap])
        judge.params.areaRng, judge.params.areaRngLbl = [[0.0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"][0, :, :, 0, -1]


def _index(entries: list[Any], images: int, categories: list[Any]) -> dict[str, Any]:
    numbered = [{**entry, "id": i + 1} for i, entry in enumerate(entries)]
    return {"images": [{"id": i + 1} for i in range(images)], "categories": categories, "annotations": numbered}
