"""What an expert would ask about a receipt, the weakest number first, with the answers that the ledger has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from halftime.measure.judge import PROVED
from halftime.report.words import count, duration, floored, raised, short, times

Content = dict[str, Any]
UNKNOWN = "The ledger does not know."


@dataclasses.dataclass(frozen=True)
class Question:
    """A question and its answer; `known` says whether the ledger has one."""

    asks: str
    answer: str
    known: bool = True


def weakest(receipt: Content) -> tuple[str, float]:
    """Which number of a receipt rests on the least, and how many half-widths of its interval it is clear of its limit.

    Args:
        receipt: as `halftime.measure.receipt.receipt` makes it.

    Returns:
        Its name in words, and the distance; below 1 the interval includes the limit, infinite where nothing varies.
    """
    found = []
    ratio, quality = receipt["ratio"], receipt["quality"]
    if ratio and ratio["estimate"] > 0:
        low = ratio["low"]
        half = math.log(ratio["estimate"] / low) if low > 0 else math.inf
        found.append(("how many times sooner the target is met", _clear(math.log(ratio["estimate"]), half)))
    if quality:
        low = quality["low"]
        half = quality["estimate"] - low if low is not None else math.inf
        found.append(("that the quality is the same", _clear(quality["estimate"] + receipt["margin"], half)))
    for part in (receipt["ablation"] or {"parts": []})["parts"]:
        effect = part["without"]
        if receipt["ablation"]["verdicts"][part["name"]] == "pays":
            half = math.log(effect["estimate"] / effect["low"])
            found.append((f"that {part['name']} is needed", _clear(math.log(effect["estimate"]), half)))
    return min(found, key=lambda one: one[1], default=("that there is any number", 0.0))


def _clear(distance: float, half: float) -> float:
    return distance / half if half > 0 else math.inf


def questions(receipt: Content) -> list[Question]:
    """What an expert would ask: first about the weakest number, then what every such claim is asked.

    Args:
        receipt: as `halftime.measure.receipt.receipt` makes it.
    """
    asked: tuple[Callable[[Content], Question], ...] = (
        _weakest, _seeds, _machine, _tuned, _data, _margin, _leak, _brackets, _misses, _chosen, _parts,
    )  # fmt: skip
    return [ask(receipt) for ask in asked]


def _weakest(receipt: Content) -> Question:
    name, clear = weakest(receipt)
    asks = f"The weakest number is {name}: how near is it to nothing?"
    if clear == math.inf:
        return Question(asks, "All seeds agree to the last digit, so its interval has no width.")
    side = "clear of its limit" if clear > 1 else "not clear of its limit"
    answer = f"The estimate lies {short(clear, 3)} half-widths of its interval from its limit, so it is {side}."
    ratio = receipt["ratio"]
    if ratio and ratio["sd"] is not None:
        answer += f" The log ratios of single seeds have a standard deviation of {short(ratio['sd'], 2)}."
    return Question(asks, answer)


def _seeds(receipt: Content) -> Question:
    ratio = receipt["ratio"]
    n = ratio["n"] if ratio else 0
    few = "as many as a proof asks for, or more" if n >= PROVED else f"fewer than the {PROVED} that a proof asks for"
    text = f"{count(n, 'paired seed')}, {few}."
    if receipt["sequential"]:
        settled = receipt["sequential"]["settled"] or "not settled yet"
        text += f" The number was not fixed: {settled}; the intervals are those that hold at every look."
    elif n > 1:
        text += " The number was fixed beforehand; the interval is Student's, which is wide where seeds are few."
    text += " Whether the logarithms are normal, so few seeds cannot tell."
    return Question("Are there enough seeds?", text)


def _machine(receipt: Content) -> Question:
    context = receipt["context"]
    one = context["machines"] == 1
    text = "All runs are of one machine and device" if one else f"No: the runs are of {context['machines']} machines"
    text += (
        " and one state of the code." if context["codes"] == 1 else f", and of {context['codes']} states of the code."
    )
    text += " The two sides took turns in random order, so slow drift of the machine hits both."
    if receipt["code"].get("dirty"):
        text += " The code had changes that were not committed."
    if not receipt["code"].get("commit"):
        text += " Which commit it was is not known."
    return Question("Was it the same machine and code on both sides?", f"{text} Another machine was not tried.")


def _tuned(receipt: Content) -> Question:
    before, after = (receipt[side]["tuning"] for side in ("before", "after"))
    known = receipt["before"]["tuned"]
    text = f"Base: {before}. Fast recipe: {after}."
    if not known:
        text += " So the ledger does not know that the base is at its best."
    return Question("Was the base tuned as hard as the fast recipe?", text, known)


def _data(receipt: Content) -> Question:
    other = receipt["context"]["elsewhere"]
    if not other:
        return Question(
            "Does it hold on other data?", f"{UNKNOWN} It has no proof of the same methods elsewhere.", False
        )
    text = ", ".join(f"{one['verdict']} on {one['workload']} (proof {one['proof']})" for one in other[:5])
    return Question("Does it hold on other data?", f"Proofs of the same methods, at whatever settings: {text}.")


def _margin(receipt: Content) -> Question:
    quality, margin = receipt["quality"], raised(receipt["margin"], 3)
    asks = "By which margin is the quality the same, and who chose it?"
    text = f"The margin is {margin}; it belongs to the workload, set before any run of the proof."
    if quality is None:
        return Question(asks, f"{text} The final scores could not be compared.", False)
    low = "open" if quality["low"] is None else floored(quality["low"], 2)
    return Question(
        asks, f"{text} The lower end of the difference of final scores is {low}, over {quality['n']} pairs."
    )


def _leak(receipt: Content) -> Question:
    context = receipt["context"]
    asks = "Was anything chosen on the data that judges it?"
    text = (
        f"The target is judged on the validation data, on which {count(context['runs_before'], 'earlier run')} in the "
        f"ledger looked, {context['runs_before_on_its_seeds']} of them on seeds of the proof. "
    )
    if context["runs_before"] == 0:
        text = "No earlier run in the ledger looked at the validation data. "
    return Question(
        asks, f"{text}Whether there is a test set that nobody has looked at, the ledger does not know.", False
    )


def _brackets(receipt: Content) -> Question:
    first, least = receipt["context"]["first_look_hits"], receipt["least"]
    asks = "How exactly is the moment known at which the target was met?"
    text = "It lies between two evaluations; the later one is used on both sides."
    if least is not None:
        text += f" With every bracket read against the claim, the ratio would be {times(least)}."
    if first:
        text += f" {count(first, 'run')} had met the target by the first evaluation: when exactly is not known."
    return Question(asks, text, not first)


def _misses(receipt: Content) -> Question:
    missed = [receipt[side]["n"] - receipt[side]["reached"] for side in ("before", "after")]
    text = f"{missed[0]} base and {missed[1]} fast runs missed the target."
    text += " They count as at least as long as they were trained." if any(missed) else " Nothing was left out."
    return Question("Were failures left out?", text)


def _chosen(receipt: Content) -> Question:
    search = receipt["search"]
    asks = "How many things were tried until one of them won, and what did that cost?"
    if search is None:
        return Question(asks, f"{UNKNOWN} No search in it ended in this proof.", False)
    text = f"A search judged {count(search['tried'], 'change')} in {duration(search['seconds'])}"
    text += f" on {search['devices']} devices." if search["devices"] > 1 else "."
    if len(search["proofs"]) > 1:
        text += f" A first proof, {search['proofs'][0]}, failed; the error rate of both together is that of one."
    if search["pays_back"] is not None:
        text += f" It pays back after {search['pays_back']} trainings."
    return Question(asks, text)


def _parts(receipt: Content) -> Question:
    found = receipt["ablation"]
    asks = "Which of the changes is it?"
    left = [one for one in (receipt["search"] or {"left_out": []})["left_out"] if one["ratio"] is not None]
    if found is None and left:
        ends = [f"{times(one['low'])} to {times(one['high'])}" for one in left]
        told = [
            f"{times(one['ratio'])} as soon ({within}) {one['change']}, {one['verdict']}"
            for one, within in zip(left, ends, strict=True)
        ]
        return Question(asks, f"The search left out one after the other: the target is met {'; '.join(told)}.")
    if found is None:
        return Question(asks, f"{UNKNOWN} The recipe was not taken apart: halftime ablate does that.", False)
    return Question(asks, f"{found['words'][0].upper()}{found['words'][1:]}.")
