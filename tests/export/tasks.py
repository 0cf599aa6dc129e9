"""What the exporter is tried on: workload files as users write them, and a runner without halftime."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

import halftime as ht
from halftime.cli import arguments as read
from halftime.export.script import script

BARS = '''"""Bars: an easy task with three classes."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import halftime as ht


def bars(samples, seed=0):
    """Noisy images of a horizontal bar, a vertical bar, or both."""
    source = torch.Generator().manual_seed(seed)
    kinds = torch.randint(3, (samples,), generator=source)
    images = 0.3 * torch.randn(samples, 1, 8, 8, generator=source)
    images[kinds != 1, :, 3:5, :] += 1.0
    images[kinds != 0, :, :, 3:5] += 1.0
    return images, kinds


class Residual(nn.Module):
    """A branch that ends in a norm beside a shortcut."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))

    def forward(self, features):
        return torch.relu(features + self.body(features))


def network():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        Residual(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(96, 3),
    )


def unused():
    """Nothing calls it."""


workload = ht.Workload(
    name="bars", model=network, train=bars(96), valid=bars(64, seed=1), loss=cross_entropy, score=ht.accuracy,
    evaluations=4,
)
'''
HEADS = (
    BARS[: BARS.index("workload =")].replace("def network()", "def trunk()")
    + '''
class Heads(nn.Module):
    """Which bars there are, and whether one is vertical."""

    def __init__(self):
        super().__init__()
        self.trunk, self.tall = trunk(), nn.Linear(3, 2)

    def forward(self, images):
        logits = self.trunk(images)
        return {"kind": logits, "tall": self.tall(logits)}


def losses(outputs, kinds):
    return {"kind": cross_entropy(outputs["kind"], kinds), "tall": cross_entropy(outputs["tall"], (kinds > 0).long())}


def score(outputs, kinds):
    return ht.accuracy(outputs["kind"], kinds)


workload = ht.Workload(
    name="heads", model=Heads, train=bars(96), valid=bars(64, seed=1), loss=losses, score=score, evaluations=4
)
'''
)
WORDS = '''"""Letters in a ring, each three after the one before it, and a network that spells on."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import halftime as ht


def words(samples, seed=0):
    source = torch.Generator().manual_seed(seed)
    letters = (torch.randint(7, (samples, 1), generator=source) + 3 * torch.arange(9)) % 7
    return letters[:, :-1], letters[:, 1:]


class Speller(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(7, 16), nn.Linear(16, 7)

    def forward(self, tokens):
        return self.head(self.table(tokens)).mT


workload = ht.Workload(
    name="words", model=Speller, train=words(96), valid=words(64, seed=1), loss=cross_entropy, score=ht.accuracy,
    evaluations=4,
)
'''
RUNNER = """
import contextlib, hashlib, io, json, runpy, sys
import torch

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "halftime":
            raise ImportError("a script must not import halftime")

sys.meta_path.insert(0, Nowhere())
torch.set_num_threads(1)
found = {}
for path in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()):
        weights = runpy.run_path(path)["main"]()
    joined = b"".join(name.encode() + weights[name].numpy().tobytes() for name in sorted(weights))
    found[path] = hashlib.sha256(joined).hexdigest()
print(json.dumps(found))
"""


def loaded(path: Path) -> tuple[ht.Workload, str]:
    """The workload of a user's file, and where it was made."""
    workload, _, source = read.workload(str(path))
    return workload, source


def exported(path: Path, workload: ht.Workload, recipe: ht.Recipe, source: str, seed: int = 0) -> Path:
    """The script of a recipe, written."""
    path.write_text(script(workload, recipe, seed, source=source, device="cpu", name=path.stem))
    return path


def executed(paths: Iterable[Path], folder: Path) -> Mapping[str, str]:
    """The digest of the final weights of each script, run one after another where halftime cannot be imported."""
    command = [sys.executable, "-I", "-W", "error", "-c", RUNNER, *map(str, paths)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {Path(path).stem: digest for path, digest in json.loads(done.stdout).items()}


def digest_of_weights(weights: Mapping[str, Tensor]) -> str:
    """The same digest of weights that are at hand."""
    import hashlib

    joined = b"".join(name.encode() + weights[name].numpy().tobytes() for name in sorted(weights))
    return hashlib.sha256(joined).hexdigest()
