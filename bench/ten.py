"""How many microseconds a step do ten methods add to an empty recipe, beyond what their mathematics costs?

Claim: at most 100. How: the tiny training of `bench.overhead` runs as a bare loop, as a bare loop into which ten
methods were written by hand with their plain parts, as an empty recipe, and as a recipe of the ten. A round runs all of
them once, in random order, in one process. What counts is (ten methods - empty recipe) - (by hand - bare), each round
for itself. Before anything is timed, both ways with ten methods must end with the same weights.

    python -m bench.ten --json bench/results/ten.json
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import cross_entropy

import halftime as ht
from bench import peers, tables
from bench.overhead import one, rounds
from bench.peers import BATCH, LR, SEED, Block
from halftime.methods import (
    EMA,
    AdamW,
    ClipGradients,
    FreezeEarly,
    Kaiming,
    LabelSmoothing,
    LayerRates,
    Lookahead,
    MixedPrecision,
    OneCycle,
)
from halftime.methods.clip_gradients import clip_before_step
from halftime.methods.ema import WeightAverage
from halftime.methods.freeze_early import Freezer, frozen_count
from halftime.methods.kaiming import kaiming_
from halftime.methods.label_smoothing import smoothed
from halftime.methods.layer_rates import layer_factors, scale_rates
from halftime.methods.lookahead import SlowWeights
from halftime.methods.one_cycle import one_cycle
from halftime.methods.sgd import decay_groups
from halftime.places import Method

PREDICTED = "at most 100"
TEN = (AdamW(lr=LR), OneCycle(), LayerRates(), ClipGradients(), Lookahead(), EMA(), LabelSmoothing(), Kaiming(),
       FreezeEarly(), MixedPrecision())  # fmt: skip


def by_hand(block: Block) -> None:
    """The ten in a loop of one's own."""
    model, steps = block.model, len(block.batches)
    torch.manual_seed(SEED)  # as the trainer before it draws weights
    kaiming_(model)
    optimizer = torch.optim.AdamW(decay_groups(model, 0.01), lr=LR, betas=(0.9, 0.999))
    scale_rates(optimizer, layer_factors(model))
    clip_before_step(optimizer)
    rates = [(group, group["lr"]) for group in optimizer.param_groups]
    freezer = Freezer(model)
    slow = SlowWeights(p for group in optimizer.param_groups for p in group["params"])
    average = WeightAverage(model)
    for step, (x, y) in enumerate(block.batches):
        for group, lr in rates:
            group["lr"] = lr * one_cycle(step / steps)
        freezer.freeze(frozen_count(step / steps, len(freezer.layers)))
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(x)
            loss = smoothed(cross_entropy(outputs, y), outputs)
        loss.backward()
        optimizer.step()
        slow.follow()
        average.update()


def recipe_of(methods: Sequence[Method]) -> Callable[[Block], None]:
    """A recipe of some methods as a user gets it, ledger and all."""
    return lambda block: peers.trained(block, ht.Recipe(methods, steps=len(block.batches), batch_size=BATCH))


ARMS: dict[str, Callable[[Block], None]] = {
    "bare": peers.bare,
    "by hand": by_hand,
    "by hand again": by_hand,
    "empty recipe": recipe_of(()),
    "ten methods": recipe_of(TEN),
}


def main(arguments: list[str] | None = None) -> int:
    parser = tables.options(__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=400, help="steps in a block")
    parser.add_argument("--warm", type=int, default=50, help="first steps of a block that are not timed")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the arms")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    peers.hush()
    (_, hand), (_, ten) = (one(name, given.steps, 1, ARMS) for name in ("by hand", "ten methods"))
    if not all(torch.equal(a, b) for a, b in zip(hand.parameters(), ten.parameters(), strict=True)):
        print("the ten methods do not end with the weights of the loop by hand", file=sys.stderr)
        return 1
    taken = rounds(list(ARMS), given, ARMS)
    rows = [dict(zip(("arm", "lower quartile (us)", "step (us)", "upper quartile (us)"),
                     (name, *tables.quartiles(values)), strict=True)) for name, values in taken.items()]  # fmt: skip
    extra = [(t - e) - (h - b) for t, e, h, b in zip(
        taken["ten methods"], taken["empty recipe"], taken["by hand"], taken["bare"], strict=True)]  # fmt: skip
    same = [a - b for a, b in zip(taken["by hand again"], taken["by hand"], strict=True)]
    figures = [
        tables.sample("ten methods: A/A", "How far is the loop by hand from itself?", "0", "us", same),
        tables.sample("ten methods: overhead", "How long is a step with ten methods beyond their mathematics and an "
                      "empty recipe?", PREDICTED, "us", extra),
    ]  # fmt: skip
    tables.publish(given, figures, {"Microseconds a step": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
