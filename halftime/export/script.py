"""The script: what is carried, and a `main` that does in plain statements what the training loop does."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

from halftime.data.kinds import by_batch
from halftime.errors import BadRecipe
from halftime.export.acts import Translator
from halftime.export.bundle import TOKEN, Bundle
from halftime.export.layout import names, sections, unused
from halftime.export.loop import Loop, kind_of
from halftime.export.modules import USER, External, module_of
from halftime.export.setup import SetUp, set_up
from halftime.export.stand_ins import PLAIN
from halftime.export.task import Reader
from halftime.export.tidy import all_broken, import_lines
from halftime.export.words import about, described, docstring, literal
from halftime.measure.plan import Plan
from halftime.recipe import Recipe
from halftime.run import Run
from halftime.workload import Workload


def script(
    workload: Workload,
    recipe: Recipe,
    seed: int = 0,
    *,
    source: str,
    device: str | None = None,
    plan: Plan | None = None,
    runs: tuple[Run, ...] = (),
    name: str = "train_fast",
    settings: tuple[str, ...] = (),
) -> str:
    """A plain PyTorch script that trains as `train` would, without halftime.

    Args:
        workload: what is learned and how it is judged.
        recipe: methods, budget and batch size.
        seed: of weights, order and augmentation.
        source: where the workload is made: a built-in name, or the path of the user's file that was loaded.
        device: on which it trains; the fastest there is if None, here and where the script runs.
        plan: the steps of a run whose budget was in minutes.
        runs: records of this workload and recipe, whose scores the script tells.
        name: of the script, without its ending.
        settings: of the process, as a program writes them, such as "torch.set_num_threads(2)".

    Raises:
        InputError: workload, recipe and machine do not fit, or a method cannot be exported.
    """
    if recipe.minutes is not None and plan is None:
        raise BadRecipe("a budget in minutes has no steps until it was trained: give --run ID, or a budget in steps")
    live = set_up(workload, recipe, seed, device, plan)
    dropped: frozenset[tuple[str, str]] = frozenset()
    while True:  # what nothing calls is left out, and then what only that called
        composer = Composer(live, recipe, seed, module_of(source), device, dropped)
        text = composer.text(about(workload, recipe, seed, live.plan, runs), name, settings)
        idle = unused(composer.bundle, text)
        if not idle:
            return _free(text)
        dropped |= idle


class Composer:
    """Puts one script together."""

    def __init__(
        self,
        live: SetUp,
        recipe: Recipe,
        seed: int,
        source: str,
        device: str | None,
        dropped: frozenset[tuple[str, str]],
    ) -> None:
        self.live, self.recipe, self.seed, self.device, self.source = live, recipe, seed, device, source
        whole = "threads" if by_batch(live.feed.dataset) else "processes"
        fits = {"fetch": f"fetch_{kind_of(live.feed.dataset)}", "made_ahead": f"by_{whole}"}
        self.bundle = Bundle({(PLAIN, name): (PLAIN, kind) for name, kind in fits.items()}, dropped)
        task = Reader(self.bundle, live.workload, source).run()
        acts = Translator(self.bundle, live, task.loss).run()
        self.loop = Loop(self.bundle, live, recipe, task, acts)

    def text(self, about: str, name: str, settings: tuple[str, ...] = ()) -> str:
        """The whole script."""
        self.bundle.imports |= {External("torch", None, "torch")}
        main = self.loop.main(name, settings)
        evaluation = [*self.loop.due(), *self.loop.evaluate()]
        body = "\n".join([*sections(self.bundle, {"evaluation": evaluation}), *main])
        known = names(self.bundle, body)
        body = TOKEN.sub(lambda m: known[int(m.group(1))], body)
        asked = {n.id for n in ast.walk(ast.parse(body)) if isinstance(n, ast.Name)} | {"torch"}
        imports = {one for one in self.bundle.imports if one.bound in asked}
        head = [docstring(about + self._beside()), "", *import_lines(imports), "", *self._constants()]
        return all_broken("\n".join([*head, body])).rstrip() + "\n"

    def _beside(self) -> str:
        """Which of the user's other files the script imports."""
        if not self.source.startswith(USER):
            return ""
        folder = Path(str(sys.modules[self.source].__file__)).parent
        tops = sorted({one.module.split(".")[0] for one in self.bundle.imports})
        found = [top for top in tops if (folder / f"{top}.py").is_file() or (folder / top / "__init__.py").is_file()]
        return f"It imports {', '.join(found)} from the folder of the workload's file.\n" if found else ""

    def _constants(self) -> list[str]:
        """Named numbers: first those of the run, then those of each method."""
        steps = self.live.plan.total
        lines = [f"SEED = {self.seed}", f"STEPS = {steps}"]
        if len(self.live.plan.segments) > 1:
            lines.append(f"PLAN = {tuple(self.live.plan.segments)!r}  # first step, progress there, steps in all")
        lines.append(f"BATCH_SIZE = {self.recipe.batch_size}")
        if self.recipe.micro_batch:
            lines.append(f"MICRO_BATCH = {self.recipe.micro_batch}")
        lines.append(f"EVALUATIONS = {self.live.workload.evaluations}  # evenly spread over the training")
        fastest = '"cuda" if torch.cuda.is_available() else "cpu"'
        lines.append(f"DEVICE = {literal(self.device) if self.device else fastest}")
        before = None
        for name, (method, _, value) in sorted(self.bundle.constants.items(), key=self._written):
            if method is not before:
                lines += ["", f"# {type(method).__name__}: {described(type(method))}"]
            lines.append(f"{name} = {literal(value)}")
            before = method
        return lines

    def _written(self, item: tuple[str, tuple[Any, str, Any]]) -> tuple[int, int]:
        method, field, _ = item[1]
        return self.live.methods.index(method), list(method.to_dict()).index(field)


def _free(text: str) -> str:
    """The script, if it imports nothing of halftime."""
    for node in ast.walk(ast.parse(text)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        if any(name.split(".")[0] == "halftime" for name in names):
            raise BadRecipe(
                f"cannot be exported: a function imports {names[0]} when it is called: import it at the top"
            )
    return text
