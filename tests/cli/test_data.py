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


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["pack", "digits"], "needs a folder"),
        (["pack", "digitz", "p"], "did you mean 'digits'"),
        (["pack", "digits", "p", "--sizes", "99"], "sizes must be below"),
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
