"""TaskWeights: sums, scales and fixed points of its rules, learned weights that are stepped, stored and taken back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import halftime as ht
from halftime.errors import BadValue, BadWorkload
from halftime.heads import HeadWeights
from halftime.methods import (
    SGD,
    ConflictMeter,
    FreezeEarly,
    GradientSurgery,
    Guard,
    MixedPrecision,
    OneCycle,
    TaskWeights,
)
from halftime.methods.task_weights import DynamicAverage, GradNorm, Uncertainty
from tests.contract.tasks import FP16, TRAIN, Interrupting, recipe, same, task, terminate, trained, weights

RULES = ("uncertainty", "dwa", "gradnorm")


def followed(rule: HeadWeights, curves: list[tuple[float, ...]], optimizer: Any = None) -> Tensor:
    """The weights after steps with these losses."""
    for values in curves:
        found = rule.weighed({f"head {i}": torch.tensor(v) for i, v in enumerate(values)})
        if optimizer is not None:
            optimizer.zero_grad()
            sum(found.values()).backward()  # type: ignore[union-attr]
            optimizer.step()
        rule.step()
    return rule.weights


def learned(curves: list[tuple[float, ...]]) -> Tensor:
    rule = Uncertainty([f"head {i}" for i in range(len(curves[0]))])
    return followed(rule, curves, torch.optim.SGD(rule.logs, lr=0.05))


def test_uncertainty_ends_where_each_weighed_loss_is_as_large() -> None:
    found = learned([(4.0, 1.0, 0.25)] * 2000)
    assert (found * torch.tensor([4.0, 1.0, 0.25])).tolist() == pytest.approx([3 / (0.25 + 1 + 4)] * 3, rel=1e-2)
    assert float(found.sum()) == pytest.approx(3.0)


def test_uncertainty_forgives_the_scale_of_a_loss() -> None:
    one, other = learned([(2.0, 1.0)] * 3000), learned([(20.0, 1.0)] * 3000)
    ratios = [float(w[0] / w[1]) for w in (one, other)]
    assert ratios[0] / ratios[1] == pytest.approx(10.0, rel=0.02)


def test_what_the_variances_learn_from_is_no_part_of_the_loss() -> None:
    rule = Uncertainty(["a", "b"])
    found = rule.weighed({"a": torch.tensor(3.0), "b": torch.tensor(0.5)})
    assert [float(v.detach()) for v in found.values()] == [3.0, 0.5]
    more = rule.weighed({"a": torch.tensor(1.0), "b": torch.tensor(0.5)})  # another piece of the same batch
    sum([*found.values(), *more.values()]).backward()  # type: ignore[union-attr]
    assert [float(log.grad) for log in rule.logs] == [0.5 - 4.0, 0.5 - 1.0]  # type: ignore[arg-type]


def test_dwa_is_equal_at_first_sums_to_the_heads_and_does_not_know_scales() -> None:
    curves = [(4.0, 4.0), (2.0, 4.0), (1.5, 2.0)]
    first = followed(DynamicAverage(every=1), curves[:1])
    assert first.tolist() == [1.0, 1.0]
    second = followed(DynamicAverage(every=1), curves[:2])
    wanted = [2 * math.exp(r / 2) / (math.exp(0.25) + math.exp(0.5)) for r in (0.5, 1.0)]
    assert second.tolist() == pytest.approx(wanted)
    scaled = followed(DynamicAverage(every=1), [(100 * a, b) for a, b in curves])
    assert scaled.tolist() == pytest.approx(followed(DynamicAverage(every=1), curves).tolist())
    assert float(scaled.sum()) == pytest.approx(2.0)


@pytest.mark.parametrize("make", [DynamicAverage, lambda every: GradNorm([nn.Parameter(torch.ones(1, 1))])])
def test_losses_that_are_gone_do_no_harm(make: Any) -> None:
    rule = make(1)
    for _ in range(4):
        trunk = rule.trunk[0] if isinstance(rule, GradNorm) else torch.zeros(1)
        rule.weighed({"gone": 0.0 * trunk.sum(), "gone too": 0.0 * trunk.sum()})
        rule.step()
    assert rule.weights.isfinite().all()


def test_dwa_counts_by_period() -> None:
    rule = DynamicAverage(every=3)
    assert followed(rule, [(1.0, 2.0)] * 5).tolist() == [1.0, 1.0]
    assert followed(rule, [(0.5, 2.0)]).tolist() != [1.0, 1.0]


def pulled(scales: tuple[float, float], steps: int = 1500) -> Tensor:
    trunk = nn.Parameter(torch.ones(1, 1))
    rule = GradNorm([trunk], alpha=0.0, lr=0.003)
    for _ in range(steps):
        rule.weighed({name: scale * trunk.sum() for name, scale in zip("ab", scales, strict=True)})
        rule.step()
    return rule.weights


@pytest.mark.parametrize("scales", [(1.0, 1.0), (3.0, 1.0), (1.0, 8.0)])
def test_gradnorm_ends_where_all_pull_equally(scales: tuple[float, float]) -> None:
    found = pulled(scales)
    assert float(found.sum()) == pytest.approx(2.0)
    pulls = found * torch.tensor(scales)
    assert float(pulls[0] / pulls[1]) == pytest.approx(1.0, abs=0.15)


def test_gradnorm_lets_a_head_that_is_behind_pull_harder() -> None:
    trunk = nn.Parameter(torch.ones(1, 1))
    rule = GradNorm([trunk], alpha=1.5, lr=0.02)
    for step in range(60):
        fallen = 1.0 / (1 + step)
        rule.weighed({"falls": trunk.sum() + fallen - 1.0, "stays": trunk.sum()})
        rule.step()
    assert rule.weights[1] > 1.1 > 0.9 > rule.weights[0]


@pytest.mark.parametrize("rule", RULES)
def test_the_record_keeps_the_plain_losses_and_tells_the_weights(rule: str, tmp_path: Path) -> None:
    method = TaskWeights(rule=rule, lr=0.1, every=4)
    run = trained(task(), recipe(method, OneCycle(), SGD(lr=0.03), steps=120), tmp_path)
    whole, kind, tall = (dict(run.series(key)) for key in ("loss", "loss/kind", "loss/tall"))
    assert all(whole[s] == pytest.approx(kind[s] + tall[s], rel=1e-4) for s in whole)
    (line,) = [text for text in run.events if text.startswith("TaskWeights: ")]
    found = [float(word.split(" ")[1]) for word in line.partition("weigh ")[2].split(", ")]
    assert sum(found) == pytest.approx(2.0, abs=0.02)
    assert found != [1.0, 1.0] or rule == "dwa"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("other", [FP16, Guard(every=4), GradientSurgery()], ids=lambda m: type(m).__name__)
def test_going_on_equals_going_through_together_with(rule: str, other: ht.Method, tmp_path: Path) -> None:
    what = recipe(TaskWeights(rule=rule, lr=0.1, every=2), other, SGD(lr=0.1, momentum=0.9), steps=12)
    through = trained(task(), what, tmp_path / "through")
    with pytest.raises(ht.Stopped) as stopped:
        trained(task(train=Interrupting(TRAIN, at=7, act=terminate)), what, tmp_path / "stopped")
    again = trained(task(), what, tmp_path / "stopped", resume=stopped.value.run)
    assert same(weights(again), weights(through))
    assert not same(
        weights(through),
        weights(trained(task(), what.minus("TaskWeights").plus(ConflictMeter()), tmp_path / "without")),
    )


def test_learned_weights_are_stepped_by_the_optimizer_at_their_own_rate(tmp_path: Path) -> None:
    slow, quick = (trained(task(), recipe(TaskWeights(lr=lr), steps=8), tmp_path) for lr in (1e-9, 0.5))
    plain = trained(task(), recipe(TaskWeights(rule="dwa", every=100), steps=8), tmp_path)
    assert all(
        torch.allclose(a, b, atol=1e-5) for a, b in zip(weights(slow).values(), weights(plain).values(), strict=True)
    )
    assert not same(weights(quick), weights(slow))


class Bare(nn.Module):
    """One output for two losses."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.layer(images.flatten(1))
        return out


def two(outputs: Tensor, kinds: Tensor) -> dict[str, Tensor]:
    return {"kind": nn.functional.cross_entropy(outputs, kinds), "size": outputs.square().mean()}


def test_losses_without_heads_can_have_the_rules_that_need_no_names(tmp_path: Path) -> None:
    bare = task(name="bare", model=Bare, loss=two)
    for rule in ("dwa", "gradnorm"):
        assert trained(bare, recipe(TaskWeights(rule=rule), steps=4), tmp_path).state == "finished"
    with pytest.raises(BadWorkload, match=r"^TaskWeights: 'uncertainty' needs a head called 'kind', as a loss is"):
        trained(bare, recipe(TaskWeights()), tmp_path / "refused")
    assert ht.Ledger(tmp_path / "refused").runs == []


class Boxed(nn.Module):
    """Outputs that are called otherwise than the losses, as a detector has them."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.trunk = nn.Linear(64, 3)
        self.others = self.trunk if shared else nn.Linear(64, 3)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        flat = images.flatten(1)
        return {"classes": self.trunk(flat), "boxes": self.others(flat)}


def heat_and_boxes(outputs: dict[str, Tensor], kinds: Tensor) -> dict[str, Tensor]:
    return {"heat": nn.functional.cross_entropy(outputs["classes"], kinds), "boxes": outputs["boxes"].square().mean()}


@pytest.mark.parametrize(
    ("rule", "shared", "said"),
    [
        ("uncertainty", True, r"^TaskWeights: 'uncertainty' needs a head called 'heat', as a loss is: take 'dwa'$"),
        ("gradnorm", False, r"^TaskWeights: rule 'gradnorm' needs a matrix that all heads reach: take 'dwa'$"),
    ],
)
def test_losses_that_a_rule_cannot_weigh_are_refused_before_anything_is_written(
    rule: str, shared: bool, said: str, tmp_path: Path
) -> None:
    def score(outputs: dict[str, torch.Tensor], kinds: torch.Tensor) -> torch.Tensor:
        return ht.accuracy(outputs["classes"], kinds)

    found = task(name="boxed", model=lambda: Boxed(shared), loss=heat_and_boxes, score=score)
    with pytest.raises(BadWorkload, match=said):
        trained(found, recipe(TaskWeights(rule=rule)), tmp_path)
    assert ht.Ledger(tmp_path).runs == []
    assert trained(found, recipe(TaskWeights(rule="dwa")), tmp_path).state == "finished"


def test_gradnorm_says_when_the_heads_share_no_matrix() -> None:
    one, other = (nn.Parameter(torch.ones(1, 1)) for _ in range(2))
    with pytest.raises(BadWorkload, match=r"^TaskWeights: rule 'gradnorm' needs a matrix that all heads reach"):
        GradNorm([one, other]).weighed({"a": one.sum(), "b": other.sum()})


def test_a_trunk_that_was_frozen_before_a_stop_is_not_looked_for_again(tmp_path: Path) -> None:
    what = recipe(TaskWeights(rule="gradnorm"), FreezeEarly(begin=0.0, share=1.0), SGD(lr=0.1), steps=12)
    through = trained(task(), what, tmp_path / "through")
    with pytest.raises(ht.Stopped) as stopped:
        trained(task(train=Interrupting(TRAIN, at=11, act=terminate)), what, tmp_path / "stopped")
    again = trained(task(), what, tmp_path / "stopped", resume=stopped.value.run)
    assert same(weights(again), weights(through))


def test_a_loss_that_is_no_head_is_named() -> None:
    with pytest.raises(BadWorkload, match="needs a head called 'c', as a loss is"):
        Uncertainty(["a", "b"]).weighed({"a": torch.tensor(1.0), "c": torch.tensor(1.0)})


def test_sixteen_bits(tmp_path: Path) -> None:
    run = trained(task(), recipe(TaskWeights(), MixedPrecision(dtype="fp16"), steps=60), tmp_path)
    assert run.score is not None
    assert run.score > 0.8


@pytest.mark.parametrize(("field", "value"), [("rule", "sum"), ("lr", 0.0), ("every", 0), ("alpha", -1.0)])
def test_a_bad_value_is_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(BadValue, match=rf"^TaskWeights\.{field}") as error:
        TaskWeights(**{field: value})
    assert "\n" not in str(error.value)
