"""Windows of text: what is cut, what is judged, and the score."""

from __future__ import annotations

import math

import torch

from halftime.data.feed import slices
from halftime.measure.score import evaluate
from halftime.workloads import get
from halftime.workloads.shakespeare import Windows, nats


def test_windows_lie_side_by_side_and_targets_are_one_ahead():
    tokens = torch.arange(23, dtype=torch.uint8)
    windows = Windows(tokens, 5)
    assert len(windows) == 4
    inputs, targets = windows.batch(torch.arange(4), torch.Generator())
    assert inputs.flatten().tolist() == list(range(20))
    assert targets.flatten().tolist() == list(range(1, 21))
    assert inputs.dtype == targets.dtype == torch.int64
    for i in range(4):
        assert torch.equal(windows[i][0], inputs[i])
        assert torch.equal(windows[i][1], targets[i])


def test_an_exact_fit_leaves_room_for_the_last_target():
    assert len(Windows(torch.arange(20), 5)) == 3
    assert len(Windows(torch.arange(21), 5)) == 4


def test_jitter_moves_each_window_by_its_generator_alone():
    windows = Windows(torch.arange(1000), 10, jitter=True)
    every = torch.arange(len(windows)).repeat(20)
    one, two = (windows.batch(every, torch.Generator().manual_seed(3))[0] for _ in range(2))
    assert torch.equal(one, two)
    moved = one[:, 0] - every * 10
    assert set(moved[every < len(windows) - 1].tolist()) == set(range(10))
    assert int(one.max()) <= 998  # its target is the last token
    assert not torch.equal(one, windows.batch(every, torch.Generator().manual_seed(4))[0])


def test_the_score_is_the_mean_over_all_characters(real):
    real("tinyshakespeare")
    workload = get("shakespeare")

    class Even(torch.nn.Module):
        def forward(self, tokens):
            return torch.zeros(len(tokens), 65, tokens.shape[1])

    score, loss = evaluate(workload, Even(), torch.device("cpu"))
    assert abs(score - math.log(65)) < 1e-5
    assert abs(loss - score) < 1e-5


def test_validation_is_the_last_tenth_and_training_never_sees_it(real):
    real("tinyshakespeare")
    workload = get("shakespeare")
    (train,), (valid,) = workload.train.columns, workload.valid.columns
    assert (len(train), len(valid)) == (1_003_854, 111_540)
    judged = sum(inputs.numel() for inputs, _ in slices(workload.valid, 256))
    assert judged >= len(valid) - workload.valid.context


def test_nats_of_certainty_is_nothing():
    outputs = torch.full((1, 3, 2), -1e4)
    outputs[0, 1, 0] = outputs[0, 2, 1] = 1e4
    assert nats(outputs, torch.tensor([[1, 2]])).tolist() == [[0.0, 0.0]]
