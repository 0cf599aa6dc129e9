"""JPEG files as tensors, decoded by libjpeg-turbo: by simplejpeg where it is installed, or else by Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from halftime.errors import BadData, shorten


def read_jpeg(path: Path) -> Tensor:
    """A JPEG file as uint8 [3, H, W], red green blue.

    Raises:
        BadData: the file is missing, empty, truncated or no JPEG, or no decoder is installed; names the file.
    """
    try:
        return decode_jpeg(path.read_bytes())
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise BadData(f"{path} is damaged ({shorten(str(error), 100)}): delete it and fetch it again") from None


def decode_jpeg(data: bytes) -> Tensor:
    """The bytes of a JPEG file as uint8 [3, H, W], red green blue.

    Raises:
        ValueError: they are no whole JPEG.
        BadData: no decoder is installed.
    """
    try:
        import simplejpeg
    except ImportError:
        return _by_pillow(data)
    return torch.from_numpy(simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)).permute(2, 0, 1).contiguous()


def _by_pillow(data: bytes) -> Tensor:
    try:
        from PIL import Image
    except ImportError:
        raise BadData("reading JPEG files needs simplejpeg: pip install simplejpeg") from None
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            pixels = np.array(image.convert("RGB"))
    except (OSError, SyntaxError) as error:  # what Pillow raises for a damaged file
        raise ValueError(str(error)) from None
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
