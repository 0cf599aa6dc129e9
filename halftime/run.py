"""Run: the record of one training. Everything after training reads records, never a trainer."""

from __future__ import annotations

import dataclasses
import math
import os
import socket
import time
from pathlib import Path
from typing import Any, Literal

from halftime.ledger.lines import Record, read
from halftime.recipe import Recipe

State = Literal["running", "finished", "failed", "killed", "preempted", "lost"]
SILENT = 300.0  # seconds without a sign of life after which a run on another machine counts as lost


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One look at the network: after `step` steps and `seconds` of training.

    `scores` are values besides the one that is judged, by name; empty for most workloads.
    """

    step: int
    progress: float
    seconds: float
    score: float
    loss: float
    scores: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of a workload by a recipe with one seed, over all its attempts.

    Times are seconds; `seconds` is the training clock, `device_seconds` the time devices were held, evaluation and
    redone steps included; `joules` is None where no counter was found. `hit` brackets the moment the target was met:
    it lies after the first and not after the second value.
    """

    id: str
    folder: Path
    workload: dict[str, Any]  # name, source, target, better, margin, data digest
    recipe: Recipe
    seed: int
    group: str  # such as "PROOF/base"; empty for a run on its own
    device: str
    started: float  # seconds since 1970
    state: State
    reason: str
    attempts: int
    steps: int
    tried: int  # batches; more than steps where some updates were not applied
    receipt: str  # hash of the ids of all samples consumed, in order
    seconds: float
    spans: dict[str, float]  # seconds by purpose
    device_seconds: float
    joules: float | None
    evaluations: tuple[Evaluation, ...]
    plan: tuple[tuple[int, float, int], ...]
    events: tuple[str, ...]
    fingerprint: dict[str, Any]
    intact: bool | None  # digests right; None while an attempt has no end record

    @property
    def hit(self) -> tuple[float, float] | None:
        """Training seconds between which the target was met, or None: it was missed, the run is censored."""
        target, before = self.workload["target"], 0.0
        sign = 1.0 if self.workload["better"] == "higher" else -1.0
        for e in self.evaluations:
            if target is not None and sign * e.score >= sign * target:
                return before, e.seconds
            before = e.seconds
        return None

    @property
    def score(self) -> float | None:
        """The last validation score."""
        return self.evaluations[-1].score if self.evaluations else None

    @property
    def verdict(self) -> str:
        """The outcome in a few words."""
        if self.state != "finished":
            return self.state
        if self.workload["target"] is None:
            return "done"
        return f"reached {self.workload['target']:g}" if self.hit else f"missed {self.workload['target']:g}"

    @property
    def weights(self) -> Path:
        """Where the final weights lie: a safetensors file for `load_state_dict`."""
        return self.folder / "weights.safetensors"

    def series(self, key: str) -> list[tuple[int, float | None]]:
        """(step, value) of a logged scalar such as "loss" or "lr"; None where it was not finite."""
        return series(self.folder, key)

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON, with the derived values."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields |= {"folder": str(self.folder), "recipe": self.recipe.to_dict(), "recipe_hash": self.recipe.hash}
        fields["evaluations"] = [dataclasses.asdict(e) for e in self.evaluations]
        return fields | {"hit": self.hit, "score": self.score, "verdict": self.verdict}

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Read a run from its folder; methods that are not halftime's own are kept as data."""
        files = [read(path) for path in attempt_files(folder)]
        attempts, digests = [records for records, _ in files if records], [intact for _, intact in files]
        start, (state, reason) = attempts[0][0], _state(attempts[-1])
        ends = [_end(attempt) for attempt in attempts]
        ranks = [attempt[0].get("ranks", 1) for attempt in attempts]
        joules = [e["joules"] for e, n in zip(ends, ranks, strict=True) if e.get("joules") is not None and n == 1]
        purposes = sorted({purpose for end in ends for purpose in end["spans"]})
        plans = [r["segments"] for attempt in attempts for r in attempt if "segments" in r]
        return cls(
            **{name: start[name] for name in ("workload", "seed", "device", "group")},
            id=start["run"], folder=folder, started=start["t"], state=state, reason=reason,
            recipe=Recipe.from_dict(start["recipe"], strangers=True),
            attempts=len(attempts), steps=ends[-1]["step"], tried=ends[-1]["tried"],
            receipt=ends[-1]["receipt"], seconds=ends[-1]["seconds"],
            spans={purpose: sum(end["spans"].get(purpose, 0.0) for end in ends) for purpose in purposes},
            device_seconds=sum(end["held"] * n for end, n in zip(ends, ranks, strict=True)),
            joules=sum(joules) if joules else None,
            evaluations=_evaluations(attempts), fingerprint=attempts[-1][0]["fingerprint"],
            plan=tuple((int(a), float(b), int(c)) for a, b, c in (plans[-1] if plans else [])),
            events=tuple(r["text"] for attempt in attempts for r in attempt if r["kind"] == "event"),
            intact=False if False in digests else None if None in digests else True,
        )  # fmt: skip


def _evaluations(attempts: list[list[Record]]) -> tuple[Evaluation, ...]:
    """All of them; what a later attempt did again is superseded."""
    found: dict[int, Evaluation] = {}
    names = [f.name for f in dataclasses.fields(Evaluation)]
    for attempt in attempts:
        found = {step: e for step, e in found.items() if step <= attempt[0]["step"]}
        told = [r for r in attempt if r["kind"] == "evaluation"]
        looks: list[Record] = [{n: math.nan if r[n] is None else r[n] for n in names if n in r} for r in told]
        found |= {look["step"]: Evaluation(**look) for look in looks}
    return tuple(found.values())


def series(folder: Path, key: str) -> list[tuple[int, float | None]]:
    """(step, value) of a logged scalar of a run; the last attempt wins for a step done twice."""
    found: dict[int, float | None] = {}
    records = [record for path in attempt_files(folder) for record in read(path)[0]]
    for record in (r for r in records if r["kind"] == "series" and r["key"] == key):
        steps = record["steps"]
        if isinstance(steps, dict):
            steps = range(steps["first"], steps["first"] + steps["count"])
        found.update(zip(steps, record["values"], strict=True))
    return sorted(found.items())


def attempt_files(folder: Path) -> list[Path]:
    """The attempts of a run, oldest first."""
    return sorted(folder.glob("attempt-*.jsonl"))


def _end(attempt: list[Record]) -> Record:
    """Where an attempt stood when it was last heard of."""
    found: Record = {"spans": {}, "held": 0.0, "tried": attempt[0]["step"], "receipt": ""}
    found |= {k: attempt[0][k] for k in ("step", "seconds")}
    for record in attempt:
        found |= {
            k: record[k] for k in ("step", "tried", "receipt", "seconds", "held", "spans", "joules") if k in record
        }
    return found


def _state(attempt: list[Record]) -> tuple[State, str]:
    """From the end record, or else from signs of life: silence is never green."""
    end, start = attempt[-1], attempt[0]
    if end["kind"] == "end":
        return end["state"], end.get("reason", "")
    quiet = time.time() - max(r.get("t", 0.0) for r in attempt)
    if start["host"] != socket.gethostname():
        return ("lost", f"silent for {quiet:.0f} s on another machine") if quiet > SILENT else ("running", "")
    if start["process"] != process_id(start["process"]["pid"]):
        return "killed", "its process is gone and left no end record"
    return "running", f"silent for {quiet:.0f} s" if quiet > SILENT else ""


def process_id(pid: int | None = None) -> dict[str, Any] | None:
    """What tells a process from a later one with the same number; None if it is gone."""
    pid = os.getpid() if pid is None else pid
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        fields = stat.read_text().rpartition(")")[2].split() if stat.exists() else []
    except (ProcessLookupError, FileNotFoundError):
        return None
    except PermissionError:
        fields = []
    if fields[:1] == ["Z"]:
        return None
    return {"pid": pid, "born": int(fields[19]) if fields else 0}
