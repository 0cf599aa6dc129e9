"""Workers on a Ray cluster: one task a training, on whatever machine of it has room.

A worker that sees the ledger's folder, as where it is shared, writes its run there itself. One that does not trains
into a folder of its own and sends the run's files back, which are then written into the ledger: every attempt is a
file of its own, so that merging is copying. halftime and the workload must be found at the same place on each machine.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from halftime.errors import BadValue, Stopped, StorageError, shorten, writing
from halftime.ledger.checkpoint import replace
from halftime.ledger.interrupts import Interrupts
from halftime.measure.device import pick
from halftime.search.engine import Answer, Pool, perform
from halftime.search.work import Place

LOOK = 0.2  # seconds between two looks at whether somebody wants to stop
MARK = ".pool-"  # begins the name of a file by which workers see that they see the ledger


def task(asked: Answer) -> Answer:
    """Do a job on a worker of the cluster.

    Args:
        asked: made by `content`, with `mark`, the path of a file in the ledger.

    Returns:
        As `perform`; with the run's files where this worker does not see the ledger.
    """
    if Path(asked["mark"]).exists():
        return perform(asked)
    with tempfile.TemporaryDirectory(prefix="halftime-") as folder:
        answer = perform({**asked, "ledger": folder, "before": ""})
        return {**answer, "files": files(Path(folder))}


def files(root: Path) -> dict[str, bytes]:
    """Every file of the runs in a ledger, by its path in it; what shows that a run exists comes last."""
    found = [path for path in root.glob("runs/*/*") if path.is_file()]
    found.sort(key=lambda path: (path.suffix == ".jsonl", path))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def merge(root: Path, sent: dict[str, bytes]) -> None:
    """Write files that a worker sent into the ledger; what is there is left as it is.

    Args:
        root: of the ledger.
        sent: from `files`.

    Raises:
        StorageError: a name that leads out of the ledger; a full disk.
    """
    for name, data in sent.items():
        parts = PurePosixPath(name).parts
        if len(parts) != 3 or parts[0] != "runs" or ".." in parts:
            raise StorageError(f"a worker sent {shorten(name)}, which is no file of a run")
        path = root.joinpath(*parts)
        if not path.exists():
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, data)


class Cluster(Pool):
    """The workers of a Ray cluster: that of $RAY_ADDRESS, or one that runs here, or else a new one on this machine.

    Args:
        workers: trainings at once; by default as many as there are CPUs, or GPUs where these train.
        device: as in `train`.

    Raises:
        BadValue: Ray is not installed, does not answer, or has not so much.
    """

    def __init__(self, workers: int | None = None, device: str | None = None) -> None:
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise BadValue(f"workers must be a whole number of at least 1, not {shorten(workers)}")
        where = pick(device)
        self.kind = "GPU" if where.type == "cuda" else "CPU"
        self._ray, self._mine = _connected()
        try:
            cpus = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
            most = int(self._ray.cluster_resources().get(self.kind, 0))
            if not 1 <= (workers or most) <= most:
                raise BadValue(f"the Ray cluster has {most} {self.kind}s, too few for {workers or 1} workers")
        except BaseException:
            self._leave()
            raise
        count = workers or most
        self.threads = max(1, min(sum(cpus) // count, max(cpus)))
        gpu = " and a GPU" if self.kind == "GPU" else ""
        where_ = f"{len(cpus)} machine{'s' * (len(cpus) > 1)}"
        words = f"{count} workers on a Ray cluster of {where_}, each with {self.threads} CPUs{gpu}"
        super().__init__(count, False, words, count if self.kind == "GPU" else min(count, len(cpus)))
        how = {"num_cpus": self.threads, "num_gpus": int(self.kind == "GPU"), "max_retries": 0, "max_calls": 0}
        self._task = self._ray.remote(**how)(task)
        self._running: dict[Any, int] = {}
        self._mark: Path | None = None
        self._root = Path()

    def free(self) -> bool:
        """Whether a worker has nothing to do."""
        return len(self._running) < self.workers

    def begin(self, number: int, job: Answer) -> None:
        """Hand a job to the cluster."""
        self._root = Path(job["ledger"])
        if self._mark is None or self._mark.parent != self._root:
            self._unmark()
            self._mark = self._root / f"{MARK}{secrets.token_hex(8)}"
            with writing(self._mark):
                self._root.mkdir(parents=True, exist_ok=True)
            replace(self._mark, b"")
        device = "cuda" if self.kind == "GPU" else job["device"]
        asked = {**job, "threads": self.threads, "device": device, "mark": str(self._mark)}
        self._running[self._task.remote(asked)] = number

    def wait(self, place: Place) -> tuple[int, Answer | None, str]:
        """The next answer, or the next death."""
        lost = self._ray.exceptions
        with Interrupts() as stop:
            done: list[Any] = []
            while not done:
                if stop.signal is not None:
                    raise Stopped(place.search, 0, stop.signal)
                done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=LOOK)
        number = self._running.pop(done[0])
        try:
            answer: Answer = self._ray.get(done[0])
        except (lost.WorkerCrashedError, lost.NodeDiedError, lost.OutOfMemoryError, lost.ObjectLostError) as error:
            return number, None, f"its worker died ({type(error).__name__})"
        merge(self._root, answer.pop("files", {}))
        return number, answer, ""

    def stop(self) -> None:
        """End what is being trained."""
        running, self._running = list(self._running), {}
        for one in running:
            self._ray.cancel(one, force=True)

    def close(self) -> None:
        """End all, and leave the cluster; one that was begun here ends."""
        self.stop()
        self._unmark()
        self._leave()

    def _unmark(self) -> None:
        if self._mark is not None:
            with contextlib.suppress(OSError):
                self._mark.unlink(missing_ok=True)
            self._mark = None

    def _leave(self) -> None:
        if self._mine:
            self._ray.shutdown()


def _connected() -> tuple[Any, bool]:
    """(ray, whether it was not connected before)."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody was asked whether they want to report anything
    try:
        import ray
    except ImportError:
        raise BadValue("--on ray needs Ray: pip install ray") from None
    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise BadValue(f"no Ray cluster answers: {error}") from None
    return ray, mine
