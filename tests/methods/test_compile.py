"""Compile: the same network, fewer kernels; what is compiled again is counted, and nothing is shared between runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import halftime as ht
from halftime.data.feed import Tensors
from halftime.data.proxy import scores
from halftime.errors import BadRecipe
from halftime.methods import SGD, Compile, DropStochastic, ProgressiveResize
from halftime.methods import compile as module
from halftime.methods.compile import blocks, compilations, compiled_, missing_for
from tests.conftest import make_net, make_task
from tests.contract.tasks import bars, network, same

# torch hides this warning where warnings are printed, not where they are errors
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.relu(self.inner(self.norm(x)))


def stack() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Block(), Block(), Block(), nn.Linear(8, 1))


def test_blocks_are_the_outermost_repeated_layers_of_layers() -> None:
    net = stack()
    assert blocks(net) == [net[0], net[1], net[2]]
    assert blocks(nn.Sequential(nn.ModuleList([stack(), stack()]))) != []
    assert len(blocks(nn.ModuleDict({"body": stack()}))) == 3  # type: ignore[arg-type]
    assert blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == []  # leaves: nothing to gain


def test_outputs_gradients_names_and_state_stay() -> None:
    plain, fast = stack(), stack()
    compiled_(blocks(fast), backend="aot_eager")
    x = torch.randn(5, 8)
    for net in (plain, fast):
        net(x).sum().backward()
    assert list(plain.state_dict()) == list(fast.state_dict())
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]


def test_a_copy_trains_its_own_weights() -> None:  # as the proxy does that scores the samples
    found = []
    for where in ((), (lambda net: [net],), (lambda net: [*net][:1],)):
        torch.manual_seed(0)
        net = network()
        for layers in where:
            compiled_(layers(net), backend="eager")
        before = {name: value.clone() for name, value in net.state_dict().items()}
        found.append(scores(net, Tensors(*bars(48)), "el2n", epochs=3, lr=0.01, batch_size=16))
        assert same(net.state_dict(), before)
    assert float(found[0].std()) > 0.01
    assert all(torch.equal(one, found[0]) for one in found)


def test_evaluation_calls_the_network_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda call, **_: lambda *given: calls.append("fast") or call(*given))
    net = nn.Linear(2, 1)
    compiled_([net], backend="eager")
    net(torch.ones(1, 2))
    net.eval()
    net(torch.ones(1, 2))
    assert calls == ["fast"]


def test_many_runs_in_one_process_do_not_use_up_each_others_limit() -> None:
    limit = torch._dynamo.config.recompile_limit
    for _ in range(limit + 2):
        began = time.time()
        net = stack()
        compiled_(blocks(net), backend="eager")
        net(torch.randn(4, 8)).sum().backward()
        found = compilations(began)
        assert [what for what, _ in found if what == "no longer compiled"] == []
        assert 1 <= len(found) <= 2  # the first block's input needs no gradient, those of the others do


def test_a_run_counts_what_is_compiled_again_and_says_why(tmp_path: Path) -> None:
    what = ht.Recipe([SGD(lr=0.1), ProgressiveResize(smallest=0.5), Compile(backend="eager", sizes="fixed")], steps=12,
                     batch_size=32)  # fmt: skip
    run = ht.train(make_task(), what, device="cpu", ledger=tmp_path, quiet=True)
    told = [text for text in run.events if text.startswith("Compile: ")]
    assert told[0] == "Compile: compiled"
    assert len(told) >= 2
    assert told[1].startswith("Compile: compiled again (number 1): ")
    assert "size mismatch at index" in told[1]
    assert run.spans["compile"] > 0


def test_open_sizes_are_compiled_once_for_all(tmp_path: Path) -> None:
    what = ht.Recipe([SGD(lr=0.1), ProgressiveResize(smallest=0.5, multiple=2), Compile(backend="eager", sizes="any")],
                     steps=12, batch_size=32)  # fmt: skip
    run = ht.train(make_task(), what, device="cpu", ledger=tmp_path, quiet=True)
    assert [text for text in run.events if text.startswith("Compile: ")] == ["Compile: compiled"]


def test_the_limit_of_graphs_is_told() -> None:
    began, net = time.time(), nn.Linear(8, 8)
    compiled_([net], backend="eager", sizes="fixed")
    for size in range(1, torch._dynamo.config.recompile_limit + 3):
        net(torch.randn(size + 1, 8))
    assert compilations(began)[-1][0] == "no longer compiled"


@pytest.mark.parametrize(
    ("device", "broken", "named"),
    [("cpu", "compiler", "C++ compiler"), ("cpu", "header", "Python.h"), ("cuda", "triton", "triton")],
)
def test_inductor_is_refused_where_its_tools_are_missing(
    device: str, broken: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler() -> str:
        raise RuntimeError("no compiler")

    import torch._inductor.cpp_builder as builder

    monkeypatch.setattr(builder, "get_cpp_compiler", no_compiler if broken == "compiler" else lambda: "g++")
    if broken == "header":
        monkeypatch.setattr(module.sysconfig, "get_path", lambda _: "/nowhere")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    assert named in missing_for("inductor", device)
    assert missing_for("eager", device) == ""
    if device == "cpu":
        with pytest.raises(BadRecipe, match=r"Compile needs") as error:
            Compile().model(make_net())
        assert named in str(error.value)


def test_blocks_are_refused_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=r"Compile.*no.*where='whole'"):
        ht.train(make_task(), ht.Recipe([Compile(where="blocks", backend="eager")], steps=2), ledger=tmp_path)
    assert ht.Ledger(tmp_path).runs == []


def test_what_torch_cannot_compile_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    def refuse(*_: Any, **__: Any) -> Any:
        def fast(*_: Any) -> Any:
            raise BackendCompilerFailed(lambda: None, ValueError("no such kernel"), None)  # type: ignore[arg-type]

        return fast

    monkeypatch.setattr(torch, "compile", refuse)
    net = nn.Linear(2, 1)
    compiled_([net], backend="eager")
    with pytest.raises(BadRecipe, match="cannot compile") as error:
        net(torch.ones(1, 2))
    assert "\n" not in str(error.value)


def test_no_global_setting_of_torch_is_changed() -> None:
    before = torch._dynamo.config.get_config_copy()
    net = stack()
    compiled_([net], backend="aot_eager")
    DropStochastic().model(net)
    net(torch.randn(2, 8)).sum().backward()
    assert torch._dynamo.config.get_config_copy() == before
