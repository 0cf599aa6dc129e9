"""halftime data usefulness: scores as JSON, a page that holds its pictures, and bad input in one line."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

import pytest
import torch

from halftime.cli import main
from halftime.data.png import png, shown
from halftime.report.usefulness import counts


def test_the_digits_are_scored_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    given = ["data", "usefulness", "digits", "--score", "margin", "--epochs", "1", "--device", "cpu", "--json"]
    assert main([*given, "--out", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    scores = found["scores"]
    assert found["samples"] == len(scores) == 906
    assert scores[found["hardest"][0]] == max(scores)
    assert scores[found["easiest"][0]] == min(scores)
    assert found["seconds"] > 0
    text = page.read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(pictures) == 48
    assert all(base64.b64decode(p).startswith(b"\x89PNG") for p in pictures)
    assert f"sample {found['hardest'][0]}," in text
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "<script" not in text
    assert main(given) == 0  # without --out, JSON writes nothing
    assert list(tmp_path.iterdir()) == [page]


def test_a_text_says_what_was_found_and_a_page_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "usefulness", "digits", "--epochs", "1", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "906 samples of digits by el2n" in out
    assert (tmp_path / "usefulness.html").exists()


def test_an_image_is_a_png_that_can_be_read_back() -> None:
    image = torch.randint(256, (3, 5, 7), dtype=torch.uint8)
    data = png(image)
    at = data.index(b"IDAT")
    raw = zlib.decompress(data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")])
    rows = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(5, 1 + 21)
    assert torch.equal(rows[:, 1:].view(5, 7, 3).permute(2, 0, 1), image)
    assert int(rows[:, 0].max()) == 0


def test_what_is_shown_goes_from_dark_to_light_and_is_small() -> None:
    tall = shown(torch.linspace(-3, 5, 2 * 400 * 200).view(2, 400, 200))
    assert tall.shape == (1, 80, 40)
    assert (int(tall.min()), int(tall.max())) == (0, 255)
    assert int(shown(torch.full((1, 4, 4), float("nan"))).max()) == 0


def test_every_sample_is_counted_once() -> None:
    scores = torch.rand(1000).tolist()
    bins = counts(scores)
    assert sum(n for *_, n in bins) == 1000
    for low, high, n in bins[:-1]:
        assert n == sum(low <= s < high for s in scores) or abs(n - sum(low <= s < high for s in scores)) <= 1
    assert counts([2.0, 2.0]) == [(1.5, 2.5, 2)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["usefulness", "digitz"], "did you mean 'digits'"),
        (["usefulness", "digits", "--epochs", "0"], "--epochs must be at least 1"),
        (["usefulness", "digits", "--out", "nowhere/page.html"], "that folder does not exist"),
        (["usefulness", "digits", "there"], "takes a workload and nothing else"),
        (["usefulness", "digits", "--score", "luck"], "luck"),
        (["inspect", "p", "--score", "el2n"], "--score is for halftime data usefulness"),
        (["pack", "digits", "p", "--out", "x.html"], "--out is for halftime data usefulness"),
    ],
)
def test_bad_input_is_one_line(given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["data", *given])
    assert left.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
