"""The page says what the proof says, no more, and lets nothing in or out."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import socket
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftime.ledger.store import Ledger, load_all
from halftime.measure.proof import Proof
from halftime.measure.sequential import Design
from halftime.recipe import Recipe
from halftime.report import words
from halftime.report.argument import MEANING, contrast
from halftime.report.page import proof_page, runs_page
from tests.report.records import BASE, FAST, FINGERPRINT, HOST, WORKLOAD, curve, tuned, write_proof, write_run

SLOW, QUICK = [20.0, 21.0, 22.0, 20.5, 21.5], [10.0, 10.5, 11.0, 10.2, 10.4]
VOID = {"meta", "br", "link", "img", "input", "hr"}
ALLOWED = set(
    """html head meta title style body main footer header section aside h1 h2 h3 p ul li dl dt dd
    table thead tbody tr th td div span b br figure figcaption details summary pre code
    svg desc g path text rect clippath""".split()  # noqa: SIM905 - it reads better
)


class Page(HTMLParser):
    """Checks that tags close in order, and keeps what a test asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def checked(text: str) -> Page:
    """What must hold of every page."""
    text.encode()
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= ALLOWED
    assert page.tags[0] == ("html", {"lang": "en"})
    assert not [
        (t, a) for t, a in page.tags for k in a if k in ("src", "href", "style", "action") or k.startswith("on")
    ]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"url\((?!#)|@import|https?:", re.sub(r"http-equiv", "", text))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(svg)
    assert "undefined" not in page.text
    assert not re.search(r"\bnan\b|\bNone\b|Markup", page.text)
    return page


def hidden(text: str, *more: str) -> None:
    """No host, user or path of this machine, nor the host in the records."""
    for secret in (HOST, socket.gethostname(), str(Path.home()), str(Path.cwd()), *more):
        if len(secret) > 5 and secret != "localhost":
            assert secret not in text


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "proved": ("proved", {"base": SLOW, "fast": QUICK}),
    "provisional": ("provisional", {"base": SLOW[:3], "fast": QUICK[:3]}),
    "hint": ("hint", {"base": SLOW[:1], "fast": QUICK[:1]}),
    "no difference": ("not shown", {"base": SLOW, "fast": SLOW[::-1]}),
    "worse": ("worse", {"base": QUICK, "fast": SLOW, "ends": (60.0, 60.0)}),
    "nothing yet": ("not shown", {"base": [], "fast": [], "planned": 5}),
    "half a pair": ("not shown", {"base": SLOW[:1], "fast": [], "planned": 5}),
    "unfinished": ("provisional", {"base": SLOW[:4], "fast": QUICK[:3], "planned": 5}),
    "all missed": ("not shown", {"base": [None] * 5, "fast": [None] * 5}),
    "base missed": ("proved", {"base": [*SLOW[:4], None], "fast": QUICK, "final": (0.901, 0.9)}),
    "fast missed": ("not shown", {"base": SLOW, "fast": [10.0, None, 9.0, 11.0, None]}),
    "one failed": ("not shown", {"base": SLOW, "fast": QUICK, "failed": [1]}),
    "all failed": ("not shown", {"base": SLOW, "fast": QUICK, "failed": range(5)}),
    "lower is better": (
        "proved",
        {
            "base": SLOW, "fast": QUICK, "final": (0.15, 0.153),
            "workload": {"better": "lower", "target": 0.2, "margin": 0.01},
        },
    ),
    "hit at once": ("proved", {"base": SLOW, "fast": [0.5] * 5}),
    "the same recipe": ("not shown", {"base": SLOW, "fast": SLOW[::-1], "recipes": (BASE, BASE)}),
    "no margin": ("proved", {"base": SLOW, "fast": QUICK, "workload": {"margin": 0.0}}),
    "counted energy": ("proved", {"base": SLOW, "fast": QUICK, "joules": 1234.5}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_proof_has_a_page(case: str, ledger: Ledger) -> None:
    verdict, made = CASES[case]
    proof = write_proof(ledger, **made)
    text = proof_page(proof)
    page = checked(text)
    hidden(text, str(proof.folder), str(ledger.root))
    assert proof.verdict == verdict
    assert MEANING[verdict] in page.text
    assert proof.words in page.text
    numbers_agree(proof, page)


def numbers_agree(proof: Proof, page: Page) -> None:
    for arm in (proof.base, proof.fast):
        assert f"{len(arm.hits)} of {len(arm.runs)}" in page.text
        assert str(arm.tuning) in page.text
        if arm.noise is not None:
            assert f"{arm.noise:.3f}" in page.text
        if arm.typical is not None:
            assert words.duration(arm.typical) in page.text
        for run in arm.runs:
            assert run.id in page.text
            assert words.exact(run.score) in page.text
            shown = f"{words.exact(run.hit[0])} to {words.exact(run.hit[1])}" if run.hit else "missed, more than"
            assert shown in page.text
    if proof.ratio and proof.ratio.n > 1 and proof.base.hits and len(proof.fast.hits) == len(proof.fast.runs):
        assert f"{proof.ratio.estimate:.2f}×" in page.text
        assert f"{proof.ratio.low:.2f}×" in page.text


def test_no_ratio_is_claimed_that_misses_leave_open(ledger: Ledger) -> None:
    for made in (CASES["all missed"], CASES["all failed"]):
        page = Page(proof_page(write_proof(ledger, **made[1])))
        assert "no ratio: the fast recipe never met the target" in page.text
    one = Page(proof_page(write_proof(ledger, **CASES["one failed"][1])))
    assert "no ratio: a fast run failed" in one.text
    assert "times sooner: at most" not in one.text
    assert "at most 3." not in one.text
    both = write_proof(ledger, [20.0, None, 21.0], [10.0, 11.0, None])
    assert "no ratio: both recipes miss the target on some seeds" in Page(proof_page(both)).text


def test_misses_are_open_markers_and_stay_in_the_tables(ledger: Ledger) -> None:
    text = proof_page(write_proof(ledger, **CASES["base missed"][1]))
    assert text.count("base open") == 2, "one miss, drawn wide and narrow"
    assert "missed, more than 60.00" in text
    assert "at least" in Page(text).text
    assert "1 base run missed the target" in Page(text).text


def test_tuning_is_told_as_it_is(ledger: Ledger) -> None:
    plain = Page(proof_page(write_proof(ledger, SLOW, QUICK))).text
    assert "against a base that is not known to be well tuned" in plain
    assert "the ledger knows 0 learning rates" in plain
    tuned(ledger)
    page = Page(proof_page(write_proof(ledger, SLOW, QUICK)))
    assert "tuned: 0.1 is the best of 0.025, 0.05, 0.1, 0.2, 0.4" in page.text
    assert "used here, best of these" in page.text
    assert "not known to be well tuned" not in page.text


def test_it_can_be_done_again_from_the_page(ledger: Ledger) -> None:
    proof = write_proof(ledger, SLOW, QUICK)
    page = Page(proof_page(proof))
    line = "halftime prove made-up --base base.json --fast fast.json --seeds 5 --device cpu"
    assert line in page.text
    assert f"git checkout {FINGERPRINT['code']['commit']}" in page.text
    found = [Recipe.from_json(text) for text in page.words if text.startswith('{\n  "halftime"')]
    assert found == [BASE, FAST]
    assert "ht.prove(workload" in Page(proof_page(write_proof(ledger, SLOW, QUICK, workload={"source": ""}))).text


def test_what_the_command_line_cannot_say_is_said_in_python(ledger: Ledger) -> None:
    """A search proves on seeds of its own, by a design of its own."""
    proof = dataclasses.replace(write_proof(ledger, SLOW, QUICK), seeds=tuple(range(50_000, 50_005)))
    text = Page(proof_page(proof)).text
    assert "halftime prove made-up" not in text
    assert "first=50000" in text
    strict = Design(effect=2.0, alpha=0.0125, most=5)
    text = Page(proof_page(dataclasses.replace(write_proof(ledger, SLOW, QUICK), design=strict))).text
    assert f"sequential={strict}" in text
    usual = dataclasses.replace(write_proof(ledger, SLOW, QUICK), design=Design(most=9))
    assert "--sequential --most 9" in Page(proof_page(usual)).text


PAYLOADS = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</svg></style></title><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% for x in y %}",
    "&lt;script&gt; <!-- ]]>",
    "a\x00b\u202ec\ud800d",
    "$(touch x); `id` && rm -rf .",
]  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_comes_from_outside_stays_text(payload: str, ledger: Ledger) -> None:
    method = {re.sub(r"\W", "", payload) or "X": {"note": payload}}
    stranger = {"halftime": 1, "epochs": 1.0, "batch_size": 8, "methods": method}
    about = {
        "workload": {"name": payload, "source": payload, "data": payload},
        "fingerprint": {
            "code": {"commit": payload, "dirty": payload},
            "packages": {payload: payload, "torch": payload},
            "machine": {"cpu": payload, "system": payload, "hostname": HOST},
        },
        "events": [payload],
        "reason": payload,
        "device": payload,
    }
    proof = write_proof(ledger, SLOW, QUICK, failed=[2], recipes=(BASE, stranger), **about)
    text = proof_page(proof)
    page = checked(text)
    assert words.clean(payload) in "".join(page.words)
    checked(runs_page(load_all(ledger)))
    assert not [a for _, a in page.tags if any("alert" in k for k in a)]


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=80).filter(lambda name: not re.search(r"\bnan\b|\bNone\b|Markup", name)))
def test_any_name_makes_a_good_page(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("any"))
    write_run(ledger, BASE, 0, curve(5.0, 9.0, 0.93), workload={**WORKLOAD, "name": name}, events=[name])
    checked(runs_page(load_all(ledger)))


def test_hosts_users_and_paths_are_left_out(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ada-lovelace")
    events = [
        f"lost {HOST}.cluster, 10.1.2.3 and {HOST}",
        "by ada-lovelace",
        "see C:\\Users\\ada\\x.log",
        "~/notes and ~ada/notes",
    ]
    run = {"reason": "no space on /home/ada/.cache/run/weights.bin (file:///srv/ada/x)", "events": events}
    proof = write_proof(ledger, SLOW, QUICK, failed=[0], workload={"source": "/home/ada/task.py:make"}, **run)
    text = proof_page(proof) + runs_page(load_all(ledger))
    hidden(text, "/home", "/srv", "Users", "~ada", "~/", str(ledger.root), "ada-lovelace", ".cache", "10.1.2.3")
    assert not re.search(r"\bada\b", text)
    assert "halftime prove task.py:make --base" in text
    assert "weights.bin" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/etc/passwd", "…"), ("at /a/b/c.py:12", "at …/c.py:12"), ("(/tmp/x)", "(…)"),
        ("'/home/ada/my.txt'", "'…/my.txt'"),
        (r"D:\data\set.npz gone", "…/set.npz gone"), (r"\\server\share\x.txt", "…/x.txt"), ("=/x/y", "=…"),
        ("steps/s and 1/2, and/or", "steps/s and 1/2, and/or"), ("p1/base", "p1/base"), ("a / b", "a / b"),
        ("examples/task.py:make", "examples/task.py:make"), ("12:30", "12:30"), ("file:///srv/a.txt", "…/a.txt"),
        ("at tcp://node.corp:29500 now", "at …:29500 now"), (r"\\server.corp", "…"), ("s3://bucket/key", "…"),
        ("GPU-hours", "GPU-hours"),
    ],
)  # fmt: skip
def test_paths_lose_their_folders_and_other_words_stay(text: str, shown: str) -> None:
    assert words.clean(text) == shown


def test_caveats_come_from_the_records(ledger: Ledger) -> None:
    dirty = {**FINGERPRINT, "code": {"commit": "a" * 40, "dirty": "123456789abc"}}
    proof = write_proof(ledger, [20.0, 21.0], [2.0, 2.1], planned=5, fingerprint=dirty)
    attempt = next(proof.base.runs[0].folder.glob("attempt-*"))
    attempt.write_text(attempt.read_text().replace('"score":0.9', '"score":0.8', 1))
    text = Page(proof_page(Proof.load(proof.folder, ledger))).text
    assert "2 of 5 planned seeds are done by both recipes" in text
    assert "had changes that were not committed" in text
    assert "The records of 1 run were changed or damaged" in text
    assert "met the target by its first evaluation" in text


def test_recipes_are_told_apart_in_the_title() -> None:
    assert contrast(BASE, FAST) == ("SGD", "AdamW + OneCycle")
    assert contrast(BASE, BASE.replace(epochs=3)) == ("20 epochs, batch 64", "3 epochs, batch 64")
    assert contrast(Recipe(epochs=1), FAST)[0] == "the bare loop"
    assert contrast(FAST.minus("OneCycle"), FAST) == ("the same without", "OneCycle")


def test_runs_of_any_kind_have_a_page(ledger: Ledger) -> None:
    assert "No runs" in checked(runs_page([])).text
    write_run(ledger, BASE, 0, curve(20.0, 60.0, 0.93))
    write_run(ledger, BASE, 1, [], state="failed", reason="the loss is not a number")
    write_run(ledger, FAST, 0, [(1.0, 0.3)], end=False)
    write_run(ledger, FAST, 2, curve(None, 9.0, 0.5), workload={**WORKLOAD, "name": "other", "target": None})
    for rate in range(1, 10):
        write_run(
            ledger, {**FAST.to_dict(), "methods": {"Unknown": {"rate": rate, "path": "/a/b"}}}, 0, curve(3, 9, 0.91)
        )
    runs = load_all(ledger)
    text = runs_page(runs)
    page = checked(text)
    hidden(text, str(ledger.root), "/a/b")
    assert "13 runs of" in page.text
    assert "These are records, not a proof" in page.text
    for run in runs:
        assert run.id in page.text
    assert "the loss is not a number" in page.text
    assert "more recipes" in page.text


@pytest.mark.parametrize(
    "file", ["page.css", "page.html.jinja", "proof.html.jinja", "runs.html.jinja", "parts.html.jinja"]
)
def test_templates_lie_beside_the_code_and_trust_nothing(file: str) -> None:
    import halftime.report

    text = (Path(halftime.report.__file__).parent / file).read_text()
    assert "| safe" not in text
    assert "autoescape false" not in text


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_words_stand_out_from_the_paper_in_light_and_dark() -> None:
    import halftime.report

    style = (Path(halftime.report.__file__).parent / "page.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        inks = [n for n in colours if n not in ("paper", "raised", "rule", "grid", "band")]
        assert len(inks) >= 10
        for ink in inks:
            for ground in ("paper", "raised"):
                light, dark = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
