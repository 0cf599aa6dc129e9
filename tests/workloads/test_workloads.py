"""The table of built-in workloads: listing is light, names are checked, each trains."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch

import halftime as ht
from halftime.errors import BadValue, UnknownName
from halftime.methods import AdamW, OneCycle
from halftime.workloads import ALL, get

SMALL = {
    "digits": "",
    "fashion_mnist": "fashion_mnist",
    "cifar10": "cifar10",
    "shakespeare": "tinyshakespeare",
    "fashion_mnist_textbook": "fashion_mnist",
    "blood_cells": "bccd",
    "multitask": "cifar10",
}
FULL = {"digits_resnet18", "fashion_mnist_resnet18", "cifar10_resnet18", "shakespeare_gpt"}


def test_the_table_is_what_is_promised():
    assert set(ALL) == set(SMALL) | FULL
    for name, builtin in ALL.items():
        assert builtin.name == name
        assert "\n" not in builtin.about


def test_listing_imports_no_torch():
    code = "import sys, halftime.workloads as w; print(len(w.ALL), 'torch' in sys.modules, 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["11", "False", "False"]


def test_an_unknown_name_points_to_the_nearest():
    with pytest.raises(UnknownName, match="there is no workload 'fashion'; did you mean 'fashion_mnist'"):
        get("fashion")


def test_the_target_can_be_another():
    assert get("digits", target=0.5).target == 0.5
    assert get("digits").target != 0.5
    with pytest.raises(BadValue, match="outside the score's range"):
        get("digits", target=97)


@pytest.mark.parametrize("name", SMALL)
def test_each_trains(name, real, tmp_path):
    if SMALL[name]:
        real(SMALL[name])
    workload = dataclasses.replace(get(name), evaluations=1)
    few = dataclasses.replace(workload, valid=[workload.valid[i] for i in range(64)])
    recipe = ht.Recipe([AdamW(lr=1e-3), OneCycle()], steps=2, batch_size=8)
    run = ht.train(few, recipe, ledger=tmp_path, device="cpu", quiet=True)
    assert run.state == "finished"
    assert run.score is not None
    assert not run.hit  # an untrained network must not meet the target


@pytest.mark.parametrize("name", sorted(FULL))
def test_the_full_size_ones_take_their_data(name, real):
    needed = SMALL[ALL[name].module]
    if needed:
        real(needed)
    workload = get(name)
    inputs, targets = workload.train.batch(torch.arange(2), torch.Generator().manual_seed(0))
    model = workload.model().eval()
    with torch.no_grad():
        outputs = model(inputs)
    assert workload.loss(outputs, targets).ndim == 0
    assert workload.name == name


@pytest.mark.parametrize("name", SMALL)
def test_a_workload_says_how_it_is_judged(name, real):
    if SMALL[name]:
        real(SMALL[name])
    workload = get(name)
    assert workload.target is not None
    assert workload.margin is not None
    assert workload.tolerance > 0
    train, valid = workload.train, workload.valid
    assert len(train) >= len(valid) > 0
    one, two = (valid.batch(torch.arange(4), torch.Generator().manual_seed(s))[0] for s in (0, 1))
    assert torch.equal(one, two)  # judging leaves nothing to chance
    assert train.batch(torch.arange(4), torch.Generator().manual_seed(0))[0].shape == one.shape
