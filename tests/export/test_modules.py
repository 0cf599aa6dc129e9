"""What names mean, and which a piece of code takes from outside."""

from __future__ import annotations

import ast

import pytest

from halftime.export.folding import decided
from halftime.export.modules import Definition, External, Ours, Uses, meaning, read
from halftime.methods import SGD


@pytest.mark.parametrize(
    ("module", "name", "means"),
    [
        ("halftime.methods.ema", "WeightAverage", Definition("halftime.methods.ema", "WeightAverage")),
        ("halftime.methods.cut_mix", "paired", Definition("halftime.methods.mix_up", "paired")),
        ("halftime.methods.ema", "torch", External("torch", None, "torch")),
        ("halftime.methods.ema", "nn", External("torch", "nn", "nn")),
        ("halftime.workloads.digits", "sources", None),
        ("halftime.workloads.cifar10", "sources", Ours("halftime.data.sources")),
        ("halftime.data.augmented", "how", Ours("halftime.data.augment")),
    ],
)
def test_names_are_followed_to_where_they_are_defined(module: str, name: str, means: object) -> None:
    assert meaning(read(module), name) == means


@pytest.mark.parametrize(
    ("code", "outside"),
    [
        ("def f(a, b=c):\n    d = a + e\n    return d", {"c", "e"}),
        ("x = [i + k for i in range(3)]", {"k", "range"}),
        ("f = lambda a: a + b", {"b"}),
        ("def f():\n    def g():\n        return h\n    return g()", {"h"}),
        ("class A(B):\n    x: C = d\n    def f(self):\n        return self.x + e", {"B", "C", "d", "e"}),
        ("def f():\n    with a as b:\n        return b", {"a"}),
        ("def f():\n    for i in a:\n        (j := i)\n    return j", {"a"}),
        ("def f():\n    try:\n        a()\n    except B as c:\n        raise c", {"a", "B"}),
    ],
)
def test_what_code_takes_from_outside(code: str, outside: set[str]) -> None:
    assert {use.node.id for use in Uses.of(*ast.parse(code).body).found} == outside


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("self.nesterov and self.momentum > 0", (True,)),
        ("not self.nesterov", (False,)),
        ("self.lr in (0.1, 0.2)", (True,)),
        ("self.weight_decay is None", (False,)),
        ("0 < self.lr < 0.05", (False,)),
        ("model is None", None),
        ("len(self.lr) > 1", None),
    ],
)
def test_what_fields_decide(code: str, value: object) -> None:
    assert decided(ast.parse(code, mode="eval").body, SGD(lr=0.1, nesterov=True)) == value
