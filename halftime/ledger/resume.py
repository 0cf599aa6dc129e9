"""Going on: what must be the same, what is stored, and how it is put back."""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save as packed
from torch import Tensor, nn

from halftime.data.batch import laid_like
from halftime.data.feed import digest
from halftime.data.ranks import here
from halftime.data.shards import parted, whole
from halftime.errors import BadCheckpoint, StorageError
from halftime.ledger import checkpoint
from halftime.ledger.fingerprint import fingerprint
from halftime.ledger.lines import Silent, Writer
from halftime.ledger.store import Ledger
from halftime.places import Places
from halftime.recipe import Recipe
from halftime.run import process_id
from halftime.workload import Workload

if TYPE_CHECKING:
    from torch.optim import Optimizer


def identity(workload: Workload, recipe: Recipe, seed: int, source: str, group: str = "") -> dict[str, Any]:
    """What makes two attempts the same run."""
    about = {
        "name": workload.name,
        "source": source,
        "code": hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16] if source.endswith(".py") else "",
        "target": workload.target,
        "better": workload.better,
        "margin": workload.tolerance,
        "data": digest(workload.train) + digest(workload.valid),
    }
    return {"workload": about, "recipe": recipe.to_dict(), "recipe_hash": recipe.hash, "seed": seed, "group": group}


def begin(
    ledger: Ledger, folder: Path, facts: dict[str, Any], step: int, seconds: float, device: torch.device
) -> Writer:
    """Open the record of an attempt: what is trained, from where on, by which process, with which code and machine.

    Of several ranks the first writes it, where all can read it.

    Raises:
        StorageError: this rank does not see what the first one writes.
    """
    log = Writer(ledger.attempt(folder)) if here().first else Silent()
    log.record(
        "start",
        durable=True,
        run=folder.name,
        step=step,
        seconds=seconds,
        device=str(device),
        **facts,
        host=socket.gethostname(),
        process=process_id(),
        ranks=here().world,
        fingerprint=fingerprint(device),
    )
    here().wait()
    if not folder.is_dir():
        log.end("failed", reason="not seen by all")
        raise StorageError(f"rank {here().rank} does not see {folder}: put the ledger where every rank can read it")
    return log


def stored(ledger: Ledger, run: str | None, facts: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """(step, state) to go on from; (0, {}) for a fresh run, or for one that died before its first checkpoint.

    Raises:
        BadCheckpoint: the run is finished, still running, another one, or its checkpoints are damaged.
    """
    if run is None:
        return 0, {}
    before = ledger.run(run)
    if before.state in ("finished", "running"):
        raise BadCheckpoint(f"run {before.id} is {before.state}: there is nothing to go on with")
    then, now = before.workload, facts["workload"]
    from_files = then.get("code") and now["code"]  # what was started from Python knows no file
    for what, old, new in (
        ("workload", then["name"], now["name"]),
        *((name, then[name], now[name]) for name in ("data", "target", "better", "margin")),
        *([("file", then["code"], now["code"])] if from_files else []),
        ("recipe", before.recipe.hash, facts["recipe_hash"]),
        ("seed", before.seed, facts["seed"]),
    ):
        if old != new:
            raise BadCheckpoint(
                f"run {before.id} had another {what} ({old}, now {new}): give the same, or start a new run"
            )
    folder = before.folder / "checkpoints"
    if not any(folder.glob("step-*.json")):
        return 0, {}
    step, state, notice = checkpoint.read(folder)
    threads = before.fingerprint["machine"].get("threads"), torch.get_num_threads()
    if threads[0] not in (None, threads[1]):
        notice += f" {threads[1]} threads instead of {threads[0]} before: results may differ by rounding"
    return step, state | {"notice": notice.strip()}


def save(
    folder: Path,
    step: int,
    network: nn.Module,
    optimizer: Optimizer,
    acting: Sequence[Places],
    device: torch.device,
    **more: Any,
) -> None:
    """Write a checkpoint of `state`; of several ranks, all put it together and the first writes it."""
    kept = state(network, optimizer, acting, device, **more)
    if here().first:
        checkpoint.write(folder / "checkpoints", step, kept)


def keep(folder: Path, network: nn.Module) -> None:
    """Write the final weights, whole."""
    weights = {name: t.detach().cpu().clone().contiguous() for name, t in whole(network.state_dict()).items()}
    if here().first:
        checkpoint.replace(folder / "weights.safetensors", packed(weights))


def clear(folder: Path) -> None:
    """Delete the checkpoints of a finished run, and wait until that is seen by every rank."""
    if here().first:
        checkpoint.remove(folder / "checkpoints")
    here().wait()


def state(
    network: nn.Module, optimizer: Optimizer, acting: Sequence[Places], device: torch.device, **more: Any
) -> dict[str, Any]:
    """All that the next step depends on."""
    random = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        random["mps"] = torch.mps.get_rng_state()
    return {
        "network": whole(network.state_dict()),
        "optimizer": whole(optimizer.state_dict()),
        "methods": [whole(one.state_dict()) for one in acting],
        "random": random,
        **more,
    }


@contextlib.contextmanager
def random_kept() -> Iterator[None]:
    """Inside, torch's random state is the run's own; afterwards it is the caller's again."""
    cpu, seed = torch.get_rng_state(), torch.initial_seed()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        elif torch.cuda.is_available():  # it was not in use before: as if nobody had seeded it in between
            torch.cuda.manual_seed_all(seed)


def _fitted(value: Any, parameter: Tensor) -> Any:
    """State of a parameter as its optimizer has it: a shard where that is one, and laid out in memory as it is."""
    value = parted(value, parameter)
    alike = type(value) is Tensor and value.shape == parameter.shape and not value.is_sparse
    return laid_like(value, parameter) if alike else value


def restore(state: dict[str, Any], network: nn.Module, optimizer: Optimizer, acting: Sequence[Places]) -> None:
    """Put back what `state` stored; nothing where there is nothing to go on from.

    Raises:
        BadCheckpoint: the network or a method has changed its shape since.
    """
    if not state:
        return
    try:
        network.load_state_dict(parted(state["network"], network.state_dict()))
        optimizer.load_state_dict(state["optimizer"])
        for parameter, kept in optimizer.state.items():
            kept |= {name: _fitted(value, parameter) for name, value in kept.items()}
        for one, kept in zip(acting, state["methods"], strict=True):
            one.load_state_dict(kept)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise BadCheckpoint(f"the checkpoint does not fit this network or recipe: {reason}") from error
    torch.set_rng_state(state["random"]["cpu"])
    if "cuda" in state["random"]:
        torch.cuda.set_rng_state(state["random"]["cuda"])
    if "mps" in state["random"]:
        torch.mps.set_rng_state(state["random"]["mps"])
