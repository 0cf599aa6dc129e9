"""Does the guard keep trainings alive in 16 bits, cost little, and hold its tongue when nothing is wrong?

Claim: ten injected faults, 20 runs each, all reach the target under MixedPrecision(fp16) and Guard; when nothing
happens a training takes at most 3 % longer, and 20 clean runs raise no alarm.

How: the digits with a network of linear layers (float16 convolutions take ages on a CPU) to 94 %, the digits' own
recipe in float16, one seed a run. A fault comes in the middle half of the training, at a step drawn from the seed. Each
fault is tried without the guard too, three runs, to show what it does. The cost is that of whole runs with and without,
interleaved in random order; a second arm without is the error of the method.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import halftime as ht
from bench import tables
from bench.workloads import recipe_of
from halftime.methods import Guard, MixedPrecision
from halftime.workloads import get

TARGET = 0.94  # of the unseen digits: a little above logistic regression's 0.937
WIDTH = 384
SAMPLE = 41  # the one that is always broken
AWAY = 64.0  # added to every logit, which no softmax notices: the mark of weights whose gradient overflows


def network() -> nn.Module:
    """Two hidden layers."""
    hidden = (nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(WIDTH, 10), Rescaled())


class Rescaled(nn.Module):
    """What goes through it times a number that is part of the network's state; one, until a fault comes."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, outputs: Tensor) -> Tensor:
        """The outputs in 32 bits."""
        return outputs.float() * self.factor


Fault = Callable[["Broken"], None]


class Broken:
    """A workload in which something goes wrong at one step, and the handles to make it go wrong.

    Args:
        fault: called with this at every forward pass in training; `now` says whether the moment has come.
        at: the step of the fault, from 0.
    """

    def __init__(self, fault: Fault | None, at: int) -> None:
        self.fault, self.at, self.step, self.seen = fault, at, -1, 0
        self.net: nn.Module = nn.Identity()
        self.inputs = self.ids = torch.empty(0)
        self.change: Callable[[Tensor], Tensor] = _as_it_is

    @property
    def now(self) -> bool:
        """Whether this is the step of the fault, also when it is done again."""
        return self.step == self.at

    @property
    def once(self) -> bool:
        """Whether this is the first try of that step."""
        return self.now and not self.seen

    @property
    def last(self) -> nn.Linear:
        """The last linear layer."""
        return [m for m in self.net.modules() if isinstance(m, nn.Linear)][-1]

    def workload(self) -> ht.Workload:
        """The digits with the fault inside."""
        whole = get("digits")
        return dataclasses.replace(
            whole, name="digits_linear", model=self._made, target=TARGET, train=Counted(whole.train, self),
            loss=lambda outputs, targets: self._changed(whole.loss(outputs, targets)),
        )  # fmt: skip

    def _made(self) -> nn.Module:
        self.net = network()
        self.net.register_forward_pre_hook(self._before)
        return self.net

    def _before(self, net: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
        if not net.training or self.fault is None:
            return None
        self.inputs, self.change = inputs[0], _as_it_is
        with torch.no_grad():
            self.fault(self)
        self.seen += self.now
        return (self.inputs,)

    def _changed(self, loss: Tensor) -> Tensor:
        return self.change(loss) if self.net.training else loss


class Counted:
    """The data set, which counts the batches and knows who is in them."""

    def __init__(self, dataset: Any, broken: Broken) -> None:
        self.dataset, self.broken, self.columns = dataset, broken, dataset.columns

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def batch(self, indices: Tensor, generator: torch.Generator) -> Any:
        images, labels = self.dataset.batch(indices, generator)
        self.broken.step += 1  # one batch is looked at before the first step: step 0 is the first that counts
        if self.broken.fault is corrupted_sample:
            images = torch.where((indices == SAMPLE)[:, None, None, None], torch.nan, images)
        return images, labels


class _Overflowing(torch.autograd.Function):
    """A loss as it is, whose gradient is infinite at any scale."""

    @staticmethod
    def forward(_: Any, loss: Tensor) -> Tensor:  # type: ignore[override]
        return loss.clone()

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad * torch.inf


def _as_it_is(loss: Tensor) -> Tensor:
    return loss


def nan_in_a_batch(broken: Broken) -> None:
    if broken.now:
        broken.inputs = broken.inputs.clone()
        broken.inputs[0, 0, 0, 0] = torch.nan


def infinite_batch(broken: Broken) -> None:
    if broken.now:
        broken.inputs = torch.full_like(broken.inputs, torch.inf)


def corrupted_sample(_: Broken) -> None:
    """One sample is not a number whenever it comes; `Counted` sees to it."""


def garbage_batch(broken: Broken) -> None:
    """Finite, but beyond all measure."""
    if broken.now:
        broken.inputs = broken.inputs * 1e7


def exploding_layer(broken: Broken) -> None:
    if broken.once:
        broken.last.weight.mul_(1e4)


def weight_becomes_nan(broken: Broken) -> None:
    if broken.once:
        broken.last.weight[0, 0] = torch.nan


def loss_is_nan_once(broken: Broken) -> None:
    """As from hardware: it does not come again."""
    if broken.once:
        broken.change = lambda loss: loss * torch.nan


def spike(broken: Broken) -> None:
    if broken.now:
        broken.change = lambda loss: loss * 1e3


def layer_overflows(broken: Broken) -> None:
    """A rescaling that changes nothing in 32 bits and overflows in 16."""
    if broken.once:
        broken.last.weight.mul_(1e5)
        broken.last.bias.mul_(1e5)
        broken.net[-1].factor.div_(1e5)  # type: ignore[index]


def scale_collapses(broken: Broken) -> None:
    """Weights at which the gradient overflows at any scale, though the loss is as it was."""
    if broken.once:
        broken.last.bias.add_(AWAY)
    if broken.step >= broken.at and broken.last.bias.mean() > AWAY / 2:
        broken.change = _Overflowing.apply


FAULTS: tuple[Fault, ...] = (nan_in_a_batch, infinite_batch, corrupted_sample, garbage_batch, exploding_layer,
                             weight_becomes_nan, loss_is_nan_once, spike, layer_overflows, scale_collapses)  # fmt: skip


def run(fault: Fault | None, guard: bool, seed: int, folder: Path) -> ht.Run:
    """One training."""
    recipe = recipe_of("digits")[1].plus(MixedPrecision("fp16"), *([Guard()] if guard else []))
    whole = 14 * 20  # steps
    broken = Broken(fault, random.Random(seed).randrange(whole // 4, 3 * whole // 4))
    return ht.train(broken.workload(), recipe, seed, device="cpu", ledger=folder, quiet=True)


def faults(runs: int, folder: Path) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """Every fault, with the guard and a little without."""
    figures, rows = [], []
    for fault in FAULTS:
        found = [run(fault, True, seed, folder) for seed in range(runs)]
        bare = [run(fault, False, seed, folder) for seed in range(min(3, runs))]
        failed = sum(not (r.hit and r.state == "finished") for r in found)
        name = fault.__name__.replace("_", " ")
        asked = f"Under fire: {name}; how many runs do not reach the target in spite of the guard?"
        figures.append(tables.count(f"fault: {name}", asked, "0", "miss it", failed, runs))
        rows.append({"fault": name, "with guard, reached": f"{runs - failed} of {runs}",
                     "seen in": sum(bool(r.events) for r in found),
                     "without, reached": f"{sum(bool(r.hit) and r.state == 'finished' for r in bare)} of {len(bare)}",
                     "what the record says": next((text for r in found for text in r.events), "")[:110]})  # fmt: skip
    return figures, rows


def clean(runs: int, folder: Path) -> tuple[list[tables.Figure], list[dict[str, Any]]]:
    """False alarms, and the cost of a training when nothing happens."""
    arms: dict[str, list[float]] = {"without": [], "without again": [], "guard": []}
    hits, alarms, rng = dict.fromkeys(arms, 0), 0, random.Random(0)
    for seed in range(runs):
        for arm in rng.sample(list(arms), len(arms)):
            found = run(None, arm == "guard", seed, folder)
            arms[arm].append(found.seconds)
            hits[arm] += found.hit is not None
            alarms += bool(found.events) if arm == "guard" else 0
    beyond = {arm: [100 * (a / b - 1) for a, b in zip(arms[arm], arms["without"], strict=True)] for arm in arms}
    figures = [
        tables.count("false alarms", "How many clean runs raise an alarm?", "0", "do", alarms, runs),
        tables.sample("guard overhead", "What does Guard add to a clean training?", "at most 3", "%", beyond["guard"]),
    ]
    rows = [{"arm": arm, "reached": f"{hits[arm]} of {runs}", "seconds, median": tables.quartiles(arms[arm])[1],
             "beyond 'without', median %": tables.quartiles(beyond[arm])[1]} for arm in arms]  # fmt: skip
    return figures, rows


def main() -> None:
    parser = tables.options(__doc__)
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="runs of each fault, and clean ones (20)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run(None, True, 0, Path(folder))
        costs, arms = clean(given.runs, Path(folder))
        figures, rows = faults(given.runs, Path(folder))
    tables.publish(given, figures + costs, {"faults": rows, "cost of a clean run": arms})


if __name__ == "__main__":
    main()
