"""What a proof says, in sentences: the question, why the verdict is what it is, and what to keep in mind."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from halftime.measure.judge import PROVED, PROVISIONAL, Arm
from halftime.measure.proof import Proof
from halftime.places import Method
from halftime.recipe import Recipe
from halftime.report.words import NONE, change, clean, count, duration, fit, raised, short, signed, times
from halftime.run import Run

MEANING = {
    "proved": f"At least {PROVED} seeds. The whole 95 % interval of the ratio lies above 1×, and the final score is "
    "shown to be not worse by more than the margin.",
    "provisional": f"The intervals are clear of their limits, but on fewer than {PROVED} seeds. "
    f"{PROVED} are asked for before it counts as proved.",
    "hint": f"One or two seeds point this way. That is too few to tell a gain from luck; {PROVISIONAL} seeds are "
    "the least for an interval that counts.",
    "not shown": "These runs do not settle it. That is not proof that there is no difference.",
    "worse": "An interval shows a loss: the fast recipe is later, or its final score is worse beyond the margin.",
}


def name(method: Method) -> str:
    """What a method is called."""
    return type(method).__name__


def contrast(base: Recipe, fast: Recipe) -> tuple[str, str]:
    """Short names of two recipes: what each has that the other has not."""
    first, second = ({name(m): m.to_dict() for m in r.methods} for r in (base, fast))
    shown = []
    for mine, other in ((first, second), (second, first)):
        words = []
        for called, values in mine.items():
            if called not in other:
                words.append(called)
            elif values != other[called]:
                changed = (
                    f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}"
                    for k, v in values.items()
                    if v != other[called].get(k)
                )
                words.append(f"{called}({', '.join(changed)})")
        shown.append(" + ".join(words[:3]) + (f" + {len(words) - 3} more" if len(words) > 3 else ""))
    if not any(shown):
        shown = [f"{r.budget}, batch {r.batch_size}" for r in (base, fast)]
    for i, r in enumerate((base, fast)):
        shown[i] = fit(clean(shown[i] or ("the same without" if r.methods else "the bare loop")), 90)
    return shown[0], shown[1]


def told_apart(recipes: Iterable[Recipe]) -> dict[str, str]:
    """A short name for each recipe by its hash: its methods, with the settings that not all of them share."""
    kinds = {r.hash: r for r in recipes}
    seen: dict[tuple[str, str], set[str]] = {}
    for recipe in kinds.values():
        for method in recipe.methods:
            for field, value in method.to_dict().items():
                seen.setdefault((name(method), field), set()).add(_value(value))
    found = {}
    for key, recipe in kinds.items():
        words = []
        for method in recipe.methods:
            own = [f"{k}={_value(v)}" for k, v in method.to_dict().items() if len(seen[name(method), k]) > 1]
            words.append(f"{name(method)}({', '.join(own)})" if own else name(method))
        found[key] = clean(f"{' + '.join(words) or 'empty'}, {recipe.budget}, batch {recipe.batch_size}")
    return found


def question(proof: Proof) -> str:
    """The title of the page."""
    base, fast = contrast(proof.base.recipe, proof.fast.recipe)
    than = "itself, trained again" if base == fast else base
    name = fit(clean(proof.workload["name"]), 80)
    return f"Does {fast} reach {short(proof.workload['target'])} on {name} sooner than {than}?"


def why_no_ratio(proof: Proof) -> str:
    """Why no ratio may be said, or nothing where one may."""
    if proof.ratio is None:
        return "no pair of runs is complete yet"
    if not proof.fast.hits:
        return "no ratio: the fast recipe never met the target"
    if any(run.state == "failed" for run in proof.fast.runs):
        return "no ratio: a fast run failed"
    if all(any(not run.hit for run in arm.runs) for arm in (proof.base, proof.fast)):
        return "no ratio: both recipes miss the target on some seeds"
    return ""


def ratio_words(proof: Proof) -> tuple[str, str]:
    """The ratio as large as it may be said, and the line under it."""
    ratio, refusal = proof.ratio, why_no_ratio(proof)
    if ratio is None or refusal:
        return NONE, refusal
    said = "sooner to the target" if ratio.estimate >= 1 else "as soon to the target: below 1×, so later"
    said += "; one seed has no interval" if ratio.n == 1 else ""
    return f"{ratio.bound} {times(ratio.estimate)}".strip(), said


def interval_words(proof: Proof) -> str:
    """The interval of the ratio, or nothing where there is none."""
    ratio = proof.ratio
    if ratio is None or ratio.n < 2 or why_no_ratio(proof):
        return ""
    if ratio.low == 0 and math.isinf(ratio.high):
        return "no end on either side yet"
    if math.isinf(ratio.high):
        return f"from {times(ratio.low)}, no upper end"
    return f"{times(ratio.low)} to {times(ratio.high)}" if ratio.low > 0 else f"up to {times(ratio.high)}, no lower end"


def reasons(proof: Proof) -> list[str]:
    """Why the verdict is what it is."""
    if proof.ratio is None:
        return ["No seed has been trained to its end by both recipes yet."]
    found = [_reason_time(proof), _reason_quality(proof)]
    if proof.more and proof.more > 0 and not why_no_ratio(proof):
        price = duration(proof.more * proof.pair_seconds)
        found.append(f"{count(proof.more, 'more seed')} would likely settle it, for about {price} of device time.")
    if proof.design is not None:
        found.append(f"Design: {proof.design.words}; {proof.settled or 'not settled yet'}.")
    return found


def _reason_time(proof: Proof) -> str:
    ratio = proof.ratio
    assert ratio is not None  # the caller has looked
    if refusal := why_no_ratio(proof):
        return f"Time: {refusal}."
    if ratio.n < 2:
        return "Time: with one seed there is no interval, so luck cannot be told from gain."
    said = f"Time: the {proof.interval} of the ratio, {interval_words(proof)},"
    if ratio.low > 1:
        return f"{said} lies above 1× as a whole."
    if ratio.high < 1:
        return f"{said} lies below 1× as a whole: the fast recipe is later."
    return f"{said} includes 1×."


def _reason_quality(proof: Proof) -> str:
    quality, margin = proof.quality, raised(proof.margin, 3)
    if quality is None:
        failed = any(run.state == "failed" for run in proof.fast.runs)
        return f"Quality: not comparable, {'a fast run failed' if failed else 'final scores are missing'}."
    said = f"the fast recipe's final score is {change(quality.estimate)}"
    if quality.n > 1:
        said += f" (interval {signed(quality.low)} to {signed(quality.high)})"
    if proof.same_quality:
        shown = "not worse by more than the margin" if quality.n > 1 else "within the margin on one seed"
        return f"Quality: {said}, {shown} {margin}."
    sure = "worse" if quality.n > 1 and quality.high < -proof.margin else "perhaps worse"
    return f"Quality: {said}, {sure} by more than the margin {margin}."


def caveats(proof: Proof) -> list[str]:
    """What a reader should keep in mind."""
    runs = [*proof.base.runs, *proof.fast.runs]
    found = []
    if not proof.complete:
        done = proof.ratio.n if proof.ratio else 0
        found.append(f"{done} of {proof.planned} planned seeds are done by both recipes: the verdict may still change.")
    if not proof.base.tuning.tuned:
        found.append(f"The base is {proof.base.tuning}. A base at a poor learning rate flatters any rival.")
    for called, arm in (("base", proof.base), ("fast", proof.fast)):
        missed = len(arm.runs) - len(arm.hits)
        if missed:
            found.append(f"{count(missed, f'{called} run')} missed the target: counted as at least as long as trained.")
        failed = sum(run.state == "failed" for run in arm.runs)
        if failed:
            found.append(f"{count(failed, f'{called} run')} failed; the reason stands in the table of runs.")
    if any(run.hit and run.hit[0] == 0 for run in runs):
        found.append("A run met the target by its first evaluation: when exactly is not known. Evaluate more often.")
    if proof.ratio and proof.least is not None and proof.ratio.n > 1 and proof.least < proof.ratio.low:
        found.append(f"Evaluations are far apart: read against the claim, the brackets give {times(proof.least)}.")
    return found + record_caveats(runs)


def record_caveats(runs: list[Run]) -> list[str]:
    """What the records themselves give to keep in mind."""
    found = []
    changed = sum(run.intact is False for run in runs)
    if changed:
        found.append(f"The records of {count(changed, 'run')} were changed or damaged after they were written.")
    stopped = sum(run.attempts > 1 for run in runs)
    if stopped:
        found.append(f"{count(stopped, 'run')} went on after a stop: time is the sum over the attempts.")
    code = {(c.get("commit"), c.get("dirty")) for c in (run.fingerprint.get("code", {}) for run in runs)}
    if len(code) > 1:
        found.append("The runs are not all of the same code.")
    if any(dirty for _, dirty in code):
        found.append("The code had changes that were not committed.")
    devices = {str(_model(run)) for run in runs}
    if len(devices) > 1:
        found.append("The runs are not all of the same machine: their seconds do not compare.")
    return found


def _model(run: Run) -> tuple[Any, ...]:
    machine = run.fingerprint.get("machine", {})
    return (run.device, machine.get("cpu"), machine.get("gpu"), machine.get("threads"))


def differences(base: Recipe, fast: Recipe) -> list[tuple[str, str, str, str]]:
    """(what, base, fast, kind) for all that differs; kind is "base", "fast" or "changed"."""
    rows = []
    first, second = ({name(m): m.to_dict() for m in r.methods} for r in (base, fast))
    for called in (*first, *(n for n in second if n not in first)):
        if called not in second:
            rows.append((called, _fields(first[called]), "absent", "base"))
        elif called not in first:
            rows.append((called, "absent", _fields(second[called]), "fast"))
        else:
            fields = dict.fromkeys((*first[called], *second[called]))
            values = [(f"{called} · {f}", first[called].get(f), second[called].get(f)) for f in fields]
            rows += [(what, _value(a), _value(b), "changed") for what, a, b in values if _value(a) != _value(b)]
    sizes = [
        ("budget", base.budget, fast.budget),
        ("batch size", str(base.batch_size), str(fast.batch_size)),
        ("micro batch", _value(base.micro_batch), _value(fast.micro_batch)),
    ]
    return rows + [(what, a, b, "changed") for what, a, b in sizes if a != b]


def _fields(values: dict[str, Any]) -> str:
    return ", ".join(f"{k} = {_value(v)}" for k, v in values.items()) or "no settings"


def _value(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return "none" if value is None else str(value)


def same(base: Recipe, fast: Recipe) -> list[str]:
    """What both recipes share."""
    found = [
        str(m) for m in base.methods if any(name(m) == name(o) and m.to_dict() == o.to_dict() for o in fast.methods)
    ]
    found += [f"budget {base.budget}"] if base.budget == fast.budget else []
    return found + ([f"batch size {base.batch_size}"] if base.batch_size == fast.batch_size else [])


def noise_words(arm: Arm) -> str:
    """The spread between seeds, and what it means in per cent."""
    if arm.noise is None:
        return NONE
    return f"{arm.noise:.3f}"
