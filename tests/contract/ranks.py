"""What one of two processes trains, on the CPU: every recipe it is told, one after the other. Run by test_ranks.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

import halftime as ht
from halftime.errors import HalftimeError
from halftime.methods import ALL, SGD, MultiDevice

from .tasks import FP16, TRAIN, setting_of, task


def quiet_network() -> torch.nn.Module:
    """Takes images of any size, with batch normalisation; nothing in it is left to chance."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3, padding=1, bias=False),  # a bias before a norm has no gradient but rounding
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(96, 3),
    )


def uneven() -> ht.Workload:
    """Validation data that two ranks cannot share evenly: three batches, the last one small."""
    valid = tuple(torch.cat([column] * 10)[:600] for column in task().valid.columns)
    return task(model=quiet_network, valid=valid, evaluations=2)


def what(kind: str, how: str, steps: int = 7) -> ht.Recipe:
    """A recipe with one method beside the one for several devices, which stands there in one process too."""
    methods = [setting_of(one) for one in ALL if one.__name__ == kind and one is not MultiDevice]
    optimizer = [] if any(m.slot == "optimizer" for m in methods) else [SGD(lr=0.1)]
    return ht.Recipe([*methods, *optimizer, MultiDevice(how=how)], steps=steps, batch_size=16)


def overflowing() -> ht.Workload:
    """One sample makes the first layer overflow in 16 bits; in 32, the norm behind it copes with that."""
    images = TRAIN[0].clone()
    images[17] *= 1e6

    def network() -> torch.nn.Module:
        first, last = torch.nn.Linear(64, 8), torch.nn.Linear(8, 3)
        return torch.nn.Sequential(torch.nn.Flatten(), first, torch.nn.LayerNorm(8), torch.nn.ReLU(), last)

    return task(model=network, train=(images, TRAIN[1]), evaluations=2)


def main(folder: Path, jobs: list[list[str]]) -> None:
    """Train each of (method, how), and write its record or the reason why not to a file of its rank."""
    torch.set_num_threads(1)
    guarded = what("Guard", "replicate").plus(FP16)  # a rank alone sees the overflow, and all must do the same about it
    ht.train(overflowing(), guarded, seed=3, device="cpu", ledger=folder / "overflow", quiet=True)
    found = []
    for kind, how in jobs:
        try:
            run = ht.train(uneven(), what(kind, how), seed=3, device="cpu", ledger=folder, quiet=True)
            found.append([kind, how, run.id])
        except HalftimeError as error:
            found.append([kind, how, f"{type(error).__name__}: {error}"])
    from halftime.data.ranks import here

    (folder / f"rank-{here().rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
