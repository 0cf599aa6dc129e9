"""One self-contained HTML file for a proof, or for a set of runs: it opens from disk, loads nothing, runs no script."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from halftime.ledger.lines import read
from halftime.measure.ablation import Ablation
from halftime.measure.judge import PROVED, PROVISIONAL, Arm
from halftime.measure.proof import Proof
from halftime.measure.receipt import MACHINE
from halftime.measure.sequential import Design
from halftime.measure.statistics import median
from halftime.report import argument, figures, waiting, waterfall, words
from halftime.run import Run, attempt_files

HERE = Path(__file__).parent


def proof_page(proof: Proof, ablation: Ablation | None = None) -> str:
    """A proof as an HTML document: the verdict, what it rests on, what it does not say, and how to do it again.

    Args:
        proof: as loaded; also one that is not complete, or where runs missed or failed.
        ablation: of its fast recipe, if there is one.

    Returns:
        The text of the file. It names no host, no user and no absolute path.
    """
    runs = [*proof.base.runs, *proof.fast.runs]
    named = [*((r, "base", f"base, seed {r.seed}") for r in proof.base.runs)]
    named += [(r, "fast", f"fast, seed {r.seed}") for r in proof.fast.runs]
    keys = figures.arm_keys(proof)
    arms = [("base", proof.base), ("fast", proof.fast)]
    target, better = proof.workload["target"], proof.workload["better"]
    return render(
        "proof.html.jinja",
        title=argument.question(proof),
        proof=proof,
        ratio=argument.ratio_words(proof),
        interval=argument.interval_words(proof),
        meaning=argument.MEANING[proof.verdict],
        reasons=argument.reasons(proof),
        caveats=argument.caveats(proof),
        arms=[_arm(called, label, arm) for (called, arm), (_, label) in zip(arms, keys, strict=True)],
        cost=_cost(runs),
        seeds=_seeds(proof),
        charts={
            "ratio": figures.ratio_strip(proof),
            "curves": figures.proof_curves(proof),
            "spans": figures.proof_spans(proof),
            "scores": figures.score_rows(proof),
            "gap": figures.gap_strip(proof),
            "loss": figures.loss_chart("loss", named, keys),
        },
        cropped=figures.cropped(runs, target, better),
        differences=argument.differences(proof.base.recipe, proof.fast.recipe),
        same=argument.same(proof.base.recipe, proof.fast.recipe),
        rows=_rows(named),
        again=_again(proof),
        ablation=taken_apart(ablation) if ablation else None,
        about=_about(proof.fingerprint),
        enough={"proved": PROVED, "provisional": PROVISIONAL},
    )


def runs_page(runs: Sequence[Run]) -> str:
    """Runs as an HTML document: curves and times by workload, a table of all, recipes and machines.

    Args:
        runs: any number, of any workloads, in any state.

    Returns:
        The text of the file. It names no host, no user and no absolute path.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps([run.workload[k] for k in ("name", "data", "target", "better")]), []).append(run)
    names = list(dict.fromkeys(str(run.workload["name"]) for run in runs))
    title = f"{words.count(len(runs), 'run')} of {', '.join(names[:3])}{' and more' * (len(names) > 3)}"
    prints = {json.dumps(_about(run.fingerprint), default=str): _about(run.fingerprint) for run in runs}
    return render(
        "runs.html.jinja",
        title=title if runs else "No runs",
        groups=[_group(i, group) for i, group in enumerate(groups.values())],
        recipes={run.recipe.hash: run.recipe for run in runs},
        caveats=argument.record_caveats(list(runs)),
        cost=_cost(runs),
        about=list(prints.values()),
    )


def ablation_page(found: Ablation) -> str:
    """A recipe taken apart as an HTML document: two waterfalls, the table behind them, and what to keep in mind.

    Args:
        found: as loaded; also one that is not complete.

    Returns:
        The text of the file. It names no host, no user and no absolute path.
    """
    return render(
        "ablation.html.jinja",
        title=f"What is each part of {argument.contrast(found.base, found.recipe)[1]} worth?",
        found=found,
        ablation=taken_apart(found),
        rows=_rows([(run, "", "") for run in found.runs]),
        cost=_cost(found.runs),
        about=_about(found.fingerprint),
    )


def taken_apart(found: Ablation) -> dict[str, Any]:
    """What a page shows of an ablation."""
    whole = waterfall.Fall.of("in all", found.whole)
    alone = waterfall.alone_of(found)
    return {
        "id": found.id,
        "words": found.words,
        "rows": waterfall.rows(found),
        "whole": waterfall.words(found.whole),
        "interaction": waterfall.words(found.interaction),
        "notes": waterfall.notes(found),
        "base": found.base,
        "shares": waterfall.chart("shares", "Shares that multiply to the whole", waterfall.shares_of(found), whole),
        "alone": waterfall.chart("alone", "Each change alone, and the interaction", alone, whole),
    }


def render(template: str, **content: Any) -> str:
    """Fill a template; every text is cleaned, then escaped."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    pages = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else words.clean(value),
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    pages.globals |= {"style": Markup(style), "style_digest": digest, "w": words}
    return pages.get_template(template).render(**content)


def _arm(name: str, label: str, arm: Arm) -> dict[str, Any]:
    scores = [run.score for run in arm.runs if run.score is not None and math.isfinite(run.score)]
    joules = [run.joules for run in arm.runs if run.joules is not None]
    method = arm.recipe.get("optimizer")
    return {
        "name": name,
        "label": label,
        "arm": arm,
        "recipe": arm.recipe,
        "missed": len(arm.runs) - len(arm.hits),
        "noise": argument.noise_words(arm),
        "score": median(scores) if scores else None,
        "joules": sum(joules) if joules else None,
        "training": sum(run.seconds for run in arm.runs),
        "spans": _spans(arm.runs),
        "optimizer": type(method).__name__ if method else "",
    }


def _spans(runs: Sequence[Run]) -> dict[str, float]:
    names = sorted({name for run in runs for name in run.spans})
    return {name: sum(run.spans.get(name, 0.0) for run in runs) for name in names}


def _cost(runs: Sequence[Run]) -> dict[str, Any]:
    joules = [run.joules for run in runs if run.joules is not None]
    return {
        "runs": len(runs),
        "device": sum(run.device_seconds for run in runs),
        "training": sum(run.seconds for run in runs),
        "joules": sum(joules) if joules else None,
        "counted": len(joules),
        "spans": _spans(runs),
    }


def _seeds(proof: Proof) -> list[dict[str, Any]]:
    """The table behind the charts: a row for each planned seed."""
    ratios = {seed: f"{bound} {words.times(ratio)}".strip() for seed, ratio, bound in figures.seed_ratios(proof)}
    gaps = dict(figures.score_gaps(proof))
    arms = [{run.seed: run for run in arm.runs} for arm in (proof.base, proof.fast)]
    return [
        {
            "seed": seed,
            "runs": [arm.get(seed) for arm in arms],
            "times": [_time(arm.get(seed)) for arm in arms],
            "ratio": ratios.get(seed, words.NONE),
            "gap": words.signed(gaps.get(seed), 3),
        }
        for seed in proof.seeds
    ]


def _time(run: Run | None) -> str:
    """Seconds to target: the bracket, or what it is longer than."""
    if run is None:
        return "not run yet"
    if run.hit:
        return f"{words.exact(run.hit[0])} to {words.exact(run.hit[1])}"
    if run.workload["target"] is None:
        return words.NONE
    missed = "not yet" if run.state == "running" else "missed"
    return f"{missed}, more than {words.exact(run.seconds)}"


def _rows(named: Sequence[tuple[Run, str, str]]) -> list[dict[str, Any]]:
    """What the table of runs shows; hosts and users are taken out of free text."""
    rows = []
    for run, arm, _ in named:
        hide = words.names_here() | _hosts(run)
        notes = [words.private(note, hide) for note in (run.reason, *run.events) if note]
        intact = {True: "intact", False: "changed", None: "open"}[run.intact]
        rows.append({"run": run, "arm": arm, "time": _time(run), "notes": notes, "intact": intact})
    return rows


def _hosts(run: Run) -> set[str]:
    """Names of the machines that a run's records were written on, so that they can be hidden."""
    starts = [records[0] for records, _ in map(read, attempt_files(run.folder)) if records]
    hosts = {str(start.get("host", "")) for start in starts}
    return hosts | {host.partition(".")[0] for host in hosts}


def _group(number: int, runs: list[Run]) -> dict[str, Any]:
    """The runs of one workload."""
    workload, styles, keys = runs[0].workload, figures.run_styles(runs), figures.run_keys(runs)
    named = [(run, styles[run.recipe.hash], f"{run.recipe}, seed {run.seed}") for run in runs]
    lines = [figures.score_curve(*one) for one in named]
    about = f"{words.count(len(lines), 'line')}, one a run."
    name, target, better = f"g{number}", workload["target"], workload["better"]
    return {
        "workload": workload,
        "runs": runs,
        "rows": _rows(named),
        "cropped": figures.cropped(runs, target, better),
        "curves": figures.score_chart(f"{name}-curves", about, lines, keys, target, better),
        "spans": figures.run_spans(f"{name}-spans", named) if target is not None else "",
        "loss": figures.loss_chart(f"{name}-loss", named, keys),
        "waits": [w for i, run in enumerate(runs[: waiting.MOST]) if (w := waiting.waits(f"{name}-w{i}", run))],
    }


def _again(proof: Proof) -> dict[str, Any]:
    """How to do the proof again: files and command lines."""
    source = words.clean(proof.workload.get("source") or "").removeprefix("…/")
    seeds = _seeds_again(proof)
    line = ["halftime", "prove", source, "--base", "base.json", "--fast", "fast.json", *(seeds or ())]
    line += ["--device", re.sub(r":\d+$", "", proof.device)]
    commit = str(proof.fingerprint.get("code", {}).get("commit") or "")
    return {
        "source": source,
        "commit": commit if re.fullmatch(r"[0-9a-f]{7,64}", commit) else "",
        "line": " ".join(map(shlex.quote, line)) if source and seeds else "",
        "first": proof.seeds[0],
        "device": re.sub(r":\d+$", "", proof.device),
    }


def _seeds_again(proof: Proof) -> list[str] | None:
    """How many seeds were asked for, or what a sequential design was asked to find; None if no option can say it."""
    plan = proof.design
    if proof.seeds[0] != 0:
        return None
    if plan is None:
        return ["--seeds", str(len(proof.seeds))]
    asked = [] if plan.gain is None else ["--gain", f"{plan.gain:g}", "--noise", f"{plan.noise:.6g}"]
    effect = plan.effect if asked else Design.effect
    usual = Design(effect, most=plan.most, gain=plan.gain, noise=plan.noise, quality=plan.quality)
    return ["--sequential", *asked, "--most", str(plan.most)] if plan == usual else None


def _about(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Of a fingerprint, what may be shown."""
    machine = fingerprint.get("machine", {})
    return {
        "code": fingerprint.get("code", {}),
        "packages": dict(fingerprint.get("packages", {})),
        "machine": {
            k.replace("_gib", " (GiB)").replace("_", " "): machine[k] for k in MACHINE if machine.get(k) is not None
        },
    }
