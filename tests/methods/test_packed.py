"""Packed: the same batches from flat files; what has chance in it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from halftime.data.feed import Feed, Tensors
from halftime.data.images import Images
from halftime.errors import BadData
from halftime.methods import OnDevice, Packed
from halftime.methods.packed import packed


class Rows:
    """Read sample by sample, as most data sets are; counts how often."""

    def __init__(self, noise: float = 0.0) -> None:
        self.noise, self.reads = noise, 0

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.reads += 1
        return torch.full((3, 4, 4), float(index)) + self.noise * torch.randn(1), index % 5


@pytest.mark.parametrize("where", ["memory", "map", "device"])
def test_batches_are_the_same_bit_for_bit(where: str, tmp_path: Path) -> None:
    plain = Feed(Rows(), 16, seed=3)
    served = Feed(packed(Rows(), str(tmp_path), where), 16, seed=3)  # type: ignore[arg-type]
    for step in range(5):
        for one, other in zip(plain.look(step), served.look(step), strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)


def test_augmentation_of_dense_data_stays_their_own(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8)
    images = Images(pixels, torch.arange(40), [0.5] * 3, [0.2] * 3, shift=2, flip=True)
    served = packed(images, str(tmp_path), "map")
    assert served.columns[0].data_ptr() != pixels.data_ptr()
    for step in range(4):
        one, other = (Feed(d, 16, seed=1).look(step) for d in (images, served))
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_the_second_run_finds_the_pack(tmp_path: Path) -> None:
    packed(Rows(), str(tmp_path))
    (folder,) = tmp_path.iterdir()
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    again = Rows()
    packed(again, str(tmp_path))
    assert (folder / "manifest.json").stat().st_mtime_ns == stamp
    assert again.reads <= 40 + 16  # the digest and the check, not a second packing


def test_a_damaged_pack_is_made_again(tmp_path: Path) -> None:
    packed(Rows(), str(tmp_path))
    (folder,) = tmp_path.iterdir()
    (folder / "manifest.json").write_text("{}")
    assert torch.equal(packed(Rows(), str(tmp_path))[7][0], torch.full((3, 4, 4), 7.0))


def test_other_data_have_another_pack(tmp_path: Path) -> None:
    packed(Tensors(torch.arange(4)), str(tmp_path))
    packed(Tensors(torch.arange(4) + 1), str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2


def test_samples_with_chance_in_them_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="Packed: Rows gives other samples each time"):
        packed(Rows(noise=0.1), str(tmp_path))
    assert list(tmp_path.iterdir()) == []  # nobody will ever be served from it


class Boxes(Rows):
    """Every sample has another number of boxes, which makes no batch without padding."""

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
        return torch.zeros(3, 4, 4), {"boxes": torch.ones(index % 3, 4), "classes": torch.zeros(index % 3).long()}


def test_samples_that_make_no_batch_by_themselves_make_one_from_the_pack(tmp_path: Path) -> None:
    _, targets = packed(Boxes(), str(tmp_path)).batch(torch.tensor([1, 2]), torch.Generator())
    assert targets["boxes"].shape == (2, 2, 4)
    assert targets["classes"].tolist() == [[0, -1], [0, 0]]


class Pieces:
    """Rows of a longer column, of which a sample takes several."""

    def __init__(self) -> None:
        self.columns = (torch.arange(12),)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.columns[0][3 * index : 3 * index + 3], torch.tensor(index)


def test_columns_that_are_longer_than_the_data_set_are_read_by_sample(tmp_path: Path) -> None:
    pieces, labels = packed(Pieces(), str(tmp_path)).batch(torch.tensor([2, 0]), torch.Generator())
    assert pieces.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert labels.tolist() == [2, 0]


def test_it_promises_rounding_at_most_and_shares_a_slot() -> None:
    assert Packed.exact
    assert Packed.slot == OnDevice.slot == "storage"
