"""Complete lines or nothing, a digest over all of them, and numbers that are no numbers found by step."""

import errno
import json
import math
import os
from collections import Counter

import pytest
import torch

from bench import damage
from halftime.errors import StorageError
from halftime.ledger.lines import Writer, read


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "attempt-001.jsonl"


def written(path):
    with Writer(path) as log:
        log.record("start", run="r1")
        for step in range(5):
            log.scalar("loss", torch.tensor(1.0 / (step + 1)), step)
            log.scalar("lr", 0.1, step)
        log.flush()
        log.scalar("loss", torch.tensor([0.25]), 5)
        log.scalar("loss", 0.125, 7)
        log.end("finished", step=5)
    return path


def test_what_was_written_is_read(path):
    records, intact = read(written(path))
    assert intact is True
    assert [r["kind"] for r in records] == ["start", "series", "series", "series", "end"]
    assert records[1] == {
        "kind": "series", "key": "loss", "steps": {"first": 0, "count": 5}, "values": [1.0, 0.5, 0.333333, 0.25, 0.2],
    }  # fmt: skip
    assert records[3] == {"kind": "series", "key": "loss", "steps": [5, 7], "values": [0.25, 0.125]}
    assert records[4]["state"] == "finished"


def test_every_prefix_is_a_record_without_its_torn_line(path):
    data = written(path).read_bytes()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        records, intact = read(path)
        assert len(records) == data[:cut].count(b"\n")
        assert intact is None


def test_every_changed_byte_before_the_end_is_found(path):
    data = written(path).read_bytes()
    end = data.rindex(b'{"kind":"end"')
    for position in range(end):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert read(path)[1] is False


@pytest.mark.parametrize("tamper", [lambda d: d.replace(b"0.5", b"0.4"), lambda d: d + b'{"kind":"late"}\n'])
def test_tampering_is_found_by_the_digest(path, tamper):
    path.write_bytes(tamper(written(path).read_bytes()))
    assert read(path)[1] is False


@pytest.mark.parametrize("line", [b"nonsense", b"[1]", b'{"no": "kind"}', b"\xff\xfe", b"", b"[" * 100_000])
def test_a_line_that_is_no_record_ends_the_reading(path, line):
    path.parent.mkdir()
    path.write_bytes(b'{"kind":"start"}\n' + line + b'\n{"kind":"beat"}\n')
    assert read(path) == ([{"kind": "start"}], False)


@pytest.mark.parametrize("value", [math.nan, math.inf, torch.tensor(math.nan), torch.tensor(-math.inf)])
def test_the_first_that_is_no_number_is_named_with_its_step(path, value):
    with Writer(path) as log:
        log.scalar("loss", 1.0, 3)
        log.scalar("lr", 0.1, 3)
        log.scalar("loss", value, 5)
        log.scalar("loss", value, 4)
        assert log.flush() == ("loss", 4)
        log.scalar("loss", 1.0, 6)
        assert log.flush() is None
        log.end("failed")
    series = [r for r in read(path)[0] if r["kind"] == "series"]
    assert series[0]["values"] == [1.0, None, None]  # JSON knows no NaN


def test_a_flush_of_nothing_writes_nothing(path):
    with Writer(path) as log:
        assert log.flush() is None
        assert log.flush(wait=False) is None
        assert path.read_bytes() == b""


def test_a_flush_is_due_after_a_while(path):
    with Writer(path, every=0.0) as log:
        assert log.due()
    with Writer(path.with_name("other"), every=60.0) as log:
        assert not log.due()


def test_nobody_else_writes_to_the_file(path):
    with Writer(path), pytest.raises(StorageError, match="File exists"):
        Writer(path)


def test_an_error_ends_the_record(path):
    def work():
        with Writer(path) as log:
            log.scalar("loss", 1.0, 1)
            raise ZeroDivisionError("division\nby zero")

    with pytest.raises(ZeroDivisionError):
        work()
    records, intact = read(path)
    assert intact is True
    assert records[0]["key"] == "loss"
    assert (records[1]["state"], records[1]["reason"]) == ("failed", "division by zero")


def test_who_interrupts_does_not_judge(path):
    def work():
        with Writer(path) as log:
            log.record("start", run="r1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    records, intact = read(path)
    assert intact is True
    assert (records[-1]["state"], records[-1]["reason"]) == ("killed", "KeyboardInterrupt")


@pytest.mark.parametrize("flushed", [False, True], ids=["waiting", "on its way"])
def test_a_device_that_failed_still_gets_an_end(path, monkeypatch, flushed):
    def dead(*_):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    def work():
        with Writer(path) as log:
            log.record("start", run="r1")
            log.scalar("loss", torch.tensor(1.0), 1)
            log.step(1, [torch.tensor(1.0)], 0.1, 0.25, 1.0)
            if flushed:
                monkeypatch.setattr("halftime.ledger.lines._Copy.done", lambda _: False)
                log.flush(wait=False)
                monkeypatch.setattr(
                    "halftime.ledger.lines._Copy.read", lambda copy: dead() if copy._scalars else iter(())
                )
            else:
                monkeypatch.setattr(torch, "stack", dead)
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    with pytest.raises(torch.AcceleratorError):
        work()
    records, intact = read(path)
    assert intact is True
    assert (records[-1]["state"], records[-1]["reason"]) == ("failed", "CUDA error: device-side assert triggered")
    assert [r["values"] for r in records if r.get("key") == "wait"] == [[0.25]]  # what the host knew is kept


def test_what_is_to_be_told_is_written_at_each_flush_and_with_whatever_end(path):
    told = ["begun"]

    def telling():
        found, told[:] = [*told], []
        return found

    def work():
        with Writer(path) as log:
            log.telling = telling
            log.flush()
            told.append("broken")
            raise ValueError("a reason")

    with pytest.raises(ValueError, match="a reason"):
        work()
    records, intact = read(path)
    assert intact is True
    assert [r.get("text", r["kind"]) for r in records] == ["begun", "broken", "end"]


def test_who_cannot_tell_any_more_does_not_keep_the_end_from_being_written(path):
    def dead():
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    def work():
        with Writer(path) as log:
            log.telling = dead
            log.scalar("loss", 1.0, 1)
            raise ValueError("a reason")

    with pytest.raises(ValueError, match="a reason"):
        work()
    records, intact = read(path)
    assert intact is True
    assert (records[-1]["state"], records[-1]["reason"]) == ("failed", "a reason")


def test_a_line_that_was_torn_by_a_full_disk_does_not_spoil_the_next(path, monkeypatch):
    real, left = os.write, 40

    def write(file, data):
        nonlocal left
        if left is None:
            return real(file, data)
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = real(file, data[:left])
        left -= done
        return done

    with Writer(path) as log:
        log.record("start", run="r1")
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(StorageError, match="the disk is full"):
            log.record("event", text="x" * 30)
        left = None
        log.record("event", text="there is space again")
        log.end("finished")
    records, intact = read(path)
    assert [r["kind"] for r in records] == ["start", "event", "end"]
    assert intact is True


@pytest.mark.parametrize("error", damage.ERRORS, ids=errno.errorcode.get)
def test_a_failing_disk_loses_no_complete_line(tmp_path, error):
    found, at = Counter(), 1
    while True:
        reached, problem = damage.record_fault(tmp_path / str(at), at, error)
        if not reached:
            break
        found[problem] += 1
        at += 1
    assert found == {"": at - 1}
    assert at > 10


def test_lines_are_json(path):
    for line in written(path).read_text().splitlines():
        json.loads(line)


def test_a_validation_loss_that_is_no_number_is_recorded(tmp_path):
    from tests.contract.tasks import VALID, recipe, task, trained

    broken = VALID[0].clone()
    broken[0] = float("nan")
    run = trained(task(valid=(broken, VALID[1]), target=0.9), recipe(steps=4), tmp_path)
    assert run.state == "finished"
    assert math.isnan(run.evaluations[-1].loss)
    assert math.isfinite(run.score)


def test_a_part_of_a_score_that_is_no_number_does_not_end_the_record(path):
    with Writer(path) as log:
        log.record("evaluation", score=0.5, scores={"cat": math.nan, "dog": 0.5}, each=[math.inf, 1.0])
        log.end("finished")
    (first, _), intact = read(path)
    assert (first["scores"], first["each"], intact) == ({"cat": None, "dog": 0.5}, [None, 1.0], True)
