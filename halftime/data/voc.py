"""A folder in the form of Pascal VOC (Everingham et al. 2010): JPEG photographs with boxes in XML."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from halftime.data.boxes import NONE
from halftime.data.jpeg import read_jpeg
from halftime.errors import BadData, BadValue

LARGEST = 2**20  # bytes of an annotation; they are some thousand


class Voc:
    """Photographs and their boxes, read one by one.

    A sample is (image uint8 [3, H, W], {"boxes": float32 [n, 4], "classes": int64 [n]}); a box is (left, top, right,
    bottom) in pixels, from the left edge of its first pixel to the right edge of its last: VOC counts pixels from 1.

    Args:
        folder: holds `JPEGImages`, `Annotations` and `ImageSets/Main`.
        split: a file of names in `ImageSets/Main`, such as "train".
        classes: names of the classes, in the order of their numbers.
        skip_corrupt: leave out what cannot be read, and count it in `skipped`; every image is decoded once to know.

    Raises:
        BadData: a file is missing or damaged, or an object has a class that is not in `classes`; names the file.
    """

    def __init__(self, folder: str | Path, split: str, classes: Sequence[str], *, skip_corrupt: bool = False) -> None:
        self.folder, self.classes = Path(folder), tuple(classes)
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise BadValue(f"classes must be different names, not {list(classes)}")
        listing = self.folder / "ImageSets" / "Main" / f"{split}.txt"
        try:
            names = listing.read_text().split()
        except (OSError, ValueError) as error:
            raise BadData(f"cannot read {listing}: {getattr(error, 'strerror', None) or error}") from None
        self.names: list[str] = []
        self.targets: list[dict[str, Tensor]] = []
        left_out = []
        for name in names:
            try:
                target = self._target(name)
                if skip_corrupt:
                    read_jpeg(self._photograph(name))
            except BadData as error:
                if not skip_corrupt:
                    raise
                left_out.append(str(error))
                continue
            self.names.append(name)
            self.targets.append(target)
        self.skipped = tuple(left_out)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        return read_jpeg(self._photograph(self.names[index])), self.targets[index]

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Photographs of one size [B, 3, H, W], and boxes padded to the most of them; what is no box has class -1."""
        images, targets = zip(*(self[i] for i in indices.tolist()), strict=True)
        if len({i.shape for i in images}) > 1:
            raise BadData("photographs of different sizes cannot stand in one batch: bring them to one size first")
        boxes = pad_sequence([t["boxes"] for t in targets], batch_first=True)
        classes = pad_sequence([t["classes"] for t in targets], batch_first=True, padding_value=NONE)
        return torch.stack(images), {"boxes": boxes, "classes": classes}

    def digest(self) -> str:
        """Sixteen characters that change with any byte of any file of this split."""
        total = hashlib.sha256(repr((self.names, self.classes)).encode())
        for name in self.names:
            for path in (self._photograph(name), self._annotation(name)):
                try:
                    total.update(hashlib.sha256(path.read_bytes()).digest())
                except OSError as error:
                    raise BadData(f"cannot read {path}: {error.strerror}") from None
        return total.hexdigest()[:16]

    def _photograph(self, name: str) -> Path:
        return self.folder / "JPEGImages" / f"{name}.jpg"

    def _annotation(self, name: str) -> Path:
        return self.folder / "Annotations" / f"{name}.xml"

    def _target(self, name: str) -> dict[str, Tensor]:
        """The boxes and classes of one photograph."""
        path = self._annotation(name)
        boxes, kinds = [], []
        try:
            data = path.read_bytes()
            if len(data) > LARGEST or b"<!ENTITY" in data:  # an entity can stand for gigabytes
                raise ValueError("it is no annotation")
            for thing in ET.fromstring(data).iter("object"):
                kinds.append((thing.findtext("name") or "").strip())
                boxes.append(_box(thing))
        except OSError as error:
            raise BadData(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, ET.ParseError) as error:
            raise BadData(f"{path} is damaged ({error}): delete it and fetch it again") from None
        if strange := [kind for kind in kinds if kind not in self.classes]:
            raise BadData(f"{path} has the class {strange[0]!r} where {', '.join(self.classes)} should be")
        numbers = torch.tensor([self.classes.index(kind) for kind in kinds], dtype=torch.int64)
        return {"boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), "classes": numbers}


def _box(thing: Any) -> list[float]:
    """Left, top, right and bottom edge of an object."""
    edges = [float(thing.findtext(f"bndbox/{edge}") or "nan") for edge in ("xmin", "ymin", "xmax", "ymax")]
    left, top, right, bottom = edges[0] - 1, edges[1] - 1, edges[2], edges[3]
    if not (left < right < 1e6 and top < bottom < 1e6):
        raise ValueError(f"a box from {edges[:2]} to {edges[2:]}")
    return [max(left, 0.0), max(top, 0.0), right, bottom]
