"""The training loop, on one page.

The path of one batch: the learning rate is set, the batch is fetched and changed, goes through network and loss, the
weights are updated, and methods follow up. They act in the places alone; an empty recipe is the bare loop, bit for bit.
"""

from __future__ import annotations

import contextlib
import math
import time
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch

from halftime.data import ranks
from halftime.data.batch import mapped, micro_batches, on_device, split
from halftime.data.feed import Feed
from halftime.diagnose.diverged import explain
from halftime.diagnose.misfit import check
from halftime.errors import BadRecipe, Diverged, Stopped
from halftime.ledger import resume as going_on
from halftime.ledger.interrupts import Interrupts
from halftime.ledger.store import Ledger
from halftime.measure.clock import Clock
from halftime.measure.cost import Energy
from halftime.measure.device import pick
from halftime.measure.plan import Pacer, Plan
from halftime.measure.score import apply, evaluate, named
from halftime.places import PLACES, Backward, Places, Update, overrides, plain_backward, plain_update
from halftime.recipe import Recipe
from halftime.report.live import Live
from halftime.run import Run
from halftime.workload import Workload

LOOP = PLACES[PLACES.index("lr_factor") :]  # the places that are reached in each step, or around evaluation
_NOTHING = contextlib.nullcontext()


@going_on.random_kept()
def train(  # noqa: C901 - the one function that is allowed to be long
    workload: Workload,
    recipe: Recipe,
    seed: int = 0,
    *,
    device: str | None = None,
    ledger: Ledger | str | Path | None = None,
    resume: str | None = None,
    plan: Plan | None = None,
    checkpoint_every: float = 60.0,
    quiet: bool | None = None,
    source: str = "",
    group: str = "",
) -> Run:
    """Train a fresh network of a workload by a recipe with one seed, and return the record of it.

    Args:
        workload: what is learned and how it is judged.
        recipe: methods, budget and batch size.
        seed: of weights, order and augmentation.
        device: "cpu", "cuda", "cuda:1" or "mps"; the fastest there is if None.
        ledger: where the record goes; see `Ledger`.
        resume: id of a stopped or killed run to go on with; workload, recipe and seed must be the same.
        plan: replays the steps that a run with a budget in minutes planned: `Plan.of(run.plan)`.
        checkpoint_every: seconds of training between two checkpoints; 0 for one after each step.
        quiet: True shows nothing, False plain lines; None shows a bar on a terminal.
        source: where the command line found the workload, so that it can be found again.
        group: names what the run is a part of, such as a proof.

    Returns:
        The record. A run that diverged is returned too; its state is "failed".

    Raises:
        InputError: workload, recipe and machine do not fit, said before anything is written.
        StorageError: the disk is full or read-only.
        Stopped: Ctrl-C or SIGTERM; everything is saved.

    Example:
        >>> import halftime as ht
        >>> from halftime.methods import AdamW, OneCycle
        >>> x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
        >>> y = (x.sum(1) > 0).long()
        >>> task = ht.Workload(name="sign", model=lambda: torch.nn.Linear(4, 2), train=(x, y), valid=(x, y),
        ...                    loss=torch.nn.functional.cross_entropy, score=ht.accuracy, target=0.95)
        >>> ht.train(task, ht.Recipe([AdamW(lr=0.1), OneCycle()], epochs=20, batch_size=64), quiet=True).verdict
        'reached 0.95'
    """
    team = ranks.join(recipe.get("devices") is not None)
    where, ledger = pick(team.device(device)), ledger if isinstance(ledger, Ledger) else Ledger(ledger)
    clock, energy = Clock(where), Energy(where)
    ledger.check_writable()
    facts = going_on.identity(workload, recipe, seed, source, group)
    step, state = going_on.stored(ledger, resume, facts)
    clock.already = state.get("seconds", 0.0)

    # once: data, network, initial weights, loss, and the optimizer last
    torch.manual_seed(seed)
    model = network = workload.model().to(where)
    feed = Feed(workload.train, recipe.batch_size, seed, device=where)
    for method in recipe.methods:
        feed = method.data(feed)
    sample = split(on_device(feed.look(), where))
    check(workload, recipe.methods, model, sample)
    for method in recipe.methods:
        model = method.model(model)
    for method in recipe.methods:
        method.init(model, [sample])
    loss_of = workload.loss
    for method in recipe.methods:
        loss_of = method.loss(loss_of, model)
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters())
    for method in recipe.methods:
        optimizer = method.optimizer(model, optimizer)
    acting = [method.start(model, optimizer, feed) for method in recipe.methods]
    factors, batchers, forwards, updates, attempts, followers, contexts, listeners, tellers = (
        [getattr(one, place) for one in acting if overrides(one, place)] for place in LOOP
    )
    update = reduce(lambda inner, outer: partial(outer, inner), attempts, _only(updates, recipe, acting))
    plan = Plan.of(state["plan"]) if state else plan or Plan.for_budget(recipe, feed.steps_per_epoch)
    pacer = Pacer(plan, recipe.minutes * 60.0) if recipe.minutes and state.get("paced", plan.open) else None
    going_on.restore(state, network, optimizer, acting)  # gives the optimizer new groups
    groups = [(g, g.setdefault("initial_lr", g["lr"])) for g in optimizer.param_groups]

    folder = Path(team.told(str(ledger.find(resume) if resume else ledger.new("run"))))
    log = going_on.begin(ledger, folder, facts, step, clock.already, where)
    losses: list[Any] = []
    tried = state.get("tried", step)  # batches so far: more than steps, where some were not applied
    data, saved, next_save = 0.0, -1, clock.seconds + checkpoint_every

    def compute_loss(backward: Backward = plain_backward) -> None:
        losses.clear()
        for part, wanted, share in micro_batches(inputs, targets, recipe.micro_batch):
            with _all(forwards):
                loss = loss_of(apply(model, part), wanted)
            loss = loss if share == 1.0 else mapped(loss, lambda t: t * share)  # noqa: B023 - used up in this turn
            backward(loss)
            losses.append(loss)

    def standing() -> dict[str, Any]:
        counted = {"step": step, "tried": tried, "receipt": feed.served.receipt}
        return {**counted, **clock.read(data), "joules": energy.joules}

    log.standing, log.depths = standing, feed.served.depths
    log.telling = lambda: [live.say(text) for tell in tellers for text in tell()]  # at each flush, the last one too

    def save() -> int:
        with clock.span("checkpoint"):
            log.record("checkpoint", durable=True, **standing())
            about = {"plan": plan.segments, "paced": pacer is not None, "seconds": clock.seconds}
            about |= {"tried": tried, "receipt": feed.served.receipt}
            going_on.save(folder, step, network, optimizer, acting, where, **about)
        return step

    def judge() -> None:
        with clock.paused(), _all(contexts):
            score, loss = evaluate(workload, model, where)
        for hear in listeners:
            hear(workload.signed(score))
        log.record("evaluation", progress=plan.progress(step), score=score, loss=loss, **named(workload), **standing())
        live.judged(step, plan.total, clock.seconds, score)

    model.train()
    live = Live(workload.name, recipe, seed, workload.target, quiet if team.first else True, step)
    with contextlib.suppress(Diverged), log, Interrupts() as stop, live, contextlib.ExitStack() as ending:
        if state.get("notice"):
            log.record("event", text=live.say(state["notice"]))
        ending.enter_context(team.together())
        batches = ending.enter_context(contextlib.closing(feed.batches(tried, state.get("receipt", ""))))
        while step < plan.total:
            progress = plan.progress(step)
            factor = math.prod(of(progress) for of in factors)
            for options, base in groups:
                options["lr"] = base * factor
            began = time.perf_counter()
            inputs, targets = split(on_device(next(batches), where))
            data += (wait := time.perf_counter() - began)
            for change in batchers:
                inputs, targets = change(inputs, targets, progress)
            applied = update(compute_loss, optimizer)
            tried += 1
            for follow in followers if applied else ():
                follow(progress)
            step += applied
            if applied:
                log.step(step, losses, groups[0][0]["lr"], wait, began)
            now = clock.seconds
            said = stop.signal, now >= next_save, log.due(), now
            stopping, saving, due, now = said if team.world == 1 else team.agree(*said)
            if applied and pacer and pacer.tick(step, now):
                log.record("event", text=f"planned anew at step {step}: {plan.total} steps in all")
            judging = applied and plan.due(step, workload.evaluations)
            saving = saving or stopping is not None
            looking = judging or saving or due
            if looking and (bad := log.flush(wait=judging or saving or team.world > 1)):
                reason = explain(bad[1], folder, split(feed.look(bad[1] - 1 + tried - step)), bool(forwards))
                log.end("failed", reason=live.say(reason), **standing())
                break
            if looking:
                log.record("beat", **standing())
                live.show(step, plan.total, clock.seconds)
            if judging:
                judge()
            if saving and saved != step:
                saved, next_save = save(), clock.seconds + checkpoint_every
            if stopping is not None:
                log.end("preempted", reason=f"stopped by {stopping.name}", **standing(), segments=plan.segments)
                raise Stopped(folder.name, step, stopping)
        else:
            with clock.paused(), _all(contexts):  # such as the averaged weights: what was judged is what is kept
                going_on.keep(folder, network)
            log.end("finished", **standing(), segments=plan.segments)
            going_on.clear(folder)
    return Run.load(folder)


def _all(contexts: list[Any]) -> contextlib.AbstractContextManager[Any]:
    """Every context a place gave, entered together."""
    if not contexts:
        return _NOTHING
    stack = contextlib.ExitStack()
    for context in contexts:
        stack.enter_context(context())
    return stack


def _only(updates: list[Update], recipe: Recipe, acting: list[Places]) -> Update:
    """The one way of updating; two cannot both be had."""
    if len(updates) > 1:
        names = [type(m).__name__ for m, one in zip(recipe.methods, acting, strict=True) if overrides(one, "update")]
        raise BadRecipe(f"only one method may do the update, not {' and '.join(names)}: leave one of them out")
    return updates[0] if updates else plain_update
