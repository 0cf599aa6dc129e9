"""Checkpoints: tensors in safetensors, the rest in JSON, complete or not there, and never pickle.

Each file is written beside its target, fsynced and renamed, then the folder is fsynced. The JSON goes last and holds
the digest of the tensors and of itself, so a checkpoint is there only when all of it is; the one before it is kept.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from halftime.errors import BadCheckpoint, HalftimeError, writing
from halftime.errors import replace as replace

KEEP = 2


def write(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Store nested dicts and lists of tensors and plain values; the newest `KEEP` are kept.

    Args:
        folder: made if it is not there.
        step: names the checkpoint; a later one has a larger step.
        state: what to store.

    Raises:
        StorageError: the disk is full or read-only; the checkpoints before it are intact.
        HalftimeError: a value that only pickle could store.
    """
    tensors: dict[str, Tensor] = {}
    content = {"step": step, "state": _encode(state, tensors, "state")}
    base = folder / _name(step)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    data = save(tensors)
    content["tensors"] = hashlib.sha256(data).hexdigest()
    replace(base.with_suffix(".safetensors"), data)
    replace(base.with_suffix(".json"), _sealed(content))
    keep = {p.stem for p in _newest(folder)[:KEEP]}
    with writing(folder):
        for old in folder.iterdir():
            if old.stem not in keep:
                old.unlink()
    return base


def read(folder: Path) -> tuple[int, dict[str, Any], str]:
    """The newest checkpoint that is whole: (step, state, a notice if a newer one was damaged).

    Raises:
        BadCheckpoint: there is none, or none is whole.
    """
    damaged: list[str] = []
    for path in _newest(folder):
        try:
            content = _intact(path)
            data = path.with_suffix(".safetensors").read_bytes()
            if hashlib.sha256(data).hexdigest() != content["tensors"]:
                raise ValueError("the digest of its tensors is wrong")
            notice = f"{damaged[0]}; going on from step {content['step']}" if damaged else ""
            return content["step"], _decode(content["state"], load(data)), notice
        except (OSError, ValueError, RecursionError) as error:
            damaged.append(f"{path} is damaged ({error})")
    if damaged:
        raise BadCheckpoint(f"{damaged[0]}, and no older one is whole: start the run again")
    raise BadCheckpoint(f"{folder} holds no checkpoint: start the run again")


def remove(folder: Path) -> None:
    """Delete every checkpoint; what a finished run no longer needs."""
    with writing(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            path.unlink()
        if folder.is_dir():
            folder.rmdir()


def _intact(path: Path) -> dict[str, Any]:
    """The JSON of a checkpoint, if its digest is right and it lies under the name of its own step."""
    data = path.read_bytes()
    content = json.loads(data)
    if not isinstance(content, dict) or data != _sealed({k: v for k, v in content.items() if k != "digest"}):
        raise ValueError("its digest is wrong")
    if path.stem != _name(content["step"]):
        raise ValueError(f"it is of step {content['step']}")
    return content


def _name(step: int) -> str:
    return f"step-{step:012d}"


def _newest(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.json"), reverse=True)


def _sealed(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True)
    return json.dumps({**content, "digest": hashlib.sha256(text.encode()).hexdigest()}, sort_keys=True).encode()


def _encode(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """Plain JSON with tensors taken out; dicts become pairs, because their keys may be numbers."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()  # a copy: safetensors refuses memory that is shared
        return {"tensor": name}
    if isinstance(value, dict):
        for k in value:
            if not (k is None or isinstance(k, (bool, int, float, str))):
                raise HalftimeError(
                    f"a key of {where} is a {type(k).__name__}, which a checkpoint cannot hold: use numbers and text"
                )
        return {"dict": [[k, _encode(v, tensors, f"{where}.{k}")] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_encode(v, tensors, f"{where}[{i}]") for i, v in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise HalftimeError(
        f"{where} is a {type(value).__name__}, which a checkpoint cannot hold: use tensors, numbers and text"
    )


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(v, tensors) for v in value]
    if isinstance(value, dict):
        return tensors[value["tensor"]] if "tensor" in value else {k: _decode(v, tensors) for k, v in value["dict"]}
    return value
