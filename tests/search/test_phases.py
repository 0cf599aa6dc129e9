"""What a search changes in a recipe."""

from __future__ import annotations

import halftime as ht
from halftime.methods import SGD, Muon
from halftime.search.phases import changed, optimizer_of


def test_the_rates_of_other_groups_keep_their_ratio():
    recipe = ht.Recipe([Muon(lr=0.02, rest_lr=0.004)], steps=10)
    moved = optimizer_of(changed(recipe, lr=0.01, weight_decay=0.1))
    assert moved == Muon(lr=0.01, rest_lr=0.002, weight_decay=0.1)
    own = optimizer_of(
        changed(ht.Recipe([Muon(lr=0.02, kernel_lr=0.06, rest_lr=0.004)], steps=10), lr=0.04, rest_lr=0.1)
    )
    assert own == Muon(lr=0.04, kernel_lr=0.12, rest_lr=0.1)


def test_what_is_none_stays():
    assert optimizer_of(changed(ht.Recipe([SGD(lr=0.1)], steps=10), lr=None, weight_decay=None)) == SGD(lr=0.1)
