"""Images as PNG, without a library: for pages that show samples."""

from __future__ import annotations

import struct
import zlib

import torch
from torch import Tensor


def png(image: Tensor) -> bytes:
    """An image as a PNG file.

    Args:
        image: uint8, [1, H, W] for grey or [3, H, W] for red, green and blue.

    Example:
        >>> png(torch.zeros(1, 2, 2, dtype=torch.uint8))[:8]
        b'\\x89PNG\\r\\n\\x1a\\n'
    """
    channels, height, width = image.shape
    rows = torch.cat([torch.zeros(height, 1, dtype=torch.uint8), image.permute(1, 2, 0).reshape(height, -1)], 1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    packed = zlib.compress(rows.contiguous().numpy().tobytes(), 9)
    parts = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def shown(inputs: Tensor, most: int = 96) -> Tensor:
    """An image as eyes want it: bytes from the darkest to the lightest of its own values, at most so many pixels wide.

    Args:
        inputs: [C, H, W] of any type; of other numbers of channels than 1 and 3, the mean is shown.
        most: pixels of the longer side; larger images are thinned out.
    """
    values = inputs.detach().float()
    if values.shape[0] not in (1, 3):
        values = values.mean(0, keepdim=True)
    step = max(1, -(-max(values.shape[1:]) // most))
    values = values[:, ::step, ::step].nan_to_num(0.0, 0.0, 0.0)
    low, high = values.min(), values.max()
    return ((values - low) / (high - low).clamp(min=1e-12) * 255.0).round().to(torch.uint8)
