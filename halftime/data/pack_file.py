"""One file of a pack while it is written: rows are appended, hashed by block, and made durable at the end."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from halftime.data import manifest as files
from halftime.errors import BadData


def put(file: IO[bytes], data: memoryview) -> None:
    """Append bytes to a file."""
    file.write(data)


def settle(file: IO[bytes]) -> None:
    """Wait until the disk holds what was written."""
    file.flush()
    os.fsync(file.fileno())


def interleaved(dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
    """Whether images are to lie pixel by pixel: photographs, of which parts are cut out and resized as bytes.

    Small images are moved whole, and that is quicker channel by channel.

    >>> interleaved(torch.uint8, (3, 480, 640)), interleaved(torch.uint8, (3, 32, 32))
    (True, False)
    """
    return dtype == torch.uint8 and len(shape) == 3 and shape[0] == 3 and min(shape[1:]) >= 64


class PackFile:
    """One field being written; its blocks are hashed as they fill.

    Args:
        path: of the file.
        dtype: of the numbers.
        shape: of the first sample's field.
    """

    def __init__(self, path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        self.path, self.dtype, self.shape = path, dtype, shape
        self.ragged = False
        self.interleaved = interleaved(dtype, shape)
        self.lengths: list[int] = []
        self.blocks: list[str] = []
        self.hash, self.filled = hashlib.sha256(), 0
        self.file = path.open("wb")

    def add(self, rows: Tensor, number: int, name: str) -> None:
        """Append [B, ...] rows; a single one may differ in its first dimension."""
        if rows.dtype != self.dtype:
            raise BadData(f"sample {number}: {name} is {rows.dtype} where sample 0 has {self.dtype}")
        shape = tuple(rows.shape[1:])
        if shape != self.shape:
            if len(shape) != len(self.shape) or shape[1:] != self.shape[1:] or len(shape) == 3 or not shape:
                raise BadData(
                    f"sample {number}: {name} has shape {shape} where sample 0 has {self.shape}: samples may differ in "
                    "their first dimension alone, and images not at all; bring them to one size as they are read"
                )
            self.ragged = True
        self.lengths += [shape[0] if shape else 1] * len(rows)
        rows = rows.permute(0, 2, 3, 1) if self.interleaved else rows
        self._write(rows.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def _write(self, data: memoryview) -> None:
        put(self.file, data)
        while len(data):
            piece = data[: files.BLOCK - self.filled]
            self.hash.update(piece)
            self.filled += len(piece)
            data = data[len(piece) :]
            if self.filled == files.BLOCK:
                self._seal()

    def _seal(self) -> None:
        self.blocks.append(self.hash.hexdigest())
        self.hash, self.filled = hashlib.sha256(), 0

    def offsets(self, path: Path) -> files.Field:
        """Where each sample's rows begin, and where the last ones end, as a file of its own."""
        starts = torch.tensor([0, *self.lengths], dtype=torch.int64).cumsum(0)
        file = PackFile(path, torch.int64, ())
        file.add(starts, 0, path.stem)
        return file.close("")

    def close(self, offsets: str) -> files.Field:
        """Make the file durable, and say what it holds."""
        if self.filled:
            self._seal()
        settle(self.file)
        self.file.close()
        rows, shape = len(self.lengths), self.shape
        if offsets:
            rows, shape = sum(self.lengths), self.shape[1:]
        kind = str(self.dtype).removeprefix("torch.")
        return files.Field(self.path.name, kind, rows, shape, tuple(self.blocks), offsets, self.interleaved)
