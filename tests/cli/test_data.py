"""halftime data: pack, inspect, verify, and bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from halftime.cli import main


def test_the_digits_are_packed_looked_at_and_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "p")
    assert main(["data", "pack", "digits", folder, "--sizes", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] > 500
    assert main(["data", "inspect", folder]) == 0
    out = capsys.readouterr().out
    assert "0@4" in out
    assert main(["data", "inspect", folder, "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)["fields"]
    assert main(["data", "verify", folder]) == 0
    assert "3 blocks checked, 0 of them not what was packed" in capsys.readouterr().out
    path = next((tmp_path / "p").glob(f"data-*/{fields['0']['file']}"))
    data = bytearray(path.read_bytes())
    data[100] ^= 255
    path.write_bytes(data)
    assert main(["data", "verify", folder, "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["wrong"]) == 1
    assert main(["data", "pack", "digits", folder]) == 0
    assert main(["data", "verify", folder]) == 0


TURNED = """
import torch
import halftime as ht
from halftime.data.turned import TurnedImages

def data():
    return TurnedImages(torch.zeros(8, 3, 4, 4, dtype=torch.uint8), torch.arange(8) % 3, (1,), [0.5], [0.25])

workload = ht.Workload(name="turns", model=lambda: torch.nn.Linear(4, 2), train=data(), valid=data(),
                       loss=torch.nn.functional.cross_entropy, score=ht.accuracy, target=0.95)
"""


def test_rows_that_are_no_samples_yet_are_refused(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("turns.py").write_text(TURNED)
    with pytest.raises(SystemExit):
        main(["data", "pack", "turns.py", "p"])
    assert "turns: its samples (TurnedImages) are made from their rows as they are served" in capsys.readouterr().err
    assert not Path("p").exists()


def test_labels_out_of_range_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "pack", "digits", str(tmp_path / "p"), "--classes", "10"]) == 0
    with pytest.raises(SystemExit):
        main(["data", "pack", "digits", str(tmp_path / "q"), "--classes", "9"])
    assert "has label 9 where 0 to 8 should be" in capsys.readouterr().err
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["pack", "digits"], "needs a folder"),
        (["pack", "digitz", "p"], "did you mean 'digits'"),
        (["pack", "digits", "p", "--sizes", "99"], "sizes must be below"),
        (["pack", "digits", "p", "--sizes", "4", "4"], "sizes are given more than once: [4, 4]"),
        (["pack", "digits", "p", "--classes", "0"], "give a count of at least 1"),
        (["inspect", "nowhere", "--classes", "3"], "--classes is for halftime data pack"),
        (["pack", "digits", "p", "--epochs", "3"], "--epochs is for halftime data usefulness"),
        (["inspect", "nowhere"], "holds no pack"),
        (["verify", "nowhere"], "holds no pack"),
        (["verify", "nowhere", "else"], "takes the folder of a pack and nothing else"),
        (["mend", "nowhere"], "mend"),
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
