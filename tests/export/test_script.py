"""Scripts are executed where halftime cannot be imported, and give the very weights of the run."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import halftime as ht
from halftime.cli import arguments as read
from halftime.errors import BadRecipe
from halftime.export.script import script
from halftime.methods import (
    ALL,
    EMA,
    SGD,
    AdamW,
    ConflictMeter,
    CutMix,
    GradientSurgery,
    Guard,
    MixedPrecision,
    OneCycle,
    ProgressiveResize,
    ScheduleFree,
    SoftPrune,
    TaskWeights,
)
from tests.contract.tasks import FP16, ON_CPU, name, recipe, trained, weights

from .tasks import BARS, HEADS, WORDS, digest_of_weights, executed, exported, loaded

RUFF = """
line-length = 120
target-version = "py311"
[lint]
select = ["B", "C4", "E", "F", "I", "PIE", "RET", "SIM", "UP", "W"]
[lint.isort]
split-on-trailing-comma = false
[format]
skip-magic-trailing-comma = true
"""
# each method alone, loss scaling, nothing at all, and what meets in the step
RECIPES: dict[str, ht.Recipe] = {
    **{name(m): recipe(m, steps=15) for m in ON_CPU},
    "scaled": recipe(FP16, steps=15),
    "empty": ht.Recipe(steps=15, batch_size=16),
    "pieces": recipe(steps=8, micro_batch=5),
    "many": recipe(
        AdamW(lr=0.01), OneCycle(), EMA(decay=0.9), CutMix(), Guard(every=4), FP16, ProgressiveResize(), steps=15
    ),
    "dwa": recipe(TaskWeights(rule="dwa", every=3), GradientSurgery(), ConflictMeter(every=2), steps=15),
    "gradnorm": recipe(TaskWeights(rule="gradnorm"), EMA(decay=0.9), steps=15, micro_batch=7),
    "looks": recipe(ScheduleFree(batches=16), SoftPrune(share=0.9), steps=15),
    "paired": recipe(ProgressiveResize(smallest=0.5, until=0.6, paired=True), steps=15),
    "half": recipe(MixedPrecision(), CutMix(), SGD(lr=0.1), steps=15, micro_batch=7),
}
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}  # as the run here: another number of threads rounds otherwise
UNTIDY = {  # scripts of which a linter still complains: long lines, closures in the loop, the order of imports
    "AlternatingFlip", "MultiDevice", "Packed", "SequenceGrowth", "SoftPrune", "SubsetPretrain", "gradnorm",
    "looks", "paired",
}  # fmt: skip
STEERED = {"EasyFirst", "SoftPrune", "SubsetPretrain", "looks", "paired"}  # whose order, or size, keeps a state
OURS = [path.stem for path in sorted((Path(__file__).parents[2] / "recipes").glob("digits_*")) if path.suffix != ".md"]
assert OURS


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def file_of(what: ht.Recipe) -> str:
    """The user's file that a recipe is for."""
    needs = {need for method in what.methods for need in method.needs}
    return "heads" if "heads" in needs else "words" if "tokens" in needs else "bars"


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[str, str, str]]:
    """(the script, the digest of the run's weights, that of the script's) for each recipe."""
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("halftime.data.storage.cache", lambda: folder / "cache")
        (folder / "bars.py").write_text(BARS)
        (folder / "heads.py").write_text(HEADS)
        (folder / "words.py").write_text(WORDS)
        learned = {key: loaded(folder / f"{file_of(what)}.py") for key, what in RECIPES.items()}
        paths = [exported(folder / f"{key}.py", made, RECIPES[key], source) for key, (made, source) in learned.items()]
        runs = {k: digest_of_weights(weights(trained(made, RECIPES[k], folder))) for k, (made, _) in learned.items()}
        allowed = [*learned]
    digests = executed(paths, folder)
    return {key: ((folder / f"{key}.py").read_text(), runs[key], digests[key]) for key in allowed}


@pytest.mark.parametrize("key", RECIPES)
def test_the_script_gives_the_weights_of_the_run_bit_for_bit(
    key: str, scripts: Mapping[str, tuple[str, str, str]]
) -> None:
    _, run, again = scripts[key]
    assert again == run


def test_every_method_was_executed(scripts: Mapping[str, tuple[str, str, str]]) -> None:
    here = {name(method) for method in ON_CPU}  # the others need a device that this is not
    assert here == scripts.keys() & {kind.__name__ for kind in ALL}
    assert len(scripts) >= len(here) + 5
    assert len({run for _, run, _ in scripts.values()}) > 20  # exact methods aside, each trains in its own way


def test_no_script_imports_halftime_or_speaks_to_its_tools(scripts: Mapping[str, tuple[str, str, str]]) -> None:
    for key, (text, _, _) in scripts.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                assert "halftime" not in ast.unparse(node)
        assert not re.search(r"type: ignore|noqa|>>> |__carried_|Places", text)
        assert key in STEERED or "state_dict(self" not in text


def test_scripts_are_linted_and_formatted(scripts: Mapping[str, tuple[str, str, str]], tmp_path: Path) -> None:
    (tmp_path / "ruff.toml").write_text(RUFF)
    for key, (text, _, _) in scripts.items():
        (tmp_path / f"{key}.py").write_text(text)
    found = set()
    for command in (["check", "--output-format", "concise"], ["format", "--diff"]):
        tool = [sys.executable, "-m", "ruff", *command, "--no-cache", "--config", str(tmp_path / "ruff.toml")]
        done = subprocess.run([*tool, "."], capture_output=True, text=True, cwd=tmp_path)
        found |= set(re.findall(r"^(?:\+\+\+ )?(\w+)\.py(?::\d+.*)?$", done.stdout, re.M))
    assert found == UNTIDY
    assert len(found) < len(scripts) / 5


def test_an_empty_recipe_is_the_bare_loop(scripts: Mapping[str, tuple[str, str, str]]) -> None:
    text = scripts["empty"][0]
    loop = text[text.index("    # training") : text.index("        if due")]
    assert loop.splitlines()[1:] == [
        "    for step, batch in enumerate(islice(batches(train, BATCH_SIZE, SEED), STEPS)):",
        "        inputs, targets = (t.to(device, non_blocking=True) for t in batch)",
        "        optimizer.zero_grad(set_to_none=True)",
        "        loss = cross_entropy(model(inputs), targets)",
        "        loss.backward()",
        "        optimizer.step()",
    ]
    assert "unused" not in text


def test_branches_that_the_fields_decide_are_left_out(scripts: Mapping[str, tuple[str, str, str]]) -> None:
    assert "GradScaler" not in scripts["MixedPrecision"][0]
    assert "GradScaler" in scripts["scaled"][0]
    assert "nesterov=True" in scripts["SGD"][0]


@pytest.mark.parametrize("stem", OURS)
def test_the_recipes_that_come_with_halftime(stem: str, tmp_path: Path) -> None:
    """The whole training: the script's weights are those of the run, byte for byte in the file."""
    workload, _, source = read.workload("digits")
    what = read.recipe(stem)
    run = trained(workload, what, tmp_path)
    path = exported(tmp_path / "train_fast.py", workload, what, source)
    done = subprocess.run([sys.executable, "-I", path.name], cwd=tmp_path, capture_output=True, text=True, env=ALONE)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "train_fast.safetensors").read_bytes() == run.weights.read_bytes()
    assert f"score {run.score:.4f}" in done.stdout.splitlines()[-1]


def test_a_budget_in_minutes_needs_a_run(tmp_path: Path) -> None:
    (tmp_path / "bars.py").write_text(BARS)
    workload, source = loaded(tmp_path / "bars.py")
    what = ht.Recipe([SGD(lr=0.1), OneCycle()], minutes=0.02, batch_size=16)
    with pytest.raises(BadRecipe, match="--run"):
        script(workload, what, source=source, device="cpu")
    run = trained(workload, what, tmp_path)
    assert run.plan
    plan = ht.Plan.of(run.plan)
    text = script(workload, what, source=source, device="cpu", plan=plan, runs=(run,))
    assert run.id in text
    (tmp_path / "paced.py").write_text(text)
    assert executed([tmp_path / "paced.py"], tmp_path)["paced"] == digest_of_weights(weights(run))
