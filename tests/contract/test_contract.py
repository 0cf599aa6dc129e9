"""The contract: one body for all methods. What holds for every one of them, on every device there is."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import halftime as ht
from halftime.data.feed import Tensors
from halftime.errors import BadRecipe, BadWorkload, InputError
from halftime.measure.score import evaluate
from halftime.methods import (
    ALL,
    AlternatingFlip,
    ChannelsLast,
    ConflictMeter,
    CutMix,
    Cutout,
    EasyFirst,
    EasyTasksFirst,
    Float8,
    FocalPrior,
    GradientSurgery,
    HardExamples,
    LabelSmoothing,
    MixUp,
    ProgressiveResize,
    RepeatFactor,
    SequenceGrowth,
    SoftPrune,
    TaskWeights,
    TestTimeFlip,
    UsefulData,
    Whitening,
)
from halftime.methods.test_time_flip import MirrorJudge
from halftime.places import Places

from .tasks import (
    DEVICES,
    FP16,
    NETWORKS,
    ON_CPU,
    SETTINGS,
    TRAIN,
    Interrupting,
    adapted,
    lacks,
    name,
    pull_the_plug,
    recipe,
    same,
    task,
    terminate,
    trained,
    weights,
)

every_method = pytest.mark.parametrize("method", [*SETTINGS, FP16], ids=name)
every_device = pytest.mark.parametrize("device", DEVICES)


@every_device
@every_method
def test_it_learns(method: ht.Method, device: str, tmp_path: Path) -> None:
    run = trained(task(), recipe(method, steps=60), tmp_path, device=device)
    losses = [value for _, value in run.series("loss")]
    assert run.state == "finished", run.reason
    assert len(losses) == 60
    assert None not in losses
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert run.score is not None
    assert run.score > 0.8  # chance is a third


@every_method
def test_json_brings_it_back(method: ht.Method) -> None:
    there = recipe(method)
    back = ht.Recipe.from_json(there.to_json())
    assert back == there
    assert back.hash == there.hash
    assert next(m for m in back.methods if type(m) is type(method)) == method
    assert type(method).from_dict(method.to_dict()) == method


@every_method
def test_what_a_search_may_try_is_allowed(method: ht.Method) -> None:
    for field, values in method.choices.items():
        assert len(values) > 1
        for value in values:
            assert type(method).from_dict(method.to_dict() | {field: value}).to_dict()[field] == value


@every_device
@every_method
@pytest.mark.parametrize("act", [terminate, pull_the_plug], ids=["SIGTERM", "crash"])
def test_going_on_equals_going_through(method: ht.Method, act: Any, device: str, tmp_path: Path) -> None:
    what = recipe(method, steps=15)  # 6 steps an epoch, so a stop at 9 lies inside one
    through = trained(task(train=Tensors(*TRAIN)), what, tmp_path / "through", device=device)
    # one batch is looked at before the first step
    stops = task(train=Interrupting(TRAIN, at=10, act=act))
    options = {"device": device, "checkpoint_every": 0.0 if act is pull_the_plug else 60.0}
    with pytest.raises((ht.Stopped, RuntimeError)):
        trained(stops, what, tmp_path / "stopped", **options)
    (folder,) = ht.Ledger(tmp_path / "stopped").runs
    assert ht.Run.load(folder).state == ("failed" if act is pull_the_plug else "preempted")
    again = trained(task(), what, tmp_path / "stopped", device=device, resume=folder.name)
    assert again.attempts == 2
    assert same(weights(again), weights(through), device)
    if device == "cpu":
        assert again.series("lr") == through.series("lr")
        assert again.series("loss") == through.series("loss")
        assert [(e.step, e.score) for e in again.evaluations] == [(e.step, e.score) for e in through.evaluations]


def many(steps: int = 15) -> ht.Recipe:
    """One method of every slot, and loss scaling with them."""
    chosen = {m.slot: m for m in (*ON_CPU, FP16) if not m.needs & {"tokens", "heads"}}
    return recipe(*chosen.values(), steps=steps)


def test_going_on_with_many_methods_at_once(tmp_path: Path) -> None:
    what = many()
    assert len(what.methods) == len({m.slot for m in ON_CPU if not m.needs & {"tokens", "heads"}}) >= 9
    through = trained(task(), what, tmp_path / "through")
    with pytest.raises(ht.Stopped) as stopped:
        trained(task(train=Interrupting(TRAIN, at=6, act=terminate)), what, tmp_path / "stopped")
    again = trained(task(), what, tmp_path / "stopped", resume=stopped.value.run)
    assert same(weights(again), weights(through))


def test_going_on_after_the_process_was_killed(tmp_path: Path) -> None:
    script = """
import os, sys, torch
from tests.contract.tasks import TRAIN, Interrupting, task, trained
from tests.contract.test_contract import many
torch.set_num_threads(1)
data = Interrupting(TRAIN, at=10, act=lambda: os.kill(os.getpid(), 9))
trained(task(train=data), many(), sys.argv[1], checkpoint_every=0.0)
"""
    root = Path(__file__).parents[2]
    ledger = tmp_path / "killed"
    ended = subprocess.run([sys.executable, "-c", script, str(ledger)], cwd=root, env=os.environ | {"PYTHONPATH": "."})
    assert ended.returncode == -9
    (folder,) = ht.Ledger(ledger).runs
    assert ht.Run.load(folder).state == "killed"
    again = trained(task(), many(), ledger, resume=folder.name)
    assert same(weights(again), weights(trained(task(), many(), tmp_path / "through")))


@every_device
@every_method
def test_what_was_judged_is_what_is_kept(method: ht.Method, device: str, tmp_path: Path) -> None:
    workload = adapted(task(), recipe(method))
    run = trained(workload, recipe(method, steps=12), tmp_path, device=device)
    fresh = workload.model()
    fresh.load_state_dict(weights(run))
    judging = MirrorJudge(fresh).judging() if isinstance(method, TestTimeFlip) else contextlib.nullcontext()
    with judging:  # what is kept is used as it was judged
        score, loss = evaluate(workload, fresh, torch.device("cpu"))
    assert score == pytest.approx(run.score, abs=0.02 if device != "cpu" else 1e-9)
    assert loss == pytest.approx(run.evaluations[-1].loss, rel=1e-4 if device == "cpu" else 1e-2)


@every_device
@every_method
def test_micro_batches_change_rounding_only(method: ht.Method, device: str, tmp_path: Path) -> None:
    plain = task(model=lambda: torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), mlp()))
    runs = [
        trained(plain, recipe(method, steps=8, micro_batch=pieces), tmp_path, device=device) for pieces in (None, 16, 5)
    ]
    whole, all_at_once, pieces = (weights(run) for run in runs)
    more = isinstance(method, SequenceGrowth)  # of one sample it makes several, so 16 are not all
    assert more or same(whole, all_at_once, device)
    rough = method.slot == "precision" or device != "cpu"  # 16 bits round differently in batches of another size
    for key, value in whole.items():
        for other in (all_at_once[key], pieces[key]):
            assert torch.allclose(value, other, rtol=0.05 if rough else 1e-3, atol=0.02 if rough else 1e-4), key


def mlp() -> torch.nn.Module:
    """Without batch statistics and dropout, so that the pieces of a batch do not know of each other."""
    return torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


@pytest.mark.parametrize("outcome", ["finished", "stopped", "crashed"])
@every_device
@every_method
def test_it_leaves_nothing_behind(method: ht.Method, outcome: str, device: str, tmp_path: Path) -> None:
    act = {"stopped": terminate, "crashed": pull_the_plug}.get(outcome)
    data = Interrupting(TRAIN, at=4, act=act) if act else Tensors(*TRAIN)
    before = surroundings()
    expected = {"stopped": pytest.raises(ht.Stopped), "crashed": pytest.raises(RuntimeError)}
    with expected.get(outcome, contextlib.nullcontext()):
        trained(task(train=data), recipe(method, steps=6), tmp_path, device=device)
    after = surroundings()
    assert [key for key in before if before[key] != after[key]] == []


def surroundings() -> dict[str, Any]:
    """All that a well-behaved function leaves as it was."""
    hooks = [importlib.import_module(name) for name in ("torch.nn.modules.module", "torch.optim.optimizer")]
    found = {
        "threads": {t.ident for t in threading.enumerate()},
        "handlers": {s: signal.getsignal(s) for s in signal.valid_signals()},
        "torch random": torch.get_rng_state().tolist(),
        "numpy random": str(np.random.get_state()),
        "python random": random.getstate(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "autocast": [(torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in ("cpu", "cuda")],
        "autocast cache": torch.is_autocast_cache_enabled(),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "global hooks": {
            f"{module.__name__}.{key}": len(value)
            for module in hooks
            for key, value in vars(module).items()
            if key.startswith("_global_") and hasattr(value, "__len__")
        },
    }
    cudnn = torch.backends.cudnn
    found["cudnn"] = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic)
    if torch.cuda.is_available():
        found["cuda random"] = torch.cuda.get_rng_state().tolist()
    assert found["global hooks"], "torch has renamed its global hooks: this guard guards nothing"
    return found


@every_method
def test_it_lets_go_of_the_network(method: ht.Method, tmp_path: Path) -> None:
    import weakref

    made: list[Any] = []
    workload = adapted(task(), recipe(method))

    def maker() -> torch.nn.Module:
        net = workload.model()
        made.append(weakref.ref(net))
        return net

    trained(dataclasses.replace(workload, name="held", model=maker), recipe(method, steps=2), tmp_path)
    gc.collect()
    assert [ref() for ref in made] == [None]


PAIRS = tuple(itertools.combinations(SETTINGS, 2))
# optimizers for which torch has no fused kernel: FusedOptimizer says so
UNKERNELLED = {frozenset(("FusedOptimizer", one)) for one in ("AnyOptimizer", "Muon", "ScheduleFree")}
# what is made for images has nothing to do with tokens
UNLIKE = {frozenset(("SequenceGrowth", name(m))) for m in SETTINGS if "images" in m.needs and m.slot != "size"}
# what goes by the one loss, or the one target, of each sample has nothing to do with several heads
HEADED = [name(m) for m in SETTINGS if "heads" in m.needs]
SINGLE = [name(m) for m in SETTINGS if m.needs & {"classes", "labels", "mean", "tokens"}]
APART = {frozenset(pair) for pair in itertools.product(HEADED, SINGLE)}


@every_device
def test_all_pairs_run_or_are_refused_by_name(device: str, tmp_path: Path) -> None:
    ran, refused, by_name, unmet = 0, 0, set(), 0
    for one, other in PAIRS:
        if one.slot == other.slot:
            with pytest.raises(BadRecipe) as error:
                recipe(one, other)
            assert name(one) in str(error.value)
            assert name(other) in str(error.value)
            refused += 1
            continue
        written = [recipe(one, other, steps=4), recipe(other, one, steps=4)]
        assert written[0] == written[1]
        assert written[0].hash == written[1].hash
        if lacks(one, device) or lacks(other, device):
            with pytest.raises(BadWorkload, match="Float8 needs "):
                trained(task(), written[0], tmp_path, device=device)
            unmet += 1
            continue
        try:
            wide = {"model": NETWORKS[Float8]} if Float8 in (type(one), type(other)) else {}
            runs = [trained(task(evaluations=2, **wide), what, tmp_path, device=device) for what in written]
        except (BadRecipe, BadWorkload) as refusal:
            assert {name(one), name(other)} & set(re.split("[: ]", str(refusal)))
            by_name.add(frozenset((name(one), name(other))))
            continue
        first, second = (weights(run) for run in runs)
        assert same(first, second, device), f"{name(one)} and {name(other)}: the order in which they are written counts"
        assert all(t.isfinite().all() for t in first.values()), f"{name(one)} and {name(other)}"
        ran += 1
    assert by_name == UNKERNELLED | UNLIKE | APART
    assert ran + refused + len(by_name) + unmet == len(ALL) * (len(ALL) - 1) // 2
    assert ran > refused > 0


def owns(method: ht.Method, *places: str) -> bool:
    """Whether what acts for a method takes part in one of these places, by the classes that its file knows."""
    kinds = [k for k in vars(importlib.import_module(type(method).__module__)).values() if isinstance(k, type)]
    return any(issubclass(k, Places) and getattr(k, p) is not getattr(Places, p) for k in kinds for p in places)


STEPPING = [m for m in ON_CPU if owns(m, "update", "attempt", "after_step") and m.slot != FP16.slot]


@pytest.mark.parametrize("stepping", STEPPING, ids=name)
def test_who_takes_part_in_a_step_does_so_under_loss_scaling_or_is_refused_by_name(
    stepping: ht.Method, tmp_path: Path
) -> None:
    assert len(STEPPING) >= 9
    what = recipe(stepping, FP16, steps=4)
    if owns(stepping, "update"):
        with pytest.raises(BadRecipe, match=f"not {name(stepping)} and {name(FP16)}: leave one of them out"):
            trained(task(), what, tmp_path)
        return
    run = trained(task(), what, tmp_path)
    assert all(t.isfinite().all() for t in weights(run).values())
    assert run.steps == 4


def lists() -> ht.Workload:
    """A task without images and without classes."""
    x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    return task(
        name="sums",
        model=lambda: torch.nn.Linear(5, 1),
        train=(x, x.sum(1, keepdim=True)),
        valid=(x, x.sum(1, keepdim=True)),
        loss=torch.nn.functional.mse_loss,
        score=torch.nn.functional.mse_loss,
        better="lower",
    )


@every_method
def test_what_it_needs_and_does_not_find_is_named(method: ht.Method, tmp_path: Path) -> None:
    if not method.needs - {"mean"}:  # its loss is the mean over samples
        run = trained(lists(), recipe(method, steps=4), tmp_path)
        assert run.state == "finished"
        return
    with pytest.raises(BadWorkload) as error:
        trained(lists(), recipe(method, steps=4), tmp_path)
    assert name(method) in str(error.value)
    assert any(
        word in str(error.value)
        for word in {
            "images": ["images"],
            "classes": ["class"],
            "labels": ["class"],
            "kinds": ["classes"],
            "tokens": ["token"],
            "heads": ["a dict of several"],
        }[min(method.needs)]
    )
    assert ht.Ledger(tmp_path).runs == []  # refused before anything was written


def test_some_methods_need_something() -> None:
    assert {type(m) for m in SETTINGS if m.needs} == {
        AlternatingFlip,
        ChannelsLast,
        ConflictMeter,
        CutMix,
        Cutout,
        EasyFirst,
        EasyTasksFirst,
        Float8,
        FocalPrior,
        GradientSurgery,
        HardExamples,
        LabelSmoothing,
        MixUp,
        ProgressiveResize,
        RepeatFactor,
        SequenceGrowth,
        SoftPrune,
        TaskWeights,
        TestTimeFlip,
        UsefulData,
        Whitening,
    }


@every_method
def test_an_unknown_field_is_refused_by_name(method: ht.Method) -> None:
    with pytest.raises(InputError, match=type(method).__name__) as error:
        type(method).from_dict({"sped": 1})
    assert "\n" not in str(error.value)


@every_method
def test_it_is_frozen_and_says_what_it_is(method: ht.Method) -> None:
    for field in method.to_dict():
        with pytest.raises(AttributeError):
            setattr(method, field, 1)
    assert method.slot
    assert name(method) in str(method)
    for text in (method.__doc__, type(method).__init__.__doc__ or "", __import__(type(method).__module__)):
        assert text is not None


def test_the_contract_has_every_method_as_a_subject() -> None:
    bodies = 0
    for body in [value for key, value in globals().items() if key.startswith("test_")]:
        for mark in getattr(body, "pytestmark", ()):
            if mark.name == "parametrize" and mark.args[0] == "method":
                assert {type(m) for m in mark.args[1]} == set(ALL), body.__name__
                bodies += 1
    assert bodies >= 9
    assert {type(m) for m in SETTINGS} == set(ALL)
    assert len(ALL) >= 12
