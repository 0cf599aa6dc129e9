"""TestTimeFlip: an image and its mirror image are judged alike, training is untouched, and the price is said."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

import halftime as ht
from halftime.measure.score import evaluate
from halftime.methods import EMA, SGD, TestTimeFlip
from halftime.methods.test_time_flip import MirrorJudge, mean_of_two, mirror
from tests.contract.tasks import VALID, network, same, task, trained, weights


def test_an_image_and_its_mirror_image_get_the_same_outputs() -> None:
    net, images = network().eval(), torch.randn(5, 1, 8, 8)
    plain, other = net(images), net(images.flip(-1))
    assert not torch.allclose(plain, other)
    with MirrorJudge(net).judging():
        assert torch.equal(net(images), (plain + other) / 2)
        assert torch.allclose(net(images.flip(-1)), net(images))
    assert torch.equal(net(images), plain)
    assert not net._forward_hooks


def test_maps_are_mirrored_back() -> None:
    net, images = nn.Conv2d(1, 2, 1).eval(), torch.randn(2, 1, 4, 6)
    plain = net(images)
    with MirrorJudge(net).judging():
        assert torch.allclose(net(images), plain)  # a pointwise network knows no left and right


def test_in_training_mode_nothing_changes() -> None:
    net, images = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).train(), torch.randn(2, 1, 8, 8)
    judge, plain = MirrorJudge(net), net(images)
    with judge.judging():
        assert torch.equal(net(images), plain)
    assert judge.seconds == 0


def test_keyword_inputs_and_dict_outputs() -> None:
    class Named(nn.Module):
        """Takes a name, gives two."""

        def forward(self, image: Tensor, ids: Tensor) -> dict[str, Tensor]:
            return {"left": image[..., 0].mean(dim=(1, 2)), "ids": ids}

    net, images, ids = Named().eval(), torch.randn(3, 1, 4, 4), torch.arange(3)
    with MirrorJudge(net).judging():
        outputs = net(image=images, ids=ids)
    assert torch.allclose(outputs["left"], (images[..., 0] + images[..., -1]).mean(dim=(1, 2)) / 2)
    assert torch.equal(outputs["ids"], ids)


def test_mirroring_twice_is_nothing_and_means_keep_the_form() -> None:
    images = torch.randn(2, 3, 4, 5)
    assert torch.equal(mirror(mirror(images)), images)
    assert mean_of_two([images, (images,)], [images, (images,)])[1][0].shape == images.shape


def test_weights_are_those_of_the_plain_run_and_the_score_is_that_of_both(tmp_path: Path) -> None:
    recipe = ht.Recipe([SGD(lr=0.1), EMA()], steps=8, batch_size=16)
    plain = trained(task(), recipe, tmp_path)
    judged = trained(task(), ht.Recipe([*recipe.methods, TestTimeFlip()], steps=8, batch_size=16), tmp_path)
    assert same(weights(plain), weights(judged))
    net = network()
    net.load_state_dict(weights(judged))
    with torch.no_grad():
        both = (net.eval()(VALID[0]) + net(VALID[0].flip(-1))) / 2
    assert judged.evaluations[-1].loss != plain.evaluations[-1].loss
    assert abs(judged.evaluations[-1].loss - float(nn.functional.cross_entropy(both, VALID[1]))) < 1e-5
    score, _ = evaluate(task(), net, torch.device("cpu"))
    assert score == plain.score


def test_the_price_is_said_in_the_record(tmp_path: Path) -> None:
    run = trained(task(), ht.Recipe([SGD(), TestTimeFlip()], steps=8, batch_size=16), tmp_path)
    assert run.events
    assert all("mirror images took" in event for event in run.events)


def test_the_price_goes_on_over_a_stop() -> None:
    one, other = (TestTimeFlip().start(nn.Identity(), torch.optim.SGD([torch.ones(1)]), None) for _ in range(2))  # type: ignore[arg-type]
    one.judge.seconds = 2.5  # type: ignore[attr-defined]
    assert "2.5 s" in one.events()[0]
    other.load_state_dict(one.state_dict())
    assert other.events() == []
    other.judge.seconds += 1.0  # type: ignore[attr-defined]
    assert "3.5 s" in other.events()[0]
