"""Shards: what is plain stays as it is. Real shards are in tests/contract/test_ranks.py."""

from __future__ import annotations

import torch

from halftime.data.shards import parted, whole


def test_plain_tensors_stay_what_they_are() -> None:
    tree = {"a": torch.ones(2), "b": [torch.zeros(1), 3, "text"]}
    kept = whole(tree)
    assert kept["a"] is tree["a"]
    assert kept["b"][1:] == [3, "text"]
    assert parted(tree["a"], torch.zeros(2)) is tree["a"]
    assert parted(tree, {"a": torch.zeros(2)})["a"] is tree["a"]
    assert parted(5, torch.zeros(2)) == 5
