"""What the contract runs on: an easy task, one tiny setting of each method, and a data set that stops the run."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import halftime as ht
from halftime.data.feed import Tensors
from halftime.methods import (
    ALL,
    EMA,
    SGD,
    AdamW,
    AlternatingFlip,
    AnyOptimizer,
    ChannelsLast,
    ClipGradients,
    Compile,
    ConflictMeter,
    Cosine,
    CutMix,
    Cutout,
    DropOnStall,
    DropStochastic,
    EasyFirst,
    EasyTasksFirst,
    FastLoader,
    Float8,
    FocalPrior,
    FreezeEarly,
    FusedOptimizer,
    GradientSurgery,
    Guard,
    HardExamples,
    Kaiming,
    LabelSmoothing,
    LayerRates,
    Lookahead,
    MixedPrecision,
    MixUp,
    MultiDevice,
    Muon,
    OnDevice,
    OneCycle,
    Packed,
    ProgressiveResize,
    RepeatFactor,
    ScheduleFree,
    SequenceGrowth,
    SoftPrune,
    StepDrop,
    SubsetPretrain,
    TaskWeights,
    TestTimeFlip,
    UsefulData,
    WarmStart,
    WarmupStableDecay,
    Whitening,
    ZeroResidual,
)
from halftime.methods.float8 import missing_for

DEVICES = ("cpu", *(["cuda"] if torch.cuda.is_available() else []))  # the same command checks a GPU where there is one

# weights to start from; the same path in every process, so that one may go on with what another began
STORED = Path(tempfile.gettempdir()) / f"halftime-contract-{os.getuid()}" / "stored.safetensors"

SETTINGS: tuple[ht.Method, ...] = (
    AdamW(lr=0.01),
    AlternatingFlip(),
    AnyOptimizer(name="RMSprop", lr=0.003, weight_decay=0.01, options={"momentum": 0.9}),
    ChannelsLast(),
    ClipGradients(norm=0.5),
    Compile(backend="eager"),
    ConflictMeter(every=2),
    Cosine(warmup=0.1, final=0.1),
    CutMix(alpha=1.0, often=0.5),
    Cutout(share=0.25),
    DropOnStall(patience=1, factor=0.5),
    DropStochastic(),
    EasyFirst(first=0.5, until=0.6, proxy_epochs=1),
    EasyTasksFirst(memory=5),
    EMA(decay=0.9, every=2),
    FastLoader(workers=1, ahead=2),  # one: the data set that stops the run counts its calls
    Float8(smallest=32),
    FocalPrior(gamma=1.0),
    FreezeEarly(begin=0.3, share=0.7),
    FusedOptimizer(),
    GradientSurgery(),
    Guard(every=4),
    HardExamples(proxy_epochs=1),
    Kaiming(),
    LabelSmoothing(smoothing=0.1),
    LayerRates(biases=2.0, norms=0.5, first=0.5),
    Lookahead(every=2, share=0.7),
    MixedPrecision(dtype="bf16"),
    MixUp(alpha=0.2),
    MultiDevice(rates="sqrt", base=8, warmup=0.2),
    Muon(lr=0.05, kernel_lr=0.03, rest_lr=0.01),
    OnDevice(),
    OneCycle(warmup=0.3),
    Packed(where="map"),
    ProgressiveResize(smallest=0.5, until=0.6),
    RepeatFactor(threshold=0.9),
    ScheduleFree(lr=0.03, batches=3),
    SequenceGrowth(shortest=0.25, until=0.6),
    SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    SoftPrune(share=0.6, until=0.8),
    StepDrop(milestones=(0.4, 0.8), factor=0.3),
    SubsetPretrain(share=0.5, until=0.4),
    TaskWeights(lr=0.05),
    TestTimeFlip(),
    UsefulData(keep=0.7, proxy_epochs=1),
    WarmStart(source=str(STORED)),
    WarmupStableDecay(warmup=0.2, decay=0.4),
    Whitening(frozen=True),
    ZeroResidual(),
)
ON_CPU = tuple(m for m in SETTINGS if "cuda" not in m.needs)
FP16 = MixedPrecision(dtype="fp16")  # the one setting that owns state which bf16 lacks


def lacks(method: ht.Method | None, device: str) -> bool:
    """Whether a method needs CUDA, and this is not the device for it."""
    needs = "cuda" in getattr(method, "needs", ())
    return needs and (device == "cpu" or bool(missing_for(torch.device(device))))


def name(thing: Any) -> str:
    """A short name for pytest."""
    return type(thing).__name__ if isinstance(thing, ht.Method) else str(thing)


def setting_of(kind: type[ht.Method]) -> ht.Method:
    """The tiny setting of a class."""
    return next(m for m in SETTINGS if type(m) is kind)


def bars(samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy images [N, 1, 8, 8] of a horizontal bar, a vertical bar, or both: an easy task with three classes."""
    source = torch.Generator().manual_seed(seed)
    kinds = torch.randint(3, (samples,), generator=source)
    images = 0.3 * torch.randn(samples, 1, 8, 8, generator=source)
    images[kinds != 1, :, 3:5, :] += 1.0
    images[kinds != 0, :, :, 3:5] += 1.0
    return images, kinds


def network() -> nn.Module:
    """Takes images of any size; has what may go wrong on a stop: running statistics and dropout."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(96, 3),
    )


with torch.random.fork_rng(devices=[]):
    torch.manual_seed(0)
    STORED.parent.mkdir(exist_ok=True)
    save_file(network().state_dict(), STORED.with_suffix(f".{os.getpid()}"))
    STORED.with_suffix(f".{os.getpid()}").replace(STORED)


class Residual(nn.Module):
    """A branch that ends in a norm beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(features + self.body(features))


def residual_network() -> nn.Module:
    """The network with a residual block, for methods that change nothing else."""
    plain = network()
    assert isinstance(plain, nn.Sequential)
    return plain.insert(3, Residual())


class Speller(nn.Module):
    """Tells the next token from the one before and from where it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.places, self.head = nn.Embedding(7, 16), nn.Embedding(8, 16), nn.Linear(16, 7)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.table(tokens) + self.places.weight[: tokens.shape[1]]).mT  # type: ignore[no-any-return]


def words(samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Tokens [N, 8] and what follows each: three more, seven letters in a ring, and now and then a wrong one."""
    source = torch.Generator().manual_seed(seed)
    first = torch.randint(7, (samples, 1), generator=source)
    letters = (first + 3 * torch.arange(9)) % 7
    wrong = torch.rand(letters.shape, generator=source) < 0.03
    letters = torch.where(wrong, torch.randint(7, letters.shape, generator=source), letters)
    return letters[:, :-1], letters[:, 1:]


def wide_network(narrow: Callable[[], nn.Module] = network) -> nn.Module:
    """The network with a product that is large enough for a method that leaves small ones alone."""
    plain = narrow()
    assert isinstance(plain, nn.Sequential)
    return nn.Sequential(*plain[:-1], nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 3))


class Headed(nn.Module):
    """A network as the trunk of two heads: what it gave, and a linear layer on it."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk, self.tall = trunk, nn.Linear(3, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        logits = self.trunk(images)
        return {"kind": logits, "tall": self.tall(logits)}


def headed_network(trunk: Callable[[], nn.Module] = network) -> nn.Module:
    """The network with two heads; one that has them stays as it is."""
    made = trunk()
    return made if isinstance(made, Headed) else Headed(made)


def headed_loss(outputs: dict[str, Tensor], kinds: Tensor) -> dict[str, Tensor]:
    """Which bars there are, and whether one of them is vertical."""
    tall = (kinds > 0).long()
    return {
        "kind": nn.functional.cross_entropy(outputs["kind"], kinds),
        "tall": nn.functional.cross_entropy(outputs["tall"], tall),
    }


def headed_score(outputs: dict[str, Tensor], kinds: Tensor) -> Tensor:
    """Of the kinds alone."""
    return ht.accuracy(outputs["kind"], kinds)


HEADED = {"loss": headed_loss, "score": headed_score}
NETWORKS: dict[type[ht.Method], Callable[[], nn.Module]] = {  # others have `network`
    Float8: wide_network,
    ConflictMeter: headed_network,
    EasyTasksFirst: headed_network,
    GradientSurgery: headed_network,
    SequenceGrowth: Speller,
    TaskWeights: headed_network,
    ZeroResidual: residual_network,
}

TRAIN, VALID = bars(96), bars(64, seed=1)
WORDS = words(96)
DATA = {SequenceGrowth: WORDS}  # others have TRAIN


def task(**changes: Any) -> ht.Workload:
    """The easy task; every fact that a method may need holds, except for several heads and CUDA."""
    fields = {
        "name": "bars",
        "model": network,
        "train": TRAIN,
        "valid": VALID,
        "loss": nn.functional.cross_entropy,
        "score": ht.accuracy,
        "evaluations": 4,
    }
    return ht.Workload(**(fields | changes))


def recipe(*methods: ht.Method, steps: int = 10, **changes: Any) -> ht.Recipe:
    """Methods, and SGD where none of them is an optimizer."""
    optimizer = () if any(m.slot == "optimizer" for m in methods) else (SGD(lr=0.1),)
    return ht.Recipe([*methods, *optimizer], **({"steps": steps, "batch_size": 16} | changes))


def adapted(workload: ht.Workload, what: ht.Recipe) -> ht.Workload:
    """The easy task with words in place of images or with two heads, where a method of the recipe needs them."""
    needed = {need for m in what.methods for need in m.needs}
    if workload.name != "bars" or not needed & {"tokens", "heads"}:
        return workload
    if "tokens" not in needed:
        return dataclasses.replace(workload, model=functools.partial(headed_network, workload.model), **HEADED)
    fields = {"train": workload.train.with_columns(WORDS), "valid": words(64, seed=1), "model": Speller}
    return dataclasses.replace(workload, **fields)


def trained(workload: ht.Workload, what: ht.Recipe, ledger: Path, **options: Any) -> ht.Run:
    """A run that shows nothing; on the CPU unless said otherwise."""
    return ht.train(adapted(workload, what), what, **({"device": "cpu", "ledger": ledger, "quiet": True} | options))


def weights(run: ht.Run) -> dict[str, Tensor]:
    """The final weights of a run that went well."""
    assert run.state == "finished", run.reason
    return load_file(run.weights)


def same(one: dict[str, Tensor], other: dict[str, Tensor], device: str = "cpu") -> bool:
    """Bit for bit on the CPU; within rounding elsewhere."""
    assert one.keys() == other.keys()
    assert len(one) > 0
    if device == "cpu":
        return all(torch.equal(one[k], other[k]) for k in one)
    return all(torch.allclose(one[k].float(), other[k].float(), rtol=1e-2, atol=1e-3) for k in one)


class Interrupting(Tensors):
    """Tensors that call `act` when the batch number `at` is fetched: a stop in the middle of an epoch."""

    def __init__(self, columns: tuple[Tensor, ...], at: int, act: Callable[[], None]) -> None:
        super().__init__(*columns)
        self.left, self.act = at, act

    def batch(self, indices: Tensor, generator: torch.Generator) -> Any:
        self.left -= 1
        if self.left == 0:
            self.act()
        return super().batch(indices, generator)


def terminate() -> None:
    """What a cluster does to a job whose time is up."""
    os.kill(os.getpid(), signal.SIGTERM)


def pull_the_plug() -> None:
    """A data set that breaks."""
    raise RuntimeError("the plug was pulled")


assert len(SETTINGS) == len(ALL)
