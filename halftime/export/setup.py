"""The recipe set up once in this process: it shows what acts in the loop, and refuses what could not be trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from halftime.data.batch import apply, mapped, on_device, split
from halftime.data.feed import Feed, random_kept
from halftime.diagnose.misfit import check
from halftime.measure.device import pick
from halftime.measure.plan import Plan
from halftime.places import Method, Places
from halftime.recipe import Recipe
from halftime.workload import Workload


@dataclasses.dataclass(frozen=True)
class SetUp:
    """What stands before the first step of a training."""

    workload: Workload
    methods: tuple[Method, ...]
    acting: tuple[Places, ...]
    feed: Feed
    sample: tuple[Any, Any]
    wrapped: bool  # whether what is trained is no longer the workload's own network, but something around it
    plan: Plan
    several: bool  # whether the loss is a dict of several

    def signed(self, score: str) -> str:
        """The score so that higher is better."""
        return score if self.workload.better == "higher" else f"-{score}"


def set_up(workload: Workload, recipe: Recipe, seed: int, device: str | None, plan: Plan | None) -> SetUp:
    """Do what a training does before its first step.

    Raises:
        InputError: workload, recipe and machine do not fit.
    """
    where = pick(device)
    with random_kept():
        torch.manual_seed(seed)
        model = network = workload.model().to(where)
        feed = Feed(workload.train, recipe.batch_size, seed, device=where)
        for method in recipe.methods:
            feed = method.data(feed)
        sample = split(on_device(feed.look(), where))
        check(workload, recipe.methods, model, sample)
        several = isinstance(_loss(workload, model, sample), Mapping)
        for method in recipe.methods:
            model = method.model(model)
        for method in recipe.methods:
            method.init(model, [sample])
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters())
        for method in recipe.methods:
            optimizer = method.optimizer(model, optimizer)
        acting = tuple(method.start(model, optimizer, feed) for method in recipe.methods)
    plan = plan or Plan.for_budget(recipe, feed.steps_per_epoch)
    return SetUp(workload, recipe.methods, acting, feed, sample, model is not network, plan, several)


@torch.no_grad()
def _loss(workload: Workload, model: torch.nn.Module, sample: tuple[Any, Any]) -> Any:
    """The loss of an untrained network; its state stays as it was."""
    inputs, targets = (mapped(part, lambda t: t[:2]) for part in sample)
    with random_kept():
        model.eval()
        loss = workload.loss(apply(model, inputs), targets)
        model.train()
    return loss
