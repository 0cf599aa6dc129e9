"""Workloads of every form are carried: their files, data sets, losses and scores."""

from __future__ import annotations

from pathlib import Path

import pytest

import halftime as ht
from halftime.cli import arguments as read
from halftime.errors import BadData, BadRecipe, BadWorkload
from halftime.export.script import script
from halftime.methods import SGD, FastLoader, OneCycle, Packed
from tests.contract.tasks import trained, weights

from .tasks import digest_of_weights, executed, exported, loaded

HEAD = '''
import random

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import halftime as ht
from halftime.data.augmented import Augment, Augmented
from halftime.data.feed import Tensors

x = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(0))
x[::2] += 1.0  # a statement between the definitions
y = (x.mean((1, 2, 3)) > 0.5).long()
SIDE = 8


class Jittered(torch.utils.data.Dataset):
    """Samples that are read one by one, with chance from everywhere."""

    def __len__(self):
        return len(x)

    def __getitem__(self, index):
        noise = torch.randn(1, 8, 8) * 0.1 + random.random() * 0.1 + float(np.random.rand()) * 0.1
        return x[index] + noise, int(y[index])


class Named(torch.utils.data.Dataset):
    def __len__(self):
        return len(x)

    def __getitem__(self, index):
        return {"images": x[index], "label": y[index]}


class Still(Named):
    def __getitem__(self, index):
        return x[index], y[index]


class Numbered(Jittered):
    batch = 32  # how many samples somebody once took at a time


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(SIDE * SIDE, 2))

    def forward(self, images):
        return self.body(images)


class Share:
    """As torchmetrics does it."""

    def reset(self):
        self.right = self.seen = 0

    def update(self, outputs, targets):
        self.right += int((outputs.argmax(1) == targets).sum())
        self.seen += len(targets)

    def compute(self):
        return torch.tensor(self.right / self.seen)


def several(outputs, targets):
    return {"class": cross_entropy(outputs, targets), "size": outputs.square().mean()}


def made(name, train=(x, y), valid=(x, y), loss=cross_entropy, score=ht.accuracy, **more):
    return ht.Workload(name=name, model=Net, train=train, valid=valid, loss=loss, score=score, evaluations=3, **more)


def weighted():
    weight = torch.tensor([1.0, 3.0])
    return ht.Workload(name="weighted", model=Net, train=(x, y), valid=(x, y), loss=nn.CrossEntropyLoss(weight=weight),
                       score=ht.accuracy, evaluations=3)


def still():
    return Net().eval()


def augmented():
    pixels = (x * 50 + 100).clamp(0, 255).to(torch.uint8)
    return Augmented(Tensors(pixels, y), Augment(pad=1, flip="random", mean=(0.5,), std=(0.25,)))


if __name__ == "__main__":
    print(workload)
'''
FORMS = {
    "tensors": "made('tensors')",
    "one by one": "made('jittered', train=Jittered(), valid=Still())",
    "dicts": "made('dicts', train=Named(), valid=Named())",
    "several losses": "made('several', loss=several)",
    "metric": "made('metric', score=Share())",
    "served": "made('served', train=augmented(), valid=augmented())",
    "lower": "ht.Workload(name='lower', model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), "
    "train=(x, x.mean((2, 3))), valid=(x, x.mean((2, 3))), loss=mse_loss, score=mse_loss, better='lower')",
    "lambda": "made('lambda', loss=lambda outputs, targets: cross_entropy(outputs, targets, label_smoothing=0.1))",
    "object": "made('object', loss=nn.CrossEntropyLoss(label_smoothing=0.1))",
    "free": "[made('free')][0]",
    "objects": "ht.Workload(name='objects', model=still, train=(x, y), valid=(x, y), "
    "loss=nn.CrossEntropyLoss(label_smoothing=0.2), score=Share(), evaluations=3)",
    "local": "weighted()",
    "unnamed": "ht.Workload(name='w', model=Net, train=torch.utils.data.TensorDataset(x, y), valid=(x, y), "
    "loss=cross_entropy, score=ht.accuracy)",
}
RECIPE = ht.Recipe([SGD(lr=0.1), OneCycle()], steps=9, batch_size=16)
METHODS = {  # what rests on machinery of ours, with samples that are read one by one
    "processes": ("one by one", RECIPE.plus(FastLoader(workers=1, ahead=2))),
    "processes, a number called batch": ("numbered", RECIPE.plus(FastLoader(workers=1, ahead=2))),
    "threads": ("tensors", RECIPE.plus(FastLoader(workers=2, ahead=2))),
    "packed": ("still", RECIPE.plus(Packed(where="memory"))),
}


def written(folder: Path, key: str, form: str) -> Path:
    path = folder / f"{key.replace(' ', '_')}.py"
    path.write_text(f"{HEAD}\n\nworkload = {form}\n")
    return path


def test_forms_of_workloads(tmp_path: Path) -> None:
    expected, paths = {}, []
    for key, form in FORMS.items():
        workload, source = loaded(written(tmp_path, key, form))
        expected[f"plain_{Path(source).stem}"] = digest_of_weights(weights(trained(workload, RECIPE, tmp_path)))
        paths.append(exported(tmp_path / f"plain_{Path(source).stem}.py", workload, RECIPE, source))
    assert executed(paths, tmp_path) == expected
    assert len(set(expected.values())) >= 6
    assert "Jittered" not in (tmp_path / "plain_tensors.py").read_text()


@pytest.mark.parametrize("key", METHODS)
def test_machinery_has_stand_ins_that_give_the_same_batches(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halftime.data.storage.cache", lambda: tmp_path / "cache")
    form, recipe = METHODS[key]
    more = {
        "still": "made('still', train=Still(), valid=Still())",
        "numbered": "made('numbered', train=Numbered(), valid=Still())",
    }
    written_form = {**FORMS, **more}[form]
    workload, source = loaded(written(tmp_path, key, written_form))
    run = trained(workload, recipe, tmp_path)
    path = exported(tmp_path / "plain.py", workload, recipe, source)
    assert executed([path], tmp_path)["plain"] == digest_of_weights(weights(run))


@pytest.mark.parametrize(
    ("task", "made"),
    [
        ("shakespeare", "model = GPT(vocabulary, 64, layers=2, width=128, heads=4).to(device)"),
        ("blood_cells", "model = workload.model().to(device)"),
        ("multitask", "model = Headed(3, (24, 48, 64), (2, 2, 1), HEADS).to(device)"),
    ],
)
def test_built_in_workloads(task: str, made: str, tmp_path: Path) -> None:
    try:
        workload, _, source = read.workload(task)
    except BadData as error:
        pytest.skip(str(error))
    what = ht.Recipe([SGD(lr=0.1), OneCycle()], steps=2, batch_size=16)
    run = trained(workload, what, tmp_path)
    path = exported(tmp_path / "plain.py", workload, what, source)
    assert executed([path], tmp_path)["plain"] == digest_of_weights(weights(run))
    assert made in path.read_text()


def test_a_method_of_the_user_is_carried_too(tmp_path: Path) -> None:
    method = '''
import dataclasses


@dataclasses.dataclass(frozen=True)
class Brighter(ht.Method):
    """Train on brighter images."""

    by: float = ht.setting(0.1, low=0)

    slot = "brightness"

    def batch(self, inputs, targets, progress):
        return inputs + self.by * progress, targets


methods = (Brighter,)
'''
    path = written(tmp_path, "brighter", "made('brighter')")
    path.write_text(path.read_text() + method)
    workload, (kind,), source = read.workload(str(path))
    what = RECIPE.plus(kind(by=0.3))
    plain = exported(tmp_path / "plain.py", workload, what, source)
    assert "inputs = inputs + BRIGHTER_BY * progress" in plain.read_text()
    assert executed([plain], tmp_path)["plain"] == digest_of_weights(weights(trained(workload, what, tmp_path)))


NAMES = '''
import torch
from torch import nn

import halftime as ht

x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
BATCH_SIZES = 3


def train():
    return x, (x.sum(1) > 0).long()


def evaluate(outputs, targets):
    return (outputs.argmax(1) == targets).float()


def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)


def network():
    return nn.Linear(5, 2)


def model():
    return network()


class Wrapped(ht.Method):
    """Put something around the network."""

    slot = "wrapping"

    def model(self, model):
        return nn.Sequential(model)


workload = ht.Workload(name="names", model=model, train=train(), valid=train(), loss=loss, score=evaluate)
methods = (Wrapped,)
'''


def test_names_of_the_user_make_way_for_those_of_the_loop(tmp_path: Path) -> None:
    (tmp_path / "names.py").write_text(NAMES)
    workload, (kind,), source = read.workload(str(tmp_path / "names.py"))
    what = RECIPE.plus(kind())
    plain = exported(tmp_path / "plain.py", workload, what, source)
    assert "def names_evaluate(" in plain.read_text()
    assert executed([plain], tmp_path)["plain"] == digest_of_weights(weights(trained(workload, what, tmp_path)))


def test_a_file_that_was_not_loaded_is_refused(tmp_path: Path) -> None:
    workload, source = loaded(written(tmp_path, "one", FORMS["tensors"]))
    with pytest.raises(BadWorkload, match="not the file"):
        script(workload, RECIPE, source=source.replace("one", "other"), device="cpu")


def test_a_method_inside_a_function_is_refused_by_name(tmp_path: Path) -> None:
    class Local(SGD):
        def optimizer(self, model: object, optimizer: object) -> object:
            return super().optimizer(model, optimizer)  # type: ignore[arg-type]

    workload, source = loaded(written(tmp_path, "one", FORMS["tensors"]))
    with pytest.raises(BadRecipe, match="Local cannot be exported"):
        script(workload, ht.Recipe([Local(lr=0.1)], steps=2), source=source, device="cpu")
