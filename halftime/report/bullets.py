"""Bullets for a report or a CV: every number is bound to the runs it comes from, none goes beyond its interval.

They are made from a receipt and from nothing else. A claim uses the end of its interval that speaks against it, cut,
never rounded up. Where the interval does not carry a claim, the bullet says so.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import string
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from halftime.report.words import duration, energy, floored, raised, short

Content = dict[str, Any]
CLAIMED = ("proved", "provisional")


@dataclasses.dataclass(frozen=True)
class Number:
    """A number as it is written in a bullet, what it is, and the runs that it comes from."""

    text: str
    what: str
    runs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Bullet:
    """A sentence and the numbers in it."""

    text: str
    numbers: tuple[Number, ...]


class Saying:
    """Collects the numbers of a sentence while it is written."""

    def __init__(self) -> None:
        self.numbers: list[Number] = []

    def __call__(self, text: str, what: str, runs: Iterable[str]) -> str:
        """Note a number, and give it back for the sentence."""
        self.numbers.append(Number(text, what, tuple(runs)))
        return text

    def bullet(self, text: str) -> Bullet:
        """The sentence with its numbers."""
        return Bullet(text, tuple(self.numbers))


def cut(ratio: float, digits: int = 1) -> str:
    """A factor above 1, cut to so few digits that nothing is claimed that is not there.

    Example:
        >>> cut(2.19), cut(1.07), cut(1.004)
        ('2.1×', '1.07×', '1.004×')
    """
    for more in range(digits, 9):
        value = math.floor(ratio * 10**more + 1e-9) / 10**more
        if value > 1.0 and (value >= 1.1 or more > digits):
            return f"{value:.{more}f}×"
    return "1×"


def _end(ratio: float, outward: Callable[[float], int]) -> str:
    """An end of an interval in hundredths, rounded away from its middle."""
    return f"{outward(round(ratio * 100, 6)) / 100:.2f}×"


def bullets(receipt: Content) -> list[Bullet]:
    """Three to five bullets from a receipt.

    Args:
        receipt: as `halftime.measure.receipt.receipt` makes it.
    """
    found = [_speed(receipt), _quality(receipt), _price(receipt), _parts(receipt), _evidence(receipt)]
    return [one for one in found if one is not None]


def both(receipt: Content) -> list[str]:
    """The runs of both sides."""
    return [*receipt["before"]["runs"], *receipt["after"]["runs"]]


def claimed(receipt: Content) -> float:
    """What a receipt carries of how many times sooner the target is met; 0 where it carries no gain.

    It is the lower end of the interval, or what the brackets give where they are read against the claim, if less.

    Args:
        receipt: as `halftime.measure.receipt.receipt` makes it.
    """
    ratio, least = receipt["ratio"], receipt["least"]
    if receipt["verdict"] not in CLAIMED or ratio["bound"] == "at most":
        return 0.0
    low = float(ratio["low"] if least is None else min(ratio["low"], least))
    return low if low > 1.0 else 0.0


def _speed(receipt: Content) -> Bullet:
    say, ratio, runs = Saying(), receipt["ratio"], both(receipt)
    target = say(short(receipt["workload"]["target"]), "target", runs)
    name, n = receipt["workload"]["name"], ratio["n"] if ratio else 0
    seeds = say(f"{n} paired seed{'s' * (n != 1)}", "seeds", runs)
    gain = claimed(receipt)
    if not gain:
        why = "evaluations are too far apart" if receipt["verdict"] in CLAIMED else f"it is {receipt['verdict']}"
        return say.bullet(f"No gain is claimed for {name}: to {target}, {why} on {seeds}")
    low = say(cut(gain), "lower end of the ratio of times to target, or of its brackets if less, cut", runs)
    high = ratio["high"]
    high = "no upper end" if high is None else say(_end(high, math.ceil), "upper end of the ratio", runs)
    middle = say(f"{ratio['estimate']:.2f}×", "estimate of the ratio", runs)
    ends = say(_end(ratio["low"], math.floor), "lower end of the ratio", runs)
    level = receipt["interval"].partition(" %")[0]
    level = say(level, "level of the interval", runs)
    soft = " (provisional: too few seeds to count as proved)" if receipt["verdict"] == "provisional" else ""
    soft += "" if receipt["before"]["tuned"] else ", against a base that is not known to be well tuned"
    said = f"{ratio['bound']} {middle}".strip() + f", {level} % interval {ends} to {high}, {seeds}"
    return say.bullet(
        f"Training of {name} reaches {target} at least {low} sooner{soft}: {said}{_seconds(receipt, say)}"
    )


def _seconds(receipt: Content, say: Saying) -> str:
    """Median and minimum of both sides, where each has them."""
    found = []
    for which in ("median", "minimum"):
        values = [receipt[side]["seconds_to_target"][which] for side in ("before", "after")]
        if None not in values:
            sides = [
                say(duration(v), f"{which} time to target, {side}", receipt[side]["runs"])
                for v, side in zip(values, ("before", "after"), strict=True)
            ]
            found.append(f"{which} {sides[0]} before and {sides[1]} after")
    return f"; {', '.join(found)}" if found else ""


def _quality(receipt: Content) -> Bullet:
    say, quality, runs = Saying(), receipt["quality"], both(receipt)
    margin = say(raised(receipt["margin"], 3), "margin of non-inferiority", runs)
    if quality is None or quality["n"] < 2:
        return say.bullet(f"Whether the quality is the same within {margin} is not shown")
    low = say(floored(quality["low"], 2), "lower end of the difference of final scores", runs)
    pairs = say(f"{quality['n']} pairs", "pairs of final scores", runs)
    if not receipt["same_quality"]:
        return say.bullet(
            f"That the final score is the same within {margin} is not shown: it may change by {low}, {pairs}"
        )
    sides = [
        say(short(receipt[side]["score"]["median"]), f"median final score, {side}", receipt[side]["runs"])
        for side in ("before", "after")
    ]
    return say.bullet(
        f"The final score is not worse by more than the margin {margin}: median {sides[0]} before and {sides[1]} "
        f"after, the difference is at least {low}, {pairs}"
    )


def _price(receipt: Content) -> Bullet:
    """Device time of a whole training, and energy and money where they are known."""
    say, ratio = Saying(), receipt["cost"]["device_time_ratio"]
    parts = []
    for field, words in (("device_seconds", duration), ("joules", energy), ("money", lambda v: f"{v:.3g}")):
        values = [receipt[side][field] for side in ("before", "after")]
        if all(values):
            sides = [
                say(
                    words(v["median"]), f"median {field.replace('_', ' ')} of a training, {side}", receipt[side]["runs"]
                )
                for v, side in zip(values, ("before", "after"), strict=True)
            ]
            called = {"device_seconds": "device time", "joules": "energy", "money": "money"}[field]
            parts.append(f"{called} {sides[0]} before and {sides[1]} after")
    medians = f"; medians: {', '.join(parts)}" if parts else ""
    if ratio and ratio["n"] > 1 and ratio["low"] > 1.0:
        low = say(cut(ratio["low"]), "lower end of the ratio of device seconds of whole trainings, cut", both(receipt))
        return say.bullet(f"A whole training holds its device at least {low} shorter, evaluation included{medians}")
    return say.bullet(f"That a whole training holds its device shorter is not shown{medians}")


def _parts(receipt: Content) -> Bullet | None:
    """What is missed most when it is left out, by the ablation."""
    found = receipt["ablation"]
    if found is None:
        return None
    say = Saying()
    clear = [part for part in found["parts"] if found["verdicts"][part["name"]] == "pays"]
    clear = sorted(clear, key=lambda part: -part["without"]["low"])[:3]
    seeds = say(f"{found['whole']['n']} seeds", "seeds of the ablation", found["runs"])
    if not clear:
        return say.bullet(f"The ablation over {seeds} does not show which part is needed")
    words = [
        f"{say(cut(part['without']['low']), 'lower end of leaving out ' + part['name'], part['runs'])} later without "
        f"{part['name']}"
        for part in clear
    ]
    return say.bullet(f"Taken apart over {seeds}, the target is met at least {' and at least '.join(words)}")


def _evidence(receipt: Content) -> Bullet:
    say, runs, search = Saying(), both(receipt), receipt["search"]
    count = say(f"{receipt['cost']['runs']} trainings", "runs of the proof", runs)
    cost = say(duration(receipt["cost"]["device_seconds"]), "device time of the proof", runs)
    where = receipt["machine"].get("gpu") or receipt["machine"].get("cpu") or receipt["device"]
    text = f"Shown by {count}, paired by seed and in random order, {cost} of device time on {receipt['device']}"
    text += f" ({where})" if where != receipt["device"] else ""
    if search:
        its = [*search["runs"], *runs]  # the proof ends it, and what is saved is known from the proof
        text += f"; found by a search of {say(duration(search['seconds']), 'time of the search', its)}"
        if search["pays_back"] is not None:
            text += f" that pays back after {say(str(search['pays_back']), 'trainings', its)} trainings"
    return say.bullet(text)


def footnotes(found: Sequence[Bullet]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The bullets with marks behind them, and the runs of each mark."""
    marks: dict[tuple[str, ...], str] = {}
    names = itertools.chain(string.ascii_lowercase, (f"z{i}" for i in itertools.count()))
    lines = []
    for one in found:
        for number in one.numbers:
            if number.runs and number.runs not in marks:
                marks[number.runs] = next(names)
        used = dict.fromkeys(marks[number.runs] for number in one.numbers if number.runs)
        lines.append(f"{one.text} [{', '.join(used)}]")
    return lines, {mark: runs for runs, mark in marks.items()}


def to_dict(found: Sequence[Bullet]) -> list[dict[str, Any]]:
    """For JSON: each number with the runs that it comes from."""
    return [{"text": one.text, "numbers": [dataclasses.asdict(number) for number in one.numbers]} for one in found]
