"""The statements of `main`, and of what it calls beside what is carried: evaluation, and when it is due."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from halftime.data.feed import Tensors, in_turn
from halftime.data.kinds import by_batch
from halftime.data.order import shuffled
from halftime.data.pack import Pack
from halftime.export.acts import Acts
from halftime.export.bundle import Bundle
from halftime.export.modules import External
from halftime.export.setup import SetUp
from halftime.export.stand_ins import PLAIN
from halftime.export.task import Task
from halftime.export.words import literal
from halftime.recipe import Recipe

BATCH = "halftime.data.batch"
WIDE = 256  # samples at once in an evaluation


class Loop:
    """Writes the loop of one script.

    Args:
        bundle: carries what the loop needs.
        live: the recipe set up in this process.
        recipe: methods, budget and batch size.
        task: the workload's statements.
        acts: the methods' statements.
    """

    def __init__(self, bundle: Bundle, live: SetUp, recipe: Recipe, task: Task, acts: Acts) -> None:
        self.bundle, self.live, self.recipe, self.task, self.acts = bundle, live, recipe, task, acts
        first = live.feed.look()
        self.pair = isinstance(first, (tuple, list)) and all(isinstance(t, torch.Tensor) for t in first)
        once = "\n".join(line for lines in acts.once.values() for line in lines)
        self.sampled = bool(re.search(r"\bsample\b", once))
        self.fed = bool(acts.once["data"]) or bool(re.search(r"\bfeed\b", once + "".join(acts.batch)))
        self.fed |= live.feed.order is not shuffled or live.feed.serve is not in_turn

    def evaluate(self) -> list[str]:
        """The function that judges the network."""
        workload, task = self.live.workload, self.task
        self.bundle.section = "evaluation"
        fetch = self.bundle.name(PLAIN, f"fetch_{kind_of(workload.valid)}")
        metric = hasattr(workload.score, "compute")
        loss = f"{task.loss}(outputs, targets)"
        loss = f"{self.bundle.name('halftime.places', 'total_loss')}({loss})" if self.live.several else loss
        judged = (
            f"{task.score}.update(outputs, targets)" if metric
            else f"score += float({task.score}(outputs, targets).float().mean()) * len(ids)"
        )  # fmt: skip
        self.bundle.imports |= {External("torch", "nn", "nn"), External("typing", "Any", "Any")}
        result = f"float({task.score}.compute())" if metric else "score / len(valid)"
        return ["\n".join([
            "@torch.no_grad()",
            "def evaluate(model: nn.Module, valid: Any, device: torch.device) -> tuple[float, float]:",
            '    """Score and loss on the validation data."""',
            "    chance = torch.get_rng_state()  # put back afterwards: judging must not move the training's chance",
            "    model.eval()",
            *([f"    {task.score}.reset()", "    loss = 0.0"] if metric else ["    score, loss = 0.0, 0.0"]),
            f"    for first in range(0, len(valid), {WIDE}):",
            f"        ids = torch.arange(first, min(first + {WIDE}, len(valid)))",
            f"        {self._moved(f'{fetch}(valid, ids, 0, 0, first)')}",
            f"        outputs = {self._applied('inputs')}",
            f"        loss += float({loss}) * len(ids)",
            f"        {judged}",
            "    model.train()",
            "    torch.set_rng_state(chance)",
            f"    return {result}, loss / len(valid)",
        ])]  # fmt: skip

    def due(self) -> list[str]:
        """The function that says when it is judged."""
        self.bundle.imports.add(External("math", None, "math"))
        at = "s / STEPS"
        texts = []
        if len(self.live.plan.segments) > 1:
            at = "progress_at(s)"
            texts.append(
                "def progress_at(step: int) -> float:\n"
                '    """From 0 before the first step to 1 after the last, as the run planned it."""\n'
                "    first, start, total = max(segment for segment in PLAN if segment[0] <= step)\n"
                "    return 1.0 if step >= total else start + (1.0 - start) * (step - first) / (total - first)"
            )
        texts.append(
            "def due(step: int) -> bool:\n"
            '    """Whether an evaluation falls on the end of this step; the last one has one."""\n'
            f"    before, now = (math.floor({at} * EVALUATIONS + 1e-9) for s in (step - 1, step))\n"
            "    return step == STEPS or now > before"
        )
        return texts

    # main

    def main(self, name: str, settings: tuple[str, ...] = ()) -> list[str]:
        """The whole of `main`, and what runs it; first of all the settings of the process."""
        once, task = self.acts.once, self.task
        self.bundle.section = "steps"
        self.bundle.imports |= {
            External("torch", "Tensor", "Tensor"),
            External("safetensors.torch", "save_file", "save_file"),
        }
        lines = [*settings, "device = torch.device(DEVICE)", "", "# data", *task.before]
        lines += [f"train = {task.train}", f"valid = {task.valid}", "", "# network", "torch.manual_seed(SEED)"]
        lines.append(f"model = {task.model}.to(device)")
        lines += ["network = model  # the methods may put something around it"] * self.live.wrapped
        feed, stream = self._feed()
        lines += feed
        if self.sampled:
            lines += [self._moved(stream[1]), "sample = [(inputs, targets)]"]
        lines += [*once["model"], *once["init"]]
        if once["loss"]:
            lines += ["", "# loss", *once["loss"]]
        lines += ["", "# optimizer", *self._optimizer(), *once["start"]]
        lines += ["model.train()", "", "# training", *self._loop(stream[0])]
        lines += ["", *_within(self.acts.evaluating, [self._weights()])]
        text = re.sub(
            r"\n{3,}", "\n\n", "\n".join("    " + line if line else "" for line in "\n".join(lines).split("\n"))
        )
        head = ["", "", "def main() -> dict[str, Tensor]:", '    """Train, and return the final weights."""']
        return [
            *head,
            *text.split("\n"),
            "",
            "",
            'if __name__ == "__main__":',
            f"    save_file(main(), {literal(f'{name}.safetensors')})",
        ]

    def _feed(self) -> tuple[list[str], tuple[str, str]]:
        """(statements, (all batches, the first batch alone))."""
        self.bundle.section = "data"
        if not self.fed:
            batches = f"{self.bundle.name(PLAIN, 'batches')}(train, BATCH_SIZE, SEED)"
            return [], (batches, f"next({batches})")
        feed = f"feed = {self.bundle.name('halftime.data.feed', 'Feed')}(train, BATCH_SIZE, SEED, device)"
        return [feed, *self.acts.once["data"]], ("feed.batches()", "feed.look()")

    def _optimizer(self) -> list[str]:
        own = self.acts.once["optimizer"]
        plain = ["optimizer = torch.optim.SGD(model.parameters())"]
        lines = own if own and not re.search(r"\boptimizer\b", own[0].removeprefix("optimizer = ")) else plain + own
        if self.acts.factors:
            rates = 'rates = [(group, group.setdefault("initial_lr", group["lr"])) for group in optimizer.param_groups]'
            self.acts.once["start"].append(rates)
        return lines

    def _loop(self, stream: str) -> list[str]:
        custom = bool(self.acts.update or self.acts.attempts)
        body = self._before_step()
        if custom:
            head = [*self._compute_loss(), *self._update(), f"stream, step = {stream}, 0", "while step < STEPS:"]
            body += [self._moved("next(stream)"), *self.acts.batch, "if not update(compute_loss, optimizer):"]
            body += ["    continue", *self.acts.after_step, "step += 1", "if due(step):"]
            return [*head, *_indented([*body, *_indented(self._judge("step"))])]
        self.bundle.imports.add(External("itertools", "islice", "islice"))
        body += [self._moved("batch"), *self.acts.batch, "optimizer.zero_grad(set_to_none=True)"]
        body += [*self._losses("{}.backward()"), "optimizer.step()", *self.acts.after_step]
        body += ["if due(step + 1):", *_indented(self._judge("step + 1"))]
        return [f"for step, batch in enumerate(islice({stream}, STEPS)):", *_indented(body)]

    def _before_step(self) -> list[str]:
        """Progress, where something asks for it, and the learning rate."""
        used = "\n".join([*self.acts.factors, *self.acts.batch, *self.acts.after_step])
        at = "progress_at(step)" if len(self.live.plan.segments) > 1 else "step / STEPS"
        lines = [f"progress = {at}"] * bool(re.search(r"\bprogress\b", used))
        if self.acts.factors:
            lines += [f"factor = {' * '.join(self.acts.factors)}", "for group, base in rates:"]
            lines.append('    group["lr"] = base * factor')
        return lines

    def _losses(self, backward: str) -> list[str]:
        """Forward and backward of one batch, in pieces where the recipe says so."""
        pieces = bool(self.recipe.micro_batch)
        inputs, targets = ("part", "wanted") if pieces else ("inputs", "targets")
        lines = _within(self.acts.forward, [f"loss = {self.acts.loss}({self._applied(inputs)}, {targets})"])
        if pieces:
            mapped = self.bundle.name(BATCH, "mapped")
            share = f"{mapped}(loss, lambda t: t * share)" if self.live.several else "loss * share"
            lines.append(f"loss = loss if share == 1.0 else {share}")
        total = "loss"
        if self.live.several and "{}.back" in backward:
            total = f"{self.bundle.name('halftime.places', 'total_loss')}(loss)"
        lines.append(backward.format(total))
        if not pieces:
            return lines
        cut = self.bundle.name(BATCH, "micro_batches")
        return [f"for part, wanted, share in {cut}(inputs, targets, MICRO_BATCH):", *_indented(lines)]

    def _compute_loss(self) -> list[str]:
        backward = self.bundle.name("halftime.places", "plain_backward")
        self.bundle.imports.add(External("collections.abc", "Callable", "Callable"))
        self.bundle.section = "steps"
        head = f"def compute_loss(backward: Callable[[Any], None] = {backward}) -> None:"
        return [head, *_indented(self._losses("backward({})")), ""]

    def _update(self) -> list[str]:
        update = self.acts.update or self.bundle.name("halftime.places", "plain_update")
        lines = [f"update = {update}"]
        for attempt in self.acts.attempts:
            self.bundle.imports.add(External("functools", "partial", "partial"))
            lines.append(f"update = partial({attempt}, update)")
        return lines

    def _judge(self, step: str) -> list[str]:
        lines = _within(self.acts.evaluating, ["score, loss = evaluate(model, valid, device)"])
        lines.append(f'print(f"step {{{step}}} of {{STEPS}}: score {{score:.4f}}, loss {{loss:.4f}}")')
        lines += self.acts.evaluated
        for events in self.acts.events:
            lines += [f"for event in {events}:", "    print(event)"] * bool(events)
        return lines

    def _weights(self) -> str:
        model = "network" if self.live.wrapped else "model"
        return f"return {{name: t.detach().cpu().clone().contiguous() for name, t in {model}.state_dict().items()}}"

    def _moved(self, batch: str) -> str:
        """Inputs and targets of a batch, on the device."""
        if self.pair:
            return f"inputs, targets = (t.to(device, non_blocking=True) for t in {batch})"
        split, on_device = self.bundle.name(BATCH, "split"), self.bundle.name(BATCH, "on_device")
        return f"inputs, targets = {split}({on_device}({batch}, device))"

    def _applied(self, inputs: str) -> str:
        given = self.live.sample[0]
        stars = "**" if isinstance(given, Mapping) else "*" if isinstance(given, (tuple, list)) else ""
        return f"model({stars}{inputs})"


def kind_of(dataset: Any) -> str:
    """How a data set is asked for a batch."""
    if type(dataset) in (Tensors, Pack):
        return "rows"
    return "served" if hasattr(dataset, "served") else "batch" if by_batch(dataset) else "samples"


def _within(contexts: list[str], lines: list[str]) -> list[str]:
    return [f"with {', '.join(contexts)}:", *_indented(lines)] if contexts else lines


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line if line else "" for text in lines for line in text.split("\n")]
