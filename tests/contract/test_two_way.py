"""Two-way proof: a bare loop with a method's plain part and the trainer give the same weights, bit for bit."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import halftime as ht
from halftime.data.feed import Feed, Tensors
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
from halftime.methods.task_weights import DynamicAverage, GradNorm, Uncertainty

from .tasks import (
    DATA,
    NETWORKS,
    STORED,
    TRAIN,
    VALID,
    adapted,
    headed_loss,
    name,
    network,
    same,
    task,
    trained,
    weights,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "plain"
STEPS, BATCH = 20, 16
MOMENTUM = SGD(lr=0.1, momentum=0.9)
HEADS = ["kind", "tall"]

# method, the rest of the recipe, what the plain example is told
CASES: tuple[tuple[ht.Method, tuple[ht.Method, ...], dict[str, Any]], ...] = (
    (AdamW(lr=0.02, weight_decay=0.1), (), {"lr": 0.02, "weight_decay": 0.1}),
    (AnyOptimizer(name="RMSprop", lr=0.003, options={"momentum": 0.9}), (), {"name": "RMSprop", "momentum": 0.9}),
    (ChannelsLast(), (MOMENTUM,), {"lr": 0.1}),
    (ClipGradients(norm=0.2), (SGD(lr=0.3, momentum=0.9, weight_decay=5e-4),), {"lr": 0.3, "norm": 0.2}),
    (Cosine(warmup=0.2, final=0.1), (MOMENTUM,), {"warmup": 0.2, "final": 0.1}),
    (AlternatingFlip(), (MOMENTUM,), {"lr": 0.1}),
    (CutMix(alpha=0.7, often=0.8), (MOMENTUM,), {"alpha": 0.7, "often": 0.8}),
    (Cutout(share=0.5), (MOMENTUM,), {"share": 0.5}),
    (DropOnStall(patience=1), (MOMENTUM,), {"valid": VALID, "patience": 1}),
    (DropStochastic(), (MOMENTUM,), {"lr": 0.1}),
    (EasyFirst(first=0.4, proxy_epochs=1), (MOMENTUM,), {"first": 0.4, "proxy_epochs": 1}),
    (EMA(decay=0.9), (MOMENTUM,), {"decay": 0.9}),
    (FastLoader(workers=2), (MOMENTUM,), {"workers": 2}),
    (FocalPrior(gamma=1.5), (MOMENTUM,), {"gamma": 1.5}),
    (FreezeEarly(begin=0.3, share=0.7), (MOMENTUM,), {"begin": 0.3, "share": 0.7}),
    (ConflictMeter(every=3), (MOMENTUM,), {"losses": headed_loss, "every": 3}),
    (EasyTasksFirst(until=0.8, memory=5), (MOMENTUM,), {"losses": headed_loss, "until": 0.8, "memory": 5}),
    (GradientSurgery(), (MOMENTUM,), {"losses": headed_loss}),
    (GradientSurgery(aggregator="MGDA"), (MOMENTUM,), {"losses": headed_loss, "aggregator": "MGDA"}),
    (TaskWeights(lr=0.1), (MOMENTUM,), {"losses": headed_loss, "rule": lambda _: Uncertainty(HEADS), "rate": 0.1}),
    (TaskWeights(rule="dwa", every=3), (MOMENTUM,), {"losses": headed_loss, "rule": lambda _: DynamicAverage(3)}),
    (TaskWeights(rule="gradnorm"), (MOMENTUM,), {"losses": headed_loss, "rule": lambda n: GradNorm(n.parameters())}),
    (FusedOptimizer(), (MOMENTUM,), {"lr": 0.1}),
    (Guard(every=4), (MOMENTUM,), {"lr": 0.1, "every": 4}),
    (HardExamples(strength=0.7, proxy_epochs=1), (MOMENTUM,), {"strength": 0.7, "proxy_epochs": 1}),
    (Kaiming(mode="fan_in"), (MOMENTUM,), {"mode": "fan_in"}),
    (LabelSmoothing(smoothing=0.2), (MOMENTUM,), {"smoothing": 0.2}),
    (LayerRates(biases=3.0, first=0.5), (MOMENTUM,), {"biases": 3.0, "first": 0.5}),
    (Lookahead(every=3, share=0.7), (MOMENTUM,), {"every": 3, "share": 0.7}),
    (MixedPrecision(dtype="bf16"), (MOMENTUM,), {"dtype": "bf16"}),
    (MixedPrecision(dtype="fp16"), (MOMENTUM,), {"dtype": "fp16"}),
    (Muon(lr=0.05, rest_lr=0.01), (), {"lr": 0.05, "rest_lr": 0.01}),
    (OnDevice(), (MOMENTUM,), {"lr": 0.1}),
    (MixUp(alpha=0.5), (MOMENTUM,), {"alpha": 0.5}),
    (OneCycle(warmup=0.4), (SGD(lr=0.3, momentum=0.9),), {"lr": 0.3, "warmup": 0.4}),
    (Packed(where="map"), (MOMENTUM,), {"lr": 0.1}),
    (ProgressiveResize(smallest=0.5), (MOMENTUM,), {"smallest": 0.5}),
    (RepeatFactor(threshold=0.6), (MOMENTUM,), {"threshold": 0.6}),
    (ScheduleFree(lr=0.03, warmup=0.0, batches=4), (), {"lr": 0.03, "batches": 4}),
    (SequenceGrowth(shortest=0.5), (MOMENTUM,), {"shortest": 0.5}),
    (SGD(lr=0.2, momentum=0.9, weight_decay=0.01), (), {"lr": 0.2, "weight_decay": 0.01}),
    (SoftPrune(share=0.7), (MOMENTUM,), {"share": 0.7}),
    (StepDrop(milestones=(0.3, 0.6)), (MOMENTUM,), {"milestones": (0.3, 0.6)}),
    (SubsetPretrain(share=0.5, until=0.5), (MOMENTUM,), {"share": 0.5, "until": 0.5}),
    (WarmupStableDecay(warmup=0.2, decay=0.4), (MOMENTUM,), {"warmup": 0.2, "decay": 0.4}),
    (TestTimeFlip(), (MOMENTUM,), {"lr": 0.1}),
    (WarmStart(source=str(STORED)), (MOMENTUM,), {"source": str(STORED)}),
    (UsefulData(keep=0.5, proxy_epochs=1), (MOMENTUM,), {"keep": 0.5, "proxy_epochs": 1}),
    (Whitening(frozen=True), (MOMENTUM,), {"frozen": True}),
    (ZeroResidual(), (MOMENTUM,), {"lr": 0.1}),
    (Compile(backend="aot_eager"), (MOMENTUM,), {"backend": "aot_eager"}),
    (Float8(smallest=32), (MOMENTUM,), {"smallest": 32}),
    (MultiDevice(rates="linear", base=8, warmup=0.3), (MOMENTUM,), {"rates": "linear", "base": 8, "warmup": 0.3}),
)


def example(stem: str) -> ModuleType:
    """The script of a method, imported."""
    spec = importlib.util.spec_from_file_location(f"plain_{stem}", EXAMPLES / f"{stem}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stem_of(kind: type) -> str:
    """The file a method stands in."""
    return kind.__module__.rpartition(".")[2]


@pytest.mark.parametrize(("method", "others", "told"), CASES, ids=[str(c[0]) for c in CASES])
def test_the_plain_example_equals_the_trainer(
    method: ht.Method, others: tuple[ht.Method, ...], told: dict[str, Any], tmp_path: Path
) -> None:
    maker = NETWORKS.get(type(method), network)
    data = DATA.get(type(method), TRAIN)
    what = ht.Recipe([method, *others], steps=STEPS, batch_size=BATCH)
    plain_loop = example(stem_of(type(method))).train_plain
    if "cuda" in method.needs:  # bit for bit is a promise for the CPU: there, both refuse
        with pytest.raises(RuntimeError, match="needs a CUDA device"):
            plain_loop(maker, TRAIN, steps=STEPS, batch_size=BATCH, seed=3, **told, device="cpu")
        return
    plain = plain_loop(maker, data, steps=STEPS, batch_size=BATCH, seed=3, **told)
    run = trained(task(model=maker, evaluations=10), what, tmp_path, seed=3)
    assert same(weights(run), plain.state_dict())


@pytest.mark.parametrize(("method", "others"), [c[:2] for c in CASES], ids=[str(c[0]) for c in CASES])
def test_the_method_changes_the_weights_or_the_scores(
    method: ht.Method, others: tuple[ht.Method, ...], tmp_path: Path
) -> None:  # else the proof above would prove nothing
    if "cuda" in method.needs:
        assert not method.exact
        return
    full = ht.Recipe([method, *others], steps=STEPS, batch_size=BATCH)
    workload = adapted(task(model=NETWORKS.get(type(method), network), evaluations=10), full)
    without = trained(workload, full.minus(name(method)), tmp_path, seed=3)
    with_it = trained(workload, full, tmp_path, seed=3)
    if not method.exact:
        scored = [[e.loss for e in run.evaluations] for run in (with_it, without)]
        assert not same(weights(with_it), weights(without)) or scored[0] != scored[1]


def test_every_method_is_proved() -> None:
    assert {type(c[0]) for c in CASES} == set(ALL)
    assert len(ALL) > 0


def bare(steps: int, micro_batch: int | None = None) -> dict[str, Tensor]:
    """The loop as everybody writes it."""
    torch.manual_seed(7)
    net = network()
    optimizer = torch.optim.SGD(net.parameters())
    batches = Feed(Tensors(*TRAIN), BATCH, 7).batches()
    for _ in range(steps):
        images, kinds = next(batches)
        optimizer.zero_grad()
        if micro_batch is None:
            cross_entropy(net(images), kinds).backward()
        else:
            for part, wanted in zip(images.split(micro_batch), kinds.split(micro_batch), strict=True):
                (cross_entropy(net(part), wanted) * (len(part) / len(images))).backward()
        optimizer.step()
    return net.state_dict()


@pytest.mark.parametrize("micro_batch", [None, 16, 8, 5])
def test_the_empty_recipe_is_the_bare_loop(micro_batch: int | None, tmp_path: Path) -> None:
    assert any(isinstance(layer, nn.Dropout) for layer in network().modules())
    what = ht.Recipe(steps=STEPS, batch_size=BATCH, micro_batch=micro_batch)
    run = trained(task(), what, tmp_path, seed=7)
    assert same(weights(run), bare(STEPS, None if micro_batch == 16 else micro_batch))


def test_an_example_runs_as_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == len(ALL)
    for script in scripts:
        module = example(script.stem)
        made = module.train_plain
        monkeypatch.setattr(module, "train_plain", lambda *given, made=made, steps: made(*given, steps=20))
        module.main()
        assert "digits, " in capsys.readouterr().out
        assert 30 <= len(script.read_text().splitlines()) <= 60, f"{script.name}: 30 to 60 lines"
    assert not list(tmp_path.iterdir())


def test_the_examples_import_plain_parts_only() -> None:
    for script in sorted(EXAMPLES.glob("*.py")):
        wanted = [line for line in script.read_text().splitlines() if "import" in line and "halftime" in line]
        assert wanted
        for line in wanted:
            assert line.startswith(("from halftime.methods.", "from halftime.data.feed import Feed, Tensors")), line
            assert not any(f"import {kind.__name__}" in line or f", {kind.__name__}" in line for kind in ALL), line
