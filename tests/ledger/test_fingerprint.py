"""The fingerprint: stable while nothing changes, different when code does, without names of people or hosts."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
from pathlib import Path

import torch

from halftime.ledger.fingerprint import fingerprint

CPU = torch.device("cpu")


def git(*arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def test_outside_a_checkout_there_is_no_code(own_folder: Path) -> None:
    assert fingerprint(CPU)["code"] == {}


def test_a_change_of_code_shows_and_the_ledger_does_not(own_folder: Path) -> None:
    git("init", "-q")
    (own_folder / "a.py").write_text("x = 1\n")
    git("add", "-A")
    git("commit", "-qm", "first")
    clean = fingerprint(CPU)["code"]
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is None
    (own_folder / ".halftime").mkdir()
    (own_folder / ".halftime" / "new.jsonl").write_text("{}\n")
    assert fingerprint(CPU)["code"] == clean
    (own_folder / "a.py").write_text("x = 2\n")
    assert fingerprint(CPU)["code"]["dirty"]


def test_machine_and_packages_but_nobodys_name() -> None:
    found = fingerprint(CPU)
    assert found["machine"]["cores"] >= 1
    assert found["packages"]["torch"] in (torch.__version__, torch.__version__.split("+")[0])
    text = json.dumps(found).split('"')
    assert socket.gethostname() not in text
    assert getpass.getuser() not in text


def test_threads_and_precision_are_those_of_now() -> None:
    """A search changes them between runs, and each run must say what it had."""
    before, threads = fingerprint(CPU)["machine"], torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    torch.set_float32_matmul_precision("high")
    try:
        assert fingerprint(CPU)["machine"] == {**before, "threads": threads + 1, "matmul": "high"}
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
    assert fingerprint(CPU)["machine"] == before
