"""The arms of `bench.overhead`: the same tiny training through each framework, switched as lean as its manual allows.

Each arm gets `Block`: the network, an iterable of batches and a folder for what the framework wants to write. Peers
are imported inside their arm, so that one that is missing is a line in the table and not a crash.
"""

from __future__ import annotations

import dataclasses
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import halftime as ht
from halftime.data.feed import Tensors, shuffled
from halftime.train import train

SEED, BATCH, LR = 0, 32, 1e-3


def network() -> nn.Module:
    """An MLP small enough that the framework, not the arithmetic, is what one waits for."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def data(steps: int) -> tuple[Tensor, Tensor]:
    """Samples for one epoch of `steps` batches."""
    random = torch.Generator().manual_seed(SEED)
    x = torch.randn(steps * BATCH, 64, generator=random)
    return x, (x @ torch.randn(64, 10, generator=random)).argmax(1)


class Batches:
    """The batches of an epoch, cut from memory by the permutation that halftime draws, and when each was asked for."""

    batch_size = BATCH  # composer asks

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.stamps = x, y, list[float]()
        self.order = shuffled(SEED, 0, len(x))

    def __len__(self) -> int:
        return len(self.x) // BATCH

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for step in range(len(self)):
            self.stamps.append(time.perf_counter())
            chosen = self.order[step * BATCH : (step + 1) * BATCH]
            yield self.x[chosen], self.y[chosen]


class Stamped(Tensors):
    """The same rows for halftime's own feed, with the same stamps."""

    draws = False  # as the data set that it stands for

    def __init__(self, stamps: list[float], *columns: Tensor) -> None:
        super().__init__(*columns)
        self.stamps = stamps

    def batch(self, indices: Tensor, generator: torch.Generator) -> Any:
        self.stamps.append(time.perf_counter())
        return super().batch(indices, generator)


@dataclasses.dataclass
class Block:
    """What one arm gets for one block of steps, and what it leaves."""

    model: nn.Module
    batches: Batches
    folder: Path
    ends: list[float] = dataclasses.field(default_factory=list)  # when the last step was over, where an arm knows it

    def seconds(self, warm: int) -> float:
        """Seconds a step from the request of batch `warm` on."""
        stamps = self.batches.stamps[-len(self.batches) :]
        if self.ends:
            return (self.ends[0] - stamps[warm]) / (len(stamps) - warm)
        return (stamps[-1] - stamps[warm]) / (len(stamps) - 1 - warm)


def bare(block: Block) -> None:
    """The loop of every tutorial."""
    model = block.model
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    for x, y in block.batches:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()


def halftime(block: Block) -> None:
    """An empty recipe."""
    trained(block, ht.Recipe(steps=len(block.batches), batch_size=BATCH))


def trained(block: Block, recipe: ht.Recipe) -> None:
    """A recipe as a user gets it, ledger and all. It ends where its evaluation begins."""
    x, y = block.batches.x, block.batches.y
    workload = ht.Workload(
        name="overhead",
        model=lambda: block.model,
        train=Stamped(block.batches.stamps, x, y),
        valid=Stamped(block.ends, x[:BATCH], y[:BATCH]),
        loss=cross_entropy,
        score=ht.accuracy,
        evaluations=1,
    )
    train(workload, recipe, SEED, device="cpu", ledger=block.folder, quiet=True)


def lightning(block: Block) -> None:
    """Automatic optimization with everything off that can be switched off; it logs nothing."""
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    _lightning(block, logs=False, **dict.fromkeys(off, False))


def lightning_defaults(block: Block) -> None:
    """The defaults, and the loss logged, as halftime logs it."""
    _lightning(block, logs=True)


def _lightning(block: Block, logs: bool, **settings: Any) -> None:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = block.model

        def training_step(self, batch: Any, _: int) -> Tensor:
            loss = cross_entropy(self.model(batch[0]), batch[1])
            if logs:
                self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=LR)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = lightning.Trainer(accelerator="cpu", devices=1, max_steps=len(block.batches), max_epochs=1,
                                default_root_dir=block.folder, **settings)  # fmt: skip
    trainer.fit(Module(), block.batches)


def accelerate(block: Block) -> None:
    """The loop of its manual; it leaves batches that are no DataLoader as they are."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.SGD(block.model.parameters(), lr=LR)
    model, optimizer, batches = accelerator.prepare(block.model, optimizer, block.batches)
    for x, y in batches:
        optimizer.zero_grad()
        accelerator.backward(cross_entropy(model(x), y))
        optimizer.step()


def fastai(block: Block) -> None:
    """A Learner around torch's own SGD, without recorder and progress bar."""
    from fastai.basics import DataLoaders, Learner, OptimWrapper, Recorder

    def sgd(parameters: Any, **_: Any) -> Any:
        return OptimWrapper(parameters, torch.optim.SGD)

    learner = Learner(DataLoaders(block.batches, []), block.model, loss_func=cross_entropy, opt_func=sgd,
                      path=block.folder)  # fmt: skip
    learner.remove_cb(Recorder)
    learner.fit(1, lr=LR)


def composer(block: Block) -> None:
    """Its Trainer without loggers, bar and callbacks."""
    from composer import ComposerModel, Trainer

    class Model(ComposerModel):
        def __init__(self) -> None:
            super().__init__()
            self.model = block.model

        def forward(self, batch: Any) -> Tensor:
            return self.model(batch[0])

        def loss(self, outputs: Tensor, batch: Any) -> Tensor:
            return cross_entropy(outputs, batch[1])

    model = Model()
    Trainer(
        model=model, train_dataloader=block.batches, max_duration=f"{len(block.batches)}ba", device="cpu",
        optimizers=torch.optim.SGD(model.parameters(), lr=LR), progress_bar=False, log_to_console=False,
    ).fit()  # fmt: skip


ARMS: dict[str, Callable[[Block], None]] = {
    "bare": bare,
    "bare again": bare,
    "halftime, empty recipe": halftime,
    "accelerate": accelerate,
    "fastai": fastai,
    "lightning": lightning,
    "lightning, defaults + log": lightning_defaults,
    "composer": composer,
}


def hush() -> None:
    """Peers may warn as they like; it is not what is measured."""
    warnings.simplefilter("ignore")
