"""Float8: only layers that gain are converted, and what is missing is named. No device here has it: fakes stand in."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.errors import BadWorkload
from halftime.methods import Float8
from halftime.methods import float8 as module
from halftime.methods.float8 import float8_, float8_layers, missing_for
from tests.conftest import make_task


def wide() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, 128), nn.Linear(128, 16), nn.Linear(128, 120), nn.Linear(64, 64), nn.Linear(64, 64)
    )


def test_small_odd_and_last_layers_are_left_with_the_reason() -> None:
    assert float8_layers(wide(), smallest=64) == (
        ["0", "3"], {"1": "small", "2": "not a multiple of 16", "4": "last"}
    )  # fmt: skip
    assert float8_layers(nn.Sequential(nn.Conv2d(64, 64, 3)), smallest=16) == ([], {})


def test_only_what_gains_is_handed_to_the_library() -> None:
    seen: list[str] = []

    def convert(model: nn.Module, module_filter_fn: Any) -> None:
        seen.extend(name for name, layer in model.named_modules() if name and module_filter_fn(layer, name))

    assert float8_(wide(), smallest=64, convert=convert) == seen == ["0", "3"]


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is an extra")
def test_the_library_takes_what_it_is_given() -> None:
    net = wide()
    before = list(net.state_dict())
    assert float8_(net, smallest=64) == ["0", "3"]
    assert [type(layer).__name__ for layer in net] == ["Float8Linear", *["Linear"] * 2, "Float8Linear", "Linear"]
    assert list(net.state_dict()) == before


def on_a_new_device(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A network on the CPU that takes itself to be on a device that has all of it."""
    converted: list[tuple[str, ...]] = []
    monkeypatch.setattr(module, "missing_for", lambda _: "")
    monkeypatch.setattr(module, "float8_", lambda model, smallest: converted.append(float8_layers(model, smallest)[0]))
    return converted


def test_what_was_converted_and_what_not_stands_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = on_a_new_device(monkeypatch)
    method = Float8(smallest=64)
    (line,) = method.start(method.model(wide()), None, None).events()  # type: ignore[arg-type]
    assert converted == [["0", "3"]]
    assert (
        line
        == "Float8: 2 linear layers in 8 bits: 0, 3; left as they are: 1 (small), 2 (not a multiple of 16), 4 (last)"
    )


def test_a_network_that_would_not_gain_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_new_device(monkeypatch)
    with pytest.raises(BadWorkload, match=r"Float8 finds no linear layer that would gain: 0 \(small\), 1 \(last\)"):
        Float8().model(nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 8)))


def test_the_missing_fact_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert missing_for(device) == "a CUDA device of compute capability 8.9, which cuda:0 is not"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 9))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    assert "torchao" in missing_for(device)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: object())
    assert missing_for(device) == ""


def test_on_a_cpu_it_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(BadWorkload, match="Float8 needs a CUDA device") as error:
        ht.train(make_task(), ht.Recipe([Float8()], steps=2), device="cpu", ledger=tmp_path)
    assert "\n" not in str(error.value)
    assert ht.Ledger(tmp_path).runs == []
