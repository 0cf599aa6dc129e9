"""SequenceGrowth: as many tokens a step as ever, fewer pieces as progress goes on, and no token twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import halftime as ht
from halftime.errors import BadWorkload
from halftime.methods import SGD, SequenceGrowth, SoftPrune
from halftime.methods.sequence_growth import cut, pieces_at
from tests.conftest import make_task
from tests.contract.tasks import task, trained, weights


@pytest.mark.parametrize(("length", "pieces"), [(64, 4), (64, 3), (63, 4), (7, 7), (9, 1)])
def test_tokens_are_kept_up_to_a_remainder(length: int, pieces: int) -> None:
    tokens = torch.arange(5 * length).view(5, length)
    short = cut(tokens, pieces)
    assert short.shape == (5 * pieces, length // pieces)
    assert len(short.unique()) == short.numel() > tokens.numel() - 5 * pieces
    for row, pieces_of in zip(tokens, short.view(5, pieces, -1), strict=True):
        assert torch.equal(row[: pieces_of.numel()], pieces_of.flatten())


def test_inputs_and_what_follows_are_cut_alike() -> None:
    text = torch.arange(50)
    inputs, targets = SequenceGrowth(shortest=0.25).batch(text[None, :-1], text[None, 1:], 0.0)
    assert torch.equal(inputs + 1, targets)
    assert inputs.shape == (4, 12)


def test_the_pieces_get_fewer_and_are_whole_in_the_end() -> None:
    for shortest, until in ((0.25, 0.6), (0.1, 1.0), (1.0, 0.5), (0.5, 0.0)):
        found = [pieces_at(p / 1000, shortest, until) for p in range(1001)]
        assert found == sorted(found, reverse=True)
        assert found[0] == (round(1 / shortest) if until else 1)
        assert found[-1] == 1


def test_a_sequence_is_never_cut_into_more_pieces_than_it_has_tokens() -> None:
    inputs, _ = SequenceGrowth(shortest=0.01).batch(torch.zeros(2, 3).long(), torch.zeros(2, 3).long(), 0.0)
    assert inputs.shape == (6, 1)


def test_images_are_refused_by_name_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadWorkload, match=r"^SequenceGrowth needs inputs and targets that are token numbers"):
        ht.train(make_task(), ht.Recipe([SGD(), SequenceGrowth()], steps=2), quiet=True, device="cpu")
    assert ht.Ledger(tmp_path / "ledger").runs == []


def test_weights_of_samples_go_with_all_their_pieces(tmp_path: Path) -> None:
    what = ht.Recipe([SGD(lr=0.1), SequenceGrowth(until=1.0), SoftPrune(share=0.8, until=1.0)], steps=20, batch_size=16)
    run = trained(task(), what, tmp_path)
    assert all(t.isfinite().all() for t in weights(run).values())


def test_its_range_is_checked() -> None:
    for field, value in (("shortest", 0.0), ("until", 1.5)):
        with pytest.raises(ht.InputError, match=rf"^SequenceGrowth\.{field} must be"):
            SequenceGrowth.from_dict({field: value})
