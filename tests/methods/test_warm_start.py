"""WarmStart: what fits by name and shape is loaded, what can be made to fit is adapted, the rest is said."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import halftime as ht
from halftime.errors import BadValue
from halftime.methods import SGD, Kaiming, WarmStart
from halftime.methods.warm_start import fit, read_weights, warm_start_
from tests.contract.tasks import STORED, network, task, trained, weights


def test_the_same_network_is_loaded_whole() -> None:
    there, here = network(), network()
    report = warm_start_(here, there.state_dict())
    assert len(report.loaded) == len(there.state_dict())
    assert not report.adapted
    assert not report.left
    assert not report.unused
    assert all(torch.equal(v, there.state_dict()[k]) for k, v in here.state_dict().items())


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "_orig_mod.module.", "network."])
def test_names_that_wrappers_put_before_are_seen_through(prefix: str) -> None:
    there, here = network(), network()
    report = warm_start_(here, {prefix + name: t for name, t in there.state_dict().items()})
    assert not report.left
    assert torch.equal(here[0].weight, there[0].weight)  # type: ignore[index]


def test_a_head_for_other_classes_starts_fresh_and_all_else_is_loaded() -> None:
    there, here = network(), network()
    there[6] = nn.Linear(96, 7)  # type: ignore[index, operator]
    before = here[6].weight.detach().clone()  # type: ignore[index]
    report = warm_start_(here, there.state_dict())
    assert set(report.left) == {"6.weight", "6.bias"}
    assert report.left["6.weight"] == "stored as 7x96, wanted 3x96"
    assert torch.equal(here[6].weight, before)  # type: ignore[index]
    assert torch.equal(here[0].weight, there[0].weight)  # type: ignore[index]


def test_a_grey_image_gets_from_the_adapted_layer_what_its_colours_got() -> None:
    colour, grey = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 4, 3)
    assert list(warm_start_(grey, colour.state_dict()).adapted) == ["weight"]
    image = torch.randn(2, 1, 8, 8)
    assert torch.allclose(grey(image), colour(image.expand(-1, 3, -1, -1)), atol=1e-5)
    back = nn.Conv2d(3, 4, 3)
    warm_start_(back, grey.state_dict())
    assert torch.allclose(back(image.expand(-1, 3, -1, -1)), grey(image), atol=1e-5)


def test_a_student_and_a_teacher_of_one_shape_each_get_their_own() -> None:
    own = {"network.weight": torch.zeros(2), "model.weight": torch.zeros(2), "weight": torch.zeros(2)}
    stored = {name: torch.full((2,), float(i)) for i, name in enumerate(own, 1)}
    report = fit(own, stored)
    assert {name: t.tolist() for name, t in report.loaded.items()} == {name: t.tolist() for name, t in stored.items()}
    assert report.unused == []
    alone = fit(own, {"model.weight": torch.ones(2)})  # what has its very name there goes nowhere else
    assert list(alone.loaded) == ["model.weight"]
    assert alone.left == {"network.weight": "not stored", "weight": "not stored"}


def test_what_has_no_place_is_said() -> None:
    report = fit(nn.Linear(2, 2).state_dict(), {"weight": torch.zeros(2, 2), "extra": torch.zeros(1)})
    assert report.unused == ["extra"]
    assert report.left == {"bias": "not stored"}
    assert "1 unused (extra)" in repr(report)


def test_parameters_stay_the_same_tensors_and_learn() -> None:
    net = nn.Linear(2, 2)
    before = list(net.parameters())
    warm_start_(net, nn.Linear(2, 2).state_dict())
    assert all(p is q and p.requires_grad for p, q in zip(net.parameters(), before, strict=True))


def test_a_run_starts_from_the_file_after_other_initial_weights_and_says_so(tmp_path: Path) -> None:
    what = ht.Recipe([SGD(lr=1e-12, momentum=0.0), Kaiming(), WarmStart(source=str(STORED))], steps=1)
    run = trained(task(), what, tmp_path, seed=9)
    assert torch.allclose(weights(run)["0.weight"], read_weights(str(STORED))["0.weight"], atol=1e-6)
    assert run.events == ("WarmStart: 9 loaded, 0 adapted, 0 left fresh, 0 unused",)


def test_what_it_did_is_told_of_a_run_that_fails_at_once_too(tmp_path: Path) -> None:
    what = ht.Recipe([SGD(), WarmStart(source=str(STORED))], steps=4, batch_size=16)
    run = trained(task(loss=lambda outputs, targets: outputs.sum() * float("nan")), what, tmp_path)
    assert run.state == "failed"
    assert run.events == ("WarmStart: 9 loaded, 0 adapted, 0 left fresh, 0 unused",)


@pytest.mark.parametrize(
    ("source", "said"),
    [("", "must be"), ("gone.safetensors", "no file"), ("a/b/c", "must be"), ("torn.safetensors", "cannot be read")],
)
def test_a_bad_source_is_refused_in_one_line(source: str, said: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torn.safetensors").write_bytes(STORED.read_bytes()[:200])
    with pytest.raises(BadValue, match=said) as error:
        trained(task(), ht.Recipe([WarmStart(source=source)], steps=1), tmp_path / "ledger")
    assert "\n" not in str(error.value)
    assert ht.Ledger(tmp_path / "ledger").runs == []


def test_a_hub_id_wants_the_extra_and_uses_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BadValue, match="pip install huggingface_hub"):
        read_weights("owner/name")
    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    hub: Any = ModuleType("huggingface_hub")
    hub.hf_hub_download = lambda owner, file: {"owner/name": str(tmp_path / file)}[owner]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert torch.equal(read_weights("owner/name")["weight"], torch.ones(2))
    with pytest.raises(BadValue, match="did not come from the hub") as error:
        read_weights("owner/other")
    assert "\n" not in str(error.value)


def test_a_source_that_is_no_text_is_refused() -> None:
    with pytest.raises(BadValue, match=r"^WarmStart\.source must be a text"):
        WarmStart(source=3)  # type: ignore[arg-type]


def test_a_search_leaves_it_out_where_no_source_is_named() -> None:
    assert WarmStart().idle(nn.Linear(2, 2), None) == "no source of weights is named"
    assert WarmStart(source="w.safetensors").idle(nn.Linear(2, 2), None) == ""
