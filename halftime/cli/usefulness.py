"""What `halftime data usefulness` does: score the training samples of a workload, and show the extremes on a page."""

from __future__ import annotations

import argparse
import base64
from typing import TYPE_CHECKING, Any

from halftime.cli import arguments as read
from halftime.errors import BadValue, BadWorkload

if TYPE_CHECKING:
    from torch import Tensor

    from halftime.report.usefulness import Sample
    from halftime.workload import Workload

EACH = 24  # samples shown of either end
OUT, SCORE, EPOCHS = "usefulness.html", "el2n", 3
WORDS = 12  # numbers shown of a sample that is no image


def run(given: argparse.Namespace) -> int:
    """Score, then write the page or print JSON."""
    score, epochs = given.score or SCORE, EPOCHS if given.epochs is None else given.epochs
    if epochs < 1:
        raise BadValue(f"--epochs must be at least 1, not {epochs}")
    out = given.out or ("" if given.json else OUT)
    if out:
        read.check_out(out)
    workload, _, _ = read.workload(given.source)
    found, seconds = _scored(workload, score, epochs, given.device)
    order = found.argsort(stable=True).tolist()
    easiest, hardest = order[:EACH], order[::-1][:EACH]
    if out:
        from halftime.report.usefulness import Usefulness, usefulness_page

        how = f"The proxy is a copy of its network, trained for {epochs} epochs in {seconds:.3g} seconds."
        ends = [[_sample(workload, i, float(found[i])) for i in ids] for ids in (easiest, hardest)]
        read.write_page(out, usefulness_page(Usefulness(workload.name, score, how, found.tolist(), *ends)))
    if given.json:
        about = {"workload": workload.name, "score": score, "samples": len(found), "seconds": seconds}
        read.print_json(about | {"easiest": easiest, "hardest": hardest, "scores": found.tolist(), "page": out or None})
        return 0
    middle = float(found.median())
    print(f"{len(found)} samples of {workload.name} by {score}: {float(found.min()):.3g} to {float(found.max()):.3g}, "
          f"half of them up to {middle:.3g}; scored in {seconds:.3g} s")  # fmt: skip
    print(f"hardest: {', '.join(map(str, hardest[:8]))}, ...; they and the easiest stand in {out}")
    return 0


def _scored(workload: Workload, score: str, epochs: int, device: str | None) -> tuple[Tensor, float]:
    """(scores, seconds) of a fresh network's copy."""
    import time

    import torch

    from halftime.data.batch import on_device, split
    from halftime.data.feed import Feed
    from halftime.data.proxy import scores
    from halftime.diagnose.misfit import inspect
    from halftime.measure.device import pick

    where = pick(device)
    torch.manual_seed(0)
    model = workload.model().to(where)
    feed = Feed(workload.train, 128, 0, device=where)
    if "classes" not in inspect(workload, model, split(on_device(feed.look(), where))):
        raise BadWorkload(f"{workload.name}: usefulness needs targets that are class numbers and a single loss")
    began = time.perf_counter()
    found = scores(model, workload.train, score, epochs=epochs, device=where)
    return found, time.perf_counter() - began


def _sample(workload: Workload, index: int, score: float) -> Sample:
    """A sample, ready to be shown."""
    from halftime.data.batch import split, tensors
    from halftime.data.feed import random_kept
    from halftime.data.png import png, shown
    from halftime.report.usefulness import Sample

    with random_kept():
        inputs, target = split(workload.train[index])
    label = _numbers(target) if getattr(target, "ndim", 0) else f"class {int(target)}"
    image = next((t for t in tensors(inputs) if t.ndim == 3), None)
    if image is not None:
        return Sample(index, score, label, base64.b64encode(png(shown(image))).decode())
    return Sample(index, score, label, words=_numbers(next(tensors(inputs), None)))


def _numbers(tensor: Any) -> str:
    """The first numbers of a tensor."""
    if tensor is None:
        return ""
    flat = tensor.flatten().tolist()
    return " ".join(f"{v:.3g}" for v in flat[:WORDS]) + " …" * (len(flat) > WORDS)
