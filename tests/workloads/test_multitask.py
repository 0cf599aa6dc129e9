"""The workload of three heads: turned photographs, their targets, and the score of each head in the record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

import halftime as ht
from halftime.data.feed import Feed, fetch
from halftime.data.turned import TurnedImages, turned
from halftime.errors import BadWorkload
from halftime.methods import SGD, AdamW, AlternatingFlip, TaskWeights
from halftime.workloads import multitask

PIXELS = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(64) % 10


def small() -> ht.Workload:
    made = multitask.on("turned", (PIXELS, LABELS), (PIXELS, LABELS), (4, 4, 4), target=0.6, margin=0.01, shift=2)
    return dataclasses.replace(made, evaluations=2)


def test_each_image_is_turned_by_its_own_number_of_quarters() -> None:
    found = turned(PIXELS[:8], torch.arange(8) % 4)
    for i in range(8):
        assert torch.equal(found[i], torch.rot90(PIXELS[i], i % 4, (1, 2)))


def test_turns_are_drawn_anew_in_training_and_given_in_validation() -> None:
    work = small()
    one, again, later = (fetch(work.train, torch.arange(64), (3, epoch, 0)) for epoch in (0, 0, 1))
    assert torch.equal(one[1]["rotation"], again[1]["rotation"])
    assert not torch.equal(one[1]["rotation"], later[1]["rotation"])
    assert len(one[1]["rotation"].unique()) == 4
    whole = fetch(work.valid, torch.arange(64), (0, 0, 0))
    part = fetch(work.valid, torch.arange(32, 64), (0, 0, 32))
    assert torch.equal(whole[0][32:], part[0])
    assert torch.equal(whole[1]["rotation"][32:], part[1]["rotation"])
    assert torch.equal(one[1]["class"], LABELS)
    assert one[1]["animal"].tolist() == [int(kind in multitask.ANIMALS) for kind in LABELS.tolist()]


def test_a_sample_alone_is_that_of_the_batch() -> None:
    data = TurnedImages(PIXELS, LABELS, (2,), [0.5], [0.25], turns=torch.arange(64) % 4)
    image, targets = data[5]
    batch, wanted = data.batch(torch.tensor([5]), torch.Generator())
    assert torch.equal(image, batch[0])
    assert {name: int(t) for name, t in targets.items()} == {name: int(t[0]) for name, t in wanted.items()}


def test_the_record_has_the_score_of_each_head(tmp_path: Path) -> None:
    recipe = ht.Recipe([AdamW(lr=0.01), TaskWeights()], steps=6, batch_size=16)
    run = ht.train(small(), recipe, device="cpu", ledger=tmp_path, quiet=True)
    last = run.evaluations[-1]
    assert list(last.scores) == ["class", "animal", "rotation"]
    assert last.score == pytest.approx(sum(last.scores.values()) / 3)
    assert {key for key in ("loss/class", "loss/animal", "loss/rotation") if run.series(key)} != set()
    assert Feed(small().train, 16, 0).steps_per_epoch == 4


def test_mirroring_a_turned_photograph_is_refused(tmp_path: Path) -> None:
    recipe = ht.Recipe([SGD(lr=0.1), AlternatingFlip()], steps=2, batch_size=16)
    with pytest.raises(BadWorkload, match=r"AlternatingFlip needs targets that follow their image.*rotation"):
        ht.train(small(), recipe, device="cpu", ledger=tmp_path, quiet=True)
