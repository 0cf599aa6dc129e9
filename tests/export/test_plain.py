"""The stand-ins give the numbers of what they stand in for."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from halftime.data import feed as real
from halftime.data import sources
from halftime.data.images import Images
from halftime.data.order import Curriculum, Permuted, Subset, shuffled
from halftime.data.steered import Steered
from halftime.export import plain

ROWS = torch.arange(22)
CPU = torch.device("cpu")
SIZES = [(22, 5), (22, 22), (7, 9), (16, 4)]  # samples, batch size; one epoch is shorter than a batch


@pytest.mark.parametrize(("samples", "size"), SIZES)
def test_batches_come_in_the_same_order(samples: int, size: int) -> None:
    wanted = list(islice(real.Feed(real.Tensors(ROWS[:samples]), size, seed=3).batches(), 12))
    found = list(islice(plain.batches(plain.Tensors(ROWS[:samples]), size, seed=3), 12))
    assert [b.tolist() for b in found] == [b.tolist() for b in wanted]


@pytest.mark.parametrize(("samples", "size"), SIZES)
@pytest.mark.parametrize("order", [shuffled, Permuted(), None], ids=["shuffled", "permuted", "curriculum"])
def test_a_feed_tells_what_it_served(samples: int, size: int, order: object) -> None:
    order = order or Curriculum(shuffled, torch.arange(samples), lambda epoch: min(1.0, 0.5 + 0.2 * epoch))
    one = real.Feed(real.Tensors(ROWS[:samples]), size, 3, order, device=CPU)  # type: ignore[arg-type]
    other = plain.Feed(plain.Tensors(ROWS[:samples]), size, 3, CPU, order)
    assert other.steps_per_epoch == one.steps_per_epoch
    assert torch.equal(other.indices(2), one.indices(2))
    assert torch.equal(other.look(4), one.look(4))
    for wanted, found in islice(zip(one.batches(), other.batches(), strict=False), 12):
        assert torch.equal(found, wanted)
        assert (other.served.step, other.served.epoch) == (one.served.step, one.served.epoch)
        assert torch.equal(other.served.ids, one.served.ids)


def test_an_order_that_says_what_an_epoch_is_is_asked() -> None:
    first = Subset(shuffled, torch.arange(4))
    order = Steered(lambda seed, epoch, samples, now: first if now["progress"] < 0.5 else shuffled)
    one = real.Feed(real.Tensors(ROWS), 4, 3, order, device=CPU)
    other = plain.Feed(plain.Tensors(ROWS), 4, 3, CPU, order)
    assert other.steps_per_epoch == one.steps_per_epoch == 5


def test_data_are_looked_for_where_halftime_has_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert plain.FILES.keys() == sources.SOURCES.keys()
    for home in ("", str(tmp_path)):
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        assert plain.cache() == Path(Unix("halftime").user_cache_dir)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("sys.platform", "darwin")
    assert plain.cache() == Path(MacOS("halftime").user_cache_dir)


def test_chance_is_the_same() -> None:
    pixels = torch.randint(0, 256, (22, 1, 6, 6), dtype=torch.uint8)
    images = Images(pixels, ROWS, [0.5], [0.25], shift=2, flip=True)
    wanted = islice(real.Feed(images, 5, seed=1).batches(), 9)
    found = islice(plain.batches(images, 5, seed=1), 9)
    assert sum(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(found, wanted, strict=True)) == 9


def test_what_has_no_stand_in_anymore_is_noticed() -> None:
    from halftime.export.modules import read
    from halftime.export.stand_ins import STAND_INS

    for (module, name), (target, what) in STAND_INS.items():
        assert name in read(module).bindings, f"{module} has no {name}"
        assert not target.startswith("halftime") or what in read(target).bindings
    assert len(STAND_INS) >= 8
