"""The manifest of a pack: what lies in which file, and digests that tell when a file is not what was written.

It is JSON and is written last, so a pack is there only when all of it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from halftime.errors import BadData, shorten

FORMAT = 1
NAME = "manifest.json"
BLOCK = 64 * 2**20  # bytes that one digest covers


@dataclasses.dataclass(frozen=True)
class Field:
    """One file of numbers.

    Args:
        file: its name within the pack's folder of data.
        dtype: of the numbers, as torch calls it.
        rows: how many there are.
        shape: of one row.
        blocks: the SHA-256 of every `BLOCK` bytes.
        offsets: the field that says where each sample's rows begin, if samples differ in their number of rows.
        interleaved: each image [C, H, W] lies pixel by pixel, as [H, W, C].
    """

    file: str
    dtype: str
    rows: int
    shape: tuple[int, ...]
    blocks: tuple[str, ...]
    offsets: str = ""
    interleaved: bool = False

    @property
    def bytes(self) -> int:
        """What the file must hold."""
        return self.rows * math.prod(self.shape) * self.kind.itemsize

    @property
    def kind(self) -> torch.dtype:
        """The type of the numbers."""
        found = getattr(torch, self.dtype, None)
        if not isinstance(found, torch.dtype):
            raise ValueError(f"there is no type {shorten(self.dtype)}")
        return found


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a pack holds.

    Args:
        samples: how many.
        source: digest of the data set that was packed.
        data: the folder of data within the pack's.
        layout: how the fields make a sample: a field's name, or a list or dict of layouts.
        fields: by name.
        sizes: for each stored size (the shorter side in pixels) the field of the images, besides the whole ones.
        image: the field of whole images, if there are other sizes.
        skipped: names of what could not be read and was left out.
    """

    samples: int
    source: str
    data: str
    layout: Any
    fields: dict[str, Field]
    sizes: dict[int, str]
    image: str = ""
    skipped: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(field.bytes for field in self.fields.values())

    def to_json(self) -> str:
        """The content as text, sealed with its own digest."""
        content = {"halftime_pack": FORMAT, **dataclasses.asdict(self)}
        return json.dumps({**content, "sealed": _seal(content)}, indent=1) + "\n"


def read(folder: Path) -> Manifest:
    """The manifest of a pack, its files there and as long as they must be.

    Raises:
        BadData: there is no pack, it is of a newer format, or it is damaged.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict) or "halftime_pack" not in content:
            raise ValueError("it is no manifest")
        if content["halftime_pack"] != FORMAT:
            raise ValueError(f"its format is {shorten(content['halftime_pack'])}, and this halftime reads {FORMAT}")
        seal = content.pop("sealed", "")
        if seal != _seal(content):
            raise ValueError("it was changed after it was written")
        found = _parsed(content)
    except FileNotFoundError:
        raise BadData(f"{folder} holds no pack: there is no {NAME}; make one with halftime data pack") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadData(f"{path} is damaged ({shorten(str(error), 120)}): pack again") from None
    for field in found.fields.values():
        _check_size(folder / found.data / field.file, field)
    return found


def verify(folder: Path) -> list[str]:
    """Hash every block again.

    Returns:
        A line for each block that is not what was written; none if the pack is whole.

    Raises:
        BadData: the manifest is missing or damaged, or a file has another length.
    """
    manifest = read(folder)
    wrong = []
    for name, field in manifest.fields.items():
        path = folder / manifest.data / field.file
        for number, (found, wanted) in enumerate(zip(blocks_of(path), field.blocks, strict=True)):
            if found != wanted:
                wrong.append(f"{path}: block {number} of field {name} is not what was packed")
    return wrong


def blocks_of(path: Path) -> Iterator[str]:
    """The SHA-256 of every `BLOCK` bytes of a file."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield hashlib.sha256(block).hexdigest()


def _check_size(path: Path, field: Field) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror}: pack again") from None
    if found != field.bytes:
        raise BadData(f"{path} holds {found} bytes where {field.bytes} were packed: pack again")


def _parsed(content: dict[str, Any]) -> Manifest:
    fields = {
        name: Field(**{**about, "shape": tuple(about["shape"]), "blocks": tuple(about["blocks"])})
        for name, about in content["fields"].items()
    }
    for name, field in fields.items():
        if Path(field.file).name != field.file or len(field.blocks) != -(-field.bytes // BLOCK):
            raise ValueError(f"field {name} cannot be")
    data = content["data"]
    if Path(data).name != data or content["samples"] < 1:
        raise ValueError("it names what cannot be")
    sizes = {int(size): name for size, name in content["sizes"].items()}
    made = Manifest(content["samples"], content["source"], data, content["layout"], fields, sizes, content["image"],
                    tuple(content["skipped"]))  # fmt: skip
    for name in (*names(made.layout), *sizes.values(), *(f.offsets for f in fields.values() if f.offsets)):
        if name not in fields:
            raise ValueError(f"field {name} is missing")
    return made


def names(layout: Any) -> list[str]:
    """The fields of a layout, in its order."""
    if isinstance(layout, str):
        return [layout]
    return [name for part in (layout.values() if isinstance(layout, dict) else layout) for name in names(part)]


def _seal(content: dict[str, Any]) -> str:
    plain = json.loads(json.dumps(content))  # as it is read back: keys are texts, tuples are lists
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
