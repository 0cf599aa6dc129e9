"""OnDevice: the same batches, cut where the training runs; refused where that cannot be."""

from __future__ import annotations

import pytest
import torch

from halftime.data.augmented import Augment, Augmented
from halftime.data.feed import Feed, Tensors
from halftime.data.images import Images
from halftime.errors import BadData
from halftime.methods import OnDevice
from halftime.methods.on_device import on_device

PIXELS = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
DATA = {
    "tensors": Tensors(PIXELS, torch.arange(40)),
    "images": Images(PIXELS, torch.arange(40), [0.5] * 3, [0.2] * 3, shift=2, flip=True),
    "augmented": Augmented(Tensors(PIXELS, torch.arange(40)), Augment(pad=2, flip="alternating", cutout=3)),
}
DEVICES = ("cpu", *(["cuda"] if torch.cuda.is_available() else []))


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("device", DEVICES)
def test_batches_are_the_same(name: str, device: str) -> None:
    where = torch.device(device)
    feed = Feed(DATA[name], 16, seed=2, device=where)
    moved = OnDevice().data(feed)
    assert moved.dataset.columns[0].device.type == device
    for step in range(4):
        for one, other in zip(feed.look(step), moved.look(step), strict=True):
            assert other.device.type == device
            assert torch.allclose(one.float(), other.cpu().float(), atol=1e-6)


def test_on_its_own_device_nothing_is_copied() -> None:
    assert on_device(DATA["tensors"], torch.device("cpu")).columns[0].data_ptr() == PIXELS.data_ptr()


def test_data_that_are_read_one_by_one_are_refused_by_name() -> None:
    with pytest.raises(BadData, match="list is read sample by sample: use Packed"):
        on_device([(torch.zeros(2), 0)], torch.device("cpu"))


def test_data_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 2000))
    with pytest.raises(BadData, match=r"OnDevice: the data are .* GiB free"):
        on_device(DATA["tensors"], torch.device("cuda"))
    assert OnDevice.exact
