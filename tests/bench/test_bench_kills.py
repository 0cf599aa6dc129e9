"""Small versions of the measurements that kill; in processes of their own, since they fork."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(module, *options):
    command = [sys.executable, "-m", f"bench.{module}", *options]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_nothing_is_lost_to_kills_disk_errors_and_damage(tmp_path):
    options = ("--kills=20", "--mib=0.5", "--points=8", "--faults=12", "--mutations=44")
    run("kills", *options, f"--folder={tmp_path}", f"--json={tmp_path / 'kills.json'}")
    content = json.loads((tmp_path / "kills.json").read_text())
    found = {figure["name"]: (figure["median"], figure["n"]) for figure in content["figures"]}
    assert {name for name, (wrong, _) in found.items() if wrong} == set()
    assert found["kills: unloadable"] == (0, 20)
    assert found["resuming: different"] == (0, 8)
    assert found["disk errors: files"][1] >= 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kills.json", "kills.txt"]


def test_writers_lose_no_line(tmp_path):
    out = tmp_path / "ledger.json"
    options = ("--blocks=3", "--scalars=500", "--processes=8", "--kills=20")
    run("ledger", *options, f"--folder={tmp_path}", f"--json={out}")
    content = json.loads(out.read_text())
    assert [(f["name"], f["n"]) for f in content["figures"]] == [("ledger: scalar", 3), ("ledger: kills", 20)]
    assert content["tables"]["Killed writers"][0]["scalars reported"] > 0
