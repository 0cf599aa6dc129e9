"""Images in memory: whole-batch augmentation against one image at a time, and where its chance comes from."""

from __future__ import annotations

import pytest
import torch

from halftime.data.augment import mirrored, moved
from halftime.data.feed import Feed, digest
from halftime.data.images import Images, draw


def made(count: int = 40, channels: int = 3, height: int = 8, width: int = 6, **how) -> Images:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, channels, height, width), generator=generator, dtype=torch.uint8)
    mean, std = [0.1, 0.5, 0.9][:channels], [0.2, 0.3, 0.25][:channels]
    return Images(pixels, torch.arange(count) % 10, mean, std, **how)


def naive(image: torch.Tensor, down: int, right: int, flip: bool, pad: int) -> torch.Tensor:
    """Pad by reflection, crop, flip: one image at a time, with torch's own padding."""
    _, height, width = image.shape
    padded = torch.nn.functional.pad(image.float(), (pad,) * 4, mode="reflect")
    cut = padded[:, pad - down : pad - down + height, pad - right : pad - right + width].to(image.dtype)
    return cut.flip(-1) if flip else cut


@pytest.mark.parametrize(("shift", "flip"), [(0, True), (1, False), (4, True), (5, True)])
def test_augmentation_equals_its_naive_twin(shift, flip):
    data = made(shift=shift, flip=flip)
    indices = torch.tensor([3, 0, 39, 3, 17, 21, 8, 8])
    batch, labels = data.batch(indices, torch.Generator().manual_seed(5))
    moves, flips = draw(len(indices), shift, flip, torch.Generator().manual_seed(5))
    pixels = data.columns[0][indices]
    cut = [naive(image, *move, turn, shift) for image, move, turn in zip(pixels, moves.tolist(), flips, strict=True)]
    assert torch.equal(batch, data.normalised(torch.stack(cut)))
    assert torch.equal(labels, indices % 10)


def test_normalisation_is_by_channel():
    data = made()
    batch, _ = data.batch(torch.arange(40), torch.Generator())
    mean, std = torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1)
    torch.testing.assert_close(batch, (data.columns[0] / 255.0 - mean) / std)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()


def test_chance_comes_from_the_generator_alone():
    data, indices = made(shift=2, flip=True), torch.arange(16)
    before = torch.get_rng_state()
    one, two, other = (data.batch(indices, torch.Generator().manual_seed(s))[0] for s in (7, 7, 8))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_move_and_both_flips_occur():
    moves, flips = draw(2000, 2, True, torch.Generator().manual_seed(0))
    assert {tuple(m) for m in moves.tolist()} == {(a, b) for a in range(-2, 3) for b in range(-2, 3)}
    assert 0.4 < flips.float().mean() < 0.6


def test_a_move_of_nothing_is_the_image():
    images = made().columns[0]
    still = moved(images, torch.zeros(40, 2, dtype=torch.long), torch.zeros(40, dtype=torch.bool))
    assert torch.equal(still, images)
    assert still.data_ptr() != images.data_ptr()


def test_mirrored_is_reflection():
    padded = torch.nn.functional.pad(torch.arange(5.0)[None, None], (4, 4), mode="reflect")[0, 0]
    assert mirrored(torch.arange(-4, 9), 5).tolist() == padded.tolist()


def test_one_sample_is_not_augmented():
    data = made(shift=2, flip=True)
    image, label = data[11]
    assert torch.equal(image, made().batch(torch.tensor([11]), torch.Generator())[0][0])
    assert int(label) == 1


def test_serves_a_feed_and_has_a_digest_of_its_bytes():
    data = made(shift=1)
    inputs, targets = next(Feed(data, 16, seed=0).batches())
    assert inputs.shape == (16, 3, 8, 6)
    assert targets.shape == (16,)
    changed = made(shift=1)
    changed.columns[0][5, 0, 0, 0] += 1
    assert digest(made(shift=1)) == digest(data) != digest(changed)
