"""Readers of published data files: IDX, the CIFAR records in a tar or in parquet, and text. Nothing is unpickled."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import math
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halftime.data.sources import cache
from halftime.errors import BadData

Records = np.ndarray[Any, np.dtype[np.uint8]]
_CIFAR = (3, 32, 32)  # channels, height, width
_RECORD = 1 + math.prod(_CIFAR)  # a label, then the pixels, channel by channel


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a damaged file makes a parser say into one line that names the file."""
    try:
        yield
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, KeyError, TypeError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise BadData(f"cannot read {path}: {error.strerror}") from error
        raise BadData(f"{path} is damaged ({_brief(error)}): delete it and fetch it again") from error


def read_idx(path: Path) -> Tensor:
    """A gzipped IDX file of bytes, the format of MNIST and its kin, as a uint8 tensor of the shape it declares.

    Raises:
        BadData: the file is missing, damaged, truncated, or not IDX.
    """
    with reading(path):
        with gzip.open(path) as file:
            content = file.read()
        if len(content) < 4 or content[:3] != b"\0\0\x08":
            raise ValueError("it does not begin as an IDX file of bytes does")
        start = 4 + 4 * content[3]
        shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">u4"))
        if len(shape) != content[3] or len(content) - start != math.prod(shape):
            raise ValueError(f"{len(content) - start} bytes of data where its head says {shape}")
        return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())


def read_cifar_tar(path: Path, split: str) -> Records:
    """The records of the published `cifar-10-binary.tar.gz`: uint8 [N, 3073], a label and then the pixels.

    Args:
        path: the archive.
        split: "train" or "test".
    """
    wanted = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
    found: dict[str, bytes] = {}
    with reading(path), tarfile.open(path, "r:gz") as archive:
        for member in archive:  # in the order of the file: going back would unpack it anew
            name = Path(member.name).name
            file = archive.extractfile(member) if name in wanted else None
            if file is not None:
                found[name] = file.read()
    with reading(path):
        content = b"".join(found[name] for name in wanted)
        if not content or len(content) % _RECORD:
            raise ValueError(f"{len(content)} bytes are no whole number of records")
        return np.frombuffer(content, np.uint8).reshape(-1, _RECORD)


def read_cifar_parquet(paths: Sequence[Path]) -> Records:
    """The same records from parquet files with columns `img` ({bytes, path}, a PNG) and `label`.

    Raises:
        BadData: a file is damaged, an image is not 32x32, or pyarrow and pillow are not installed.
    """
    try:
        import pyarrow.parquet
        from PIL import Image
    except ImportError as error:
        raise BadData(f"reading {paths[0]} needs {error.name}: pip install pyarrow pillow") from None

    def decoded(image: dict[str, bytes]) -> np.ndarray[Any, Any]:
        pixels = np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB"))
        if pixels.shape != (*_CIFAR[1:], _CIFAR[0]):
            raise ValueError(f"an image of shape {pixels.shape}")
        return pixels.transpose(2, 0, 1).reshape(-1)

    blocks = []
    for path in paths:
        with reading(path):
            table = pyarrow.parquet.read_table(path, columns=["img", "label"])
            block = np.empty((table.num_rows, _RECORD), np.uint8)
            labels = np.asarray(table["label"].to_pylist(), dtype=np.int64)
            if ((labels < 0) | (labels > 255)).any():  # older NumPy would wrap them round in silence
                raise ValueError(f"labels from {labels.min()} to {labels.max()}")
            block[:, 0] = labels
            for row, image in zip(block, table["img"].to_pylist(), strict=True):
                row[1:] = decoded(image)
            blocks.append(block)
    return np.concatenate(blocks)


def read_text(path: Path) -> str:
    """A UTF-8 text.

    Raises:
        BadData: the file is missing or empty, or is not UTF-8.
    """
    with reading(path):
        text = path.read_bytes().decode()
        if not text:
            raise ValueError("it is empty")
        return text


def labelled(records: Records, path: Path, count: int, classes: int = 10) -> tuple[Tensor, Tensor]:
    """CIFAR records [N, 3073] as images uint8 [N, 3, 32, 32] and labels int64 [N], checked as `checked` does."""
    images = torch.from_numpy(np.ascontiguousarray(records[:, 1:])).view(-1, *_CIFAR)
    labels = torch.from_numpy(records[:, 0].astype(np.int64))
    return checked(images, labels, path, count, classes)


def checked(images: Tensor, labels: Tensor, path: Path, count: int, classes: int) -> tuple[Tensor, Tensor]:
    """Images [N, ...] and labels [N] as they came, if they can be right.

    Args:
        images: any shape, one row an image.
        labels: class numbers.
        path: the file to name if they cannot.
        count: how many there should be.
        classes: labels run from 0 to one less.

    Raises:
        BadData: the counts are wrong, or a label is out of range.
    """
    if len(images) != count or len(labels) != count:
        raise BadData(f"{path} holds {len(images)} images and {len(labels)} labels where {count} of each should be")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise BadData(f"{path} has labels up to {int(labels.max())} where 0 to {classes - 1} should be")
    return images, labels


def kept(name: str, sources: Sequence[Path], make: Callable[[], Records]) -> Records:
    """What `make` returns, kept in the user's cache so that it is quick the next time.

    Args:
        name: the beginning of the kept file's name.
        sources: files that it is made from; when one changes its size or its time, it is made anew.
        make: decodes the sources.

    A cache that cannot be read or written changes nothing but the time it takes.
    """
    marks = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sources]
    key = hashlib.sha256(repr(marks).encode()).hexdigest()[:16]
    path = cache() / "decoded" / f"{name}-{key}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    made = make()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, made)
    return made


def _write(path: Path, array: Records) -> None:
    """Write beside, then rename: another process sees a whole file or none."""
    import tempfile

    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        beside = Path(file.name)
        try:
            np.save(file, array, allow_pickle=False)
            file.flush()
            beside.replace(path)
        except BaseException:  # Ctrl-C too
            beside.unlink(missing_ok=True)
            raise


def _brief(error: Exception) -> str:
    """The first line of an error, or its name."""
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
