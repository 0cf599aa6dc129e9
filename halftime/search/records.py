"""Records: what a search writes down, as plain data that whoever draws it can read again.

A `Trial` is one training, a `Decision` one change that was judged, a `Found` the outcome of it all. All of them are
made of numbers, texts, lists and dicts; `to_dict` gives JSON, `Found.from_dict` takes it back.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

Verdict = Literal["kept", "promising", "dropped", "refused", "failed", "too long"]


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training of a search: a run of the ledger, or the reason why there is none or none that ended.

    Args:
        stage: of the search.
        recipe: its hash.
        seed: its seed.
        steps: optimizer steps.
        run: its id, empty where it was refused before it began.
        state: as of a run, or "refused", "out of memory" or "crashed".
        reason: in words, where it did not finish.
        seconds: of training.
        held: seconds for which the device was held, evaluation included.
        hit: training seconds after which the target was met, None if it was missed.
        score: the last validation score.
        loss: the last validation loss.
        earlier: seconds of it that an attempt spent which was killed before it could write them down.
        judged: whether it was evaluated as often as a proof does; else, at its end alone, where `hit` is late.
    """

    stage: str
    recipe: str
    seed: int
    steps: int = 0
    run: str = ""
    state: str = "finished"
    reason: str = ""
    seconds: float = 0.0
    held: float = 0.0
    hit: float | None = None
    score: float | None = None
    loss: float | None = None
    earlier: float = 0.0
    judged: bool = False

    @property
    def ended(self) -> bool:
        """Whether there is a score to compare."""
        return self.state == "finished" and self.score is not None


@dataclasses.dataclass(frozen=True)
class Pace:
    """How many times faster a step of one recipe is than of another, from blocks that took turns.

    Args:
        ratio: of the seconds a step, other over this.
        low: lower end of its 95 % interval.
        high: upper end.
        same: upper end of the 95 % interval of what the first recipe seems to gain over itself (1 is nothing).
        rounds: blocks of each.
        steps: in a block.
        step: seconds of a step of the first recipe.
        startup: seconds that the second one needs once, beyond the first: to compile, to pack, to start helpers.
        why: in words, where it could not be timed; the ratio is then 0.
    """

    ratio: float
    low: float
    high: float
    same: float
    rounds: int
    steps: int
    step: float
    startup: float
    why: str = ""

    @property
    def error(self) -> float:
        """Standard error of the log of the ratio, roughly."""
        return (math.log(self.high) - math.log(self.low)) / 4 if self.ratio > 0 else 0.0

    @property
    def pays_after(self) -> int | None:
        """Steps after which the start-up is earned back, or None where it never is."""
        saved = self.step * (1 - 1 / self.ratio) if self.ratio > 1 else 0.0
        return math.ceil(max(self.startup, 0.0) / saved) if saved > 0 else None


@dataclasses.dataclass(frozen=True)
class Gain:
    """What a change is worth in time: how many times sooner the same score is reached, with its interval.

    Args:
        ratio: estimate; above 1 is sooner.
        low: end of the interval that must be above 1 to keep the change.
        high: the end that must be above 1 to go on with it.
        n: seeds.
        score: how much higher the score is at the same number of steps, in the workload's units, higher is better.
        pace: how many times faster a step is.
    """

    ratio: float
    low: float
    high: float
    n: int
    score: float
    pace: float


@dataclasses.dataclass(frozen=True)
class Decision:
    """One change that was judged.

    Args:
        stage: of the search.
        change: in words, such as "+ EMA(decay=0.99)".
        verdict: what became of it.
        why: in words.
        methods: the methods that it concerns, by name, with their fields.
        gain: what it is worth, if it got so far.
        rate: learning rate before and after it was tuned anew.
        runs: ids of the runs that it rests on.
        seconds: what finding out cost.
        recipe: the recipe with the change.
    """

    stage: str
    change: str
    verdict: Verdict
    why: str
    methods: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    gain: Gain | None = None
    rate: tuple[float | None, float | None] = (None, None)
    runs: tuple[str, ...] = ()
    seconds: float = 0.0
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Bar:
    """One bar of the waterfall: a change that was kept, and how many times sooner the target is met; they multiply.

    Where `rest` is set, the bar was not measured: it is what is left of the whole when the others are taken out.
    `high` is None where there is no upper end.
    """

    change: str
    ratio: float
    low: float
    high: float | None
    rest: bool = False


@dataclasses.dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Args:
        id: of the search.
        verdict: "faster" where the proof stands; "not shown" where it does not; "nothing found"; "out of reach" where
            no recipe met the target; "no signal"; "too short" where the hours do not pay for base and proof.
        words: all of it in a few sentences.
        workload: name, target and the rest, as in a run.
        base: recipe to beat, tuned.
        recipe: the recipe found; the base where nothing was.
        bars: the waterfall, from the base to the recipe.
        proof: id of the proof, empty without one.
        before: id of a first proof, in which a run missed the target, so that a longer recipe was proved.
        proved: what the proof says.
        ratio: its estimate and interval: estimate, low, high.
        decisions: every change that was judged.
        notes: what else happened, such as a machine that slowed down.
        settings: of the process, as a program writes them, such as "torch.set_num_threads(1)": they held for both arms
            of the proof, and are not part of the recipe, nor of the ratio.
        seconds: of the search, the proof included.
        device_seconds: of its trainings, those of the proof included.
        price: money for an hour of a device, if given.
        pays_back: trainings after which the search has paid for itself, None where it never does.
        devices: that were held, all the time.
    """

    id: str
    verdict: str
    words: str
    workload: Mapping[str, Any]
    base: Mapping[str, Any]
    recipe: Mapping[str, Any]
    bars: tuple[Bar, ...] = ()
    proof: str = ""
    proved: str = ""
    ratio: tuple[float, float, float | None] | None = None
    decisions: tuple[Decision, ...] = ()
    notes: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    seconds: float = 0.0
    device_seconds: float = 0.0
    price: float | None = None
    pays_back: int | None = None
    devices: int = 1
    before: str = ""

    @property
    def money(self) -> float | None:
        """What the search cost: all its devices for all its time; None without a price."""
        return None if self.price is None else self.price * self.devices * self.seconds / 3600

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Found:
        """Take back what `to_dict` gave."""
        texts = {name: tuple(content.get(name, ())) for name in ("notes", "settings")}
        lists = {**texts, "bars": tuple(Bar(**bar) for bar in content["bars"])}
        ratio = content["ratio"] and tuple(content["ratio"])
        return cls(**{**content, **lists, "ratio": ratio, "decisions": tuple(map(decision, content["decisions"]))})


def decision(content: Mapping[str, Any]) -> Decision:
    """A decision from JSON."""
    gain = Gain(**content["gain"]) if content["gain"] else None
    before, after = content["rate"]
    return Decision(**{**content, "gain": gain, "rate": (before, after), "runs": tuple(content["runs"])})
