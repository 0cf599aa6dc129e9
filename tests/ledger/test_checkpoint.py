"""A checkpoint is whole or not there; what it cannot hold is refused by name."""

import errno
import math
import random
from collections import Counter

import pytest
import torch

from bench import damage, mutations
from halftime.errors import BadCheckpoint, HalftimeError
from halftime.ledger import checkpoint


def test_nested_state_comes_back(tmp_path):
    tied = torch.randn(3, 4)
    state = {
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp": tied}, 7: {}}, "betas": (0.9, 0.999)},
        "tied": [tied, tied[:2], tied.t()],
        "empty": torch.empty(0, 5),
        "types": [torch.tensor([True, False]), torch.tensor(5, dtype=torch.int64), torch.ones(2, dtype=torch.bfloat16)],
        "plain": [None, True, False, 0, -3, 0.1, -math.inf, "text — ünï\n", {}, []],
        1.5: {True: "keys that are no text"},
    }
    checkpoint.write(tmp_path, 12, state)
    step, found, notice = checkpoint.read(tmp_path)
    assert (step, notice) == (12, "")
    same(found, state)


def same(found, wanted):
    if isinstance(wanted, torch.Tensor):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        assert torch.equal(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        assert [type(key) for key in found] == [type(key) for key in wanted]
        for key, value in wanted.items():
            same(found[key], value)
    elif isinstance(wanted, (list, tuple)):  # a tuple comes back as a list
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    else:
        assert found == wanted
        assert type(found) is type(wanted)


def test_tied_tensors_come_back_apart(tmp_path):
    tied = torch.zeros(2)
    checkpoint.write(tmp_path, 1, {"a": tied, "b": tied})
    found = checkpoint.read(tmp_path)[1]
    found["a"] += 1
    assert found["b"].sum() == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [{"b": object()}]}, "state.a[0].b is a object"),
        ({"a": {3: {1, 2}}}, "state.a.3 is a set"),
        ({"a": b"bytes"}, "state.a is a bytes"),
        ({"a": {(1, 2): 3}}, "a key of state.a is a tuple"),
        ({"a": {b"k": 3}}, "a key of state.a is a bytes"),
    ],
)
def test_what_only_pickle_could_store_is_refused_by_name(tmp_path, value, said):
    with pytest.raises(HalftimeError, match="which a checkpoint cannot hold") as refused:
        checkpoint.write(tmp_path, 1, value)
    assert str(refused.value).startswith(said)
    assert list(tmp_path.iterdir()) == []


def test_the_newest_two_are_kept(tmp_path):
    for step in (5, 6, 1000):
        checkpoint.write(tmp_path, step, {"x": torch.ones(1)})
    (tmp_path / "step-000000000004.safetensors.part").write_bytes(b"left by a kill")
    checkpoint.write(tmp_path, 1001, {})
    names = [f"step-00000000{step}{end}" for step in (1000, 1001) for end in (".json", ".safetensors")]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)


def test_damage_is_noticed_said_and_the_one_before_used(tmp_path):
    _, rows = mutations.trials(tmp_path, 20 * (len(mutations.CHANGES) + 1), random.Random(0))
    assert {row["damage"]: row["how"] for row in rows if row["missed"]} == {}
    assert min(row["n"] for row in rows) == 20


def test_the_notice_names_the_file_and_the_step(tmp_path):
    for step in (1, 2):
        checkpoint.write(tmp_path, step, {})
    (tmp_path / "step-000000000002.safetensors").write_bytes(b"")
    notice = checkpoint.read(tmp_path)[2]
    assert str(tmp_path / "step-000000000002.json") in notice
    assert notice.endswith("going on from step 1")


def test_nothing_whole_is_one_line(tmp_path):
    with pytest.raises(BadCheckpoint, match="holds no checkpoint: start the run again"):
        checkpoint.read(tmp_path)
    for step in (1, 2):
        checkpoint.write(tmp_path, step, {})
    for path in tmp_path.glob("*.json"):
        path.write_bytes(b"{}")
    with pytest.raises(BadCheckpoint, match="and no older one is whole: start the run again") as refused:
        checkpoint.read(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("error", damage.ERRORS, ids=errno.errorcode.get)
def test_a_failing_disk_leaves_the_last_one_whole(tmp_path, error):
    found, at = Counter(), 1
    while True:
        reached, problem = damage.checkpoint_fault(tmp_path / str(at), at, error)
        if not reached:
            break
        found[problem] += 1
        at += 1
    assert found == {"": at - 1}
    assert at > 12  # so many operations there are to fail


def test_replace_leaves_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "weights"
    checkpoint.replace(path, b"old")
    checkpoint.replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_remove_leaves_nothing(tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoint.write(folder, 1, {})
    checkpoint.remove(folder)
    assert not folder.exists()
    checkpoint.remove(folder)  # nothing there is fine, too
