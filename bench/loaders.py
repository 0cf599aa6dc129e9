"""The arms of `bench.packing`: the same samples with the same augmentation through each loader.

Each arm is made once from a `Job` (what costs nobody anything in training: writing its own form of the data) and then
gives an endless or long enough stream of batches for each block. Peers are imported inside their arm, so that one
that is missing is a line in the table and not a crash.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, default_collate

from halftime.data.augmented import Augment, Augmented
from halftime.data.feed import Feed
from halftime.data.pack import Pack, pack

MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32).reshape(3, 1, 1)
STD = np.array([0.2470, 0.2435, 0.2616], np.float32).reshape(3, 1, 1)
STORED = 320  # shorter side in pixels of the copies of photographs that a pack stores besides
Stream = Callable[[], Iterable[Any]]


@dataclasses.dataclass
class Job:
    """What is to be served.

    Args:
        raw: one stored sample: the bytes of a JPEG, or an array uint8 [3, H, W].
        labels: of each.
        batch: samples in a batch.
        size: side of a random-resized crop, or 0 for pad and crop by 4 pixels.
        folder: for what a loader writes.
    """

    raw: list[Any]
    labels: list[int]
    batch: int
    size: int
    folder: Path

    def ids(self, count: int) -> list[int]:
        """So many sample numbers in random order, as often over the data as it takes."""
        dice = np.random.default_rng(0)
        turns = -(-count // len(self.raw))
        return np.concatenate([dice.permutation(len(self.raw)) for _ in range(turns)])[:count].tolist()  # type: ignore[no-any-return]


def one(raw: Any, size: int) -> Tensor:
    """Per-sample code: decode, crop, flip, normalise, as most people write it, in NumPy and torch."""
    if size:
        pixels = torch.from_numpy(simplejpeg.decode_jpeg(raw, colorspace="RGB")).permute(2, 0, 1)
        _, height, width = pixels.shape
        share, ratio = np.random.uniform(0.35, 1.0), np.exp(np.random.uniform(np.log(3 / 4), np.log(4 / 3)))
        tall = min(height, max(1, round((height * width * share / ratio) ** 0.5)))
        wide = min(width, max(1, round((height * width * share * ratio) ** 0.5)))
        top, left = np.random.randint(height - tall + 1), np.random.randint(width - wide + 1)
        part = pixels[None, :, top : top + tall, left : left + wide]
        image = interpolate(part, (size, size), mode="bilinear", antialias=True, align_corners=False)[0].numpy()
    else:
        padded = np.pad(raw, ((0, 0), (4, 4), (4, 4)), mode="reflect")
        top, left = np.random.randint(9), np.random.randint(9)
        image = padded[:, top : top + 32, left : left + 32]
    if np.random.rand() < 0.5:
        image = image[:, :, ::-1]
    return torch.from_numpy((image.astype(np.float32) / 255 - MEAN) / STD)


class Samples:
    """The map-style data set of every tutorial."""

    def __init__(self, job: Job) -> None:
        self.raw, self.labels, self.size = job.raw, job.labels, job.size

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return one(self.raw[index], self.size), self.labels[index]


class Decoded(Samples):
    """The same, decoded and not augmented: what is packed."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        raw = self.raw[index]
        pixels = simplejpeg.decode_jpeg(raw, colorspace="RGB").transpose(2, 0, 1).copy() if self.size else raw
        return torch.from_numpy(pixels), self.labels[index]


def plain(workers: int) -> Callable[[Job, int], Stream]:
    """torch's DataLoader."""

    def arm(job: Job, count: int) -> Stream:
        loader = DataLoader(Samples(job), job.batch, sampler=job.ids(count), num_workers=workers)
        return lambda: loader

    return arm


def packs(threads: int, as_bytes: bool, stored: int = 0) -> Callable[[Job, int], Stream]:
    """halftime's Pack with batched augmentation."""

    def arm(job: Job, count: int) -> Stream:
        folder = job.folder / "pack"
        if not folder.exists():
            pack(Decoded(job), folder, sizes=(STORED,) if job.size else ())
        norm: dict[str, Any] = {} if as_bytes else {"mean": MEAN.flatten().tolist(), "std": STD.flatten().tolist()}
        moves: dict[str, Any] = {"resize": (job.size, job.size)} if job.size else {"pad": 4}
        images = Pack(folder, "map")
        data = Augmented(images.at(stored) if stored else images, Augment(flip="random", **moves, **norm))

        def stream() -> Iterator[Any]:
            torch.set_num_threads(threads)
            try:
                yield from itertools.islice(Feed(data, job.batch, 0).batches(), count // job.batch)
            finally:
                torch.set_num_threads(1)

        return stream

    return arm


def grain(workers: int) -> Callable[[Job, int], Stream]:
    """Google's grain."""

    def arm(job: Job, count: int) -> Stream:
        import grain.python as pygrain

        data = pygrain.MapDataset.source(Samples(job)).shuffle(seed=0).repeat()
        data = data.to_iter_dataset().batch(job.batch, batch_fn=default_collate)
        if workers:
            data = data.mp_prefetch(pygrain.MultiprocessingOptions(num_workers=workers))
        return lambda: itertools.islice(iter(data), count // job.batch)

    return arm


def _pair(item: tuple[Any, int]) -> dict[str, Any]:
    return {"raw": item[0] if isinstance(item[0], bytes) else item[0].tobytes(), "label": item[1]}


def _raw(data: bytes, size: int) -> Any:
    return data if size else np.frombuffer(data, np.uint8).reshape(3, 32, 32)


def _served(item: dict[str, Any], size: int) -> tuple[Tensor, int]:
    return one(_raw(item["raw"], size), size), item["label"]


def _collated(items: list[dict[str, Any]], size: int) -> Any:
    return default_collate([_served(item, size) for item in items])


def litdata(workers: int) -> Callable[[Job, int], Stream]:
    """Lightning's litdata, from its own chunks on the local disk."""

    def arm(job: Job, count: int) -> Stream:
        import litdata as lit

        folder = job.folder / "litdata"
        if not folder.exists():
            lit.optimize(_pair, list(zip(job.raw, job.labels, strict=True)), str(folder), num_workers=1,
                         chunk_bytes="64MB")  # fmt: skip

        def stream() -> Iterator[Any]:
            left = count // job.batch
            while left > 0:
                data = lit.StreamingDataset(
                    str(folder), shuffle=True, transform=functools.partial(_served, size=job.size)
                )
                loader = lit.StreamingDataLoader(data, batch_size=job.batch, num_workers=workers)
                for batch in itertools.islice(loader, left):
                    yield batch
                    left -= 1

        return stream

    return arm


def streaming(workers: int) -> Callable[[Job, int], Stream]:
    """MosaicML streaming, from its own shards on the local disk."""

    def arm(job: Job, count: int) -> Stream:
        import streaming as mds

        folder = job.folder / "streaming"
        if not folder.exists():
            with mds.MDSWriter(out=str(folder), columns={"raw": "bytes", "label": "int"}) as out:
                for item in zip(job.raw, job.labels, strict=True):
                    out.write(_pair(item))

        data = mds.StreamingDataset(local=str(folder), shuffle=True, batch_size=job.batch)
        made = functools.partial(_collated, size=job.size)

        def stream() -> Iterator[Any]:
            left = count // job.batch
            while left > 0:
                loader = DataLoader(data, job.batch, num_workers=workers, collate_fn=made)
                for batch in itertools.islice(loader, left):
                    yield batch
                    left -= 1

        return stream

    return arm


def spdl(workers: int) -> Callable[[Job, int], Stream]:
    """SPDL's pipeline: threads in this process, as its manual builds them."""

    def arm(job: Job, count: int) -> Stream:
        from spdl.pipeline import PipelineBuilder

        samples = Samples(job)

        def stream() -> Iterator[Any]:
            builder = PipelineBuilder().add_source(job.ids(count)).pipe(samples.__getitem__, concurrency=workers)
            pipeline = builder.aggregate(job.batch).pipe(default_collate).add_sink(3).build(num_threads=workers)
            with pipeline.auto_stop():
                yield from pipeline.get_iterator(timeout=60)

        return stream

    return arm


def _rows(rows: dict[str, list[Any]], size: int) -> dict[str, list[Any]]:
    return {"image": [one(_raw(raw, size), size) for raw in rows["raw"]], "label": rows["label"]}


def hugging_face(workers: int) -> Callable[[Job, int], Stream]:
    """Hugging Face datasets: Arrow on the disk, augmented by `set_transform`."""

    def arm(job: Job, count: int) -> Stream:
        import datasets

        folder = job.folder / "datasets"
        if not folder.exists():
            items = [_pair(item) for item in zip(job.raw, job.labels, strict=True)]
            datasets.Dataset.from_list(items).save_to_disk(str(folder))
        data = datasets.load_from_disk(str(folder))
        data.set_transform(functools.partial(_rows, size=job.size))
        loader = DataLoader(data, job.batch, sampler=job.ids(count), num_workers=workers)
        return lambda: loader

    return arm


PLAIN = {f"DataLoader, {w} workers": plain(w) for w in (0, 1, 2)}
OURS = {
    "Pack": packs(1, as_bytes=False),
    "Pack again": packs(1, as_bytes=False),
    "Pack, 2 threads": packs(2, as_bytes=False),
    "Pack, bytes out": packs(1, as_bytes=True),
    "Pack, smaller copies stored": packs(1, as_bytes=False, stored=STORED),
}
PEERS = {
    "grain": grain(0),
    "grain, 2 workers": grain(2),
    "litdata, 2 workers": litdata(2),
    "streaming, 2 workers": streaming(2),
    "spdl, 2 threads": spdl(2),
    "datasets, 2 workers": hugging_face(2),
}
ARMS = {**PLAIN, **OURS, **PEERS}
