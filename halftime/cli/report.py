"""Write a page about a proof, an ablation or runs; a speed receipt; or bullets whose numbers are bound to runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halftime.cli import arguments as read
from halftime.errors import BadValue, UnknownName

if TYPE_CHECKING:
    from halftime.ledger.store import Ledger
    from halftime.measure.ablation import Ablation
    from halftime.measure.proof import Proof


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "records", nargs="*", metavar="PROOF|ABLATION|RUN", help="ids, or the unique starts of them; the newest proof"
    )
    parser.add_argument("--out", metavar="FILE.html", help="where to write the page")
    parser.add_argument("--receipt", metavar="DIR", help="write receipt.json and receipt.html of a proof there")
    parser.add_argument(
        "--price", type=float, metavar="PER_HOUR", help="money for an hour of the device, for the receipt"
    )
    parser.add_argument(
        "--bullets", action="store_true", help="three to five bullets for a report or CV, and what an expert would ask"
    )
    parser.add_argument("--json", action="store_true", help="what is shown, as one JSON document on stdout")


def run(given: argparse.Namespace) -> int:
    """Render what was asked for."""
    from halftime.ledger.store import Ledger

    if not (given.out or given.receipt or given.bullets):
        raise BadValue("say what to write: --out FILE.html, --receipt DIR or --bullets")
    if given.price is not None and not (given.receipt or given.bullets):
        raise BadValue("--price belongs to a receipt: add --receipt DIR or --bullets")
    if given.receipt and Path(given.receipt).exists() and not Path(given.receipt).is_dir():
        raise BadValue(f"--receipt {given.receipt}: that is a file, give a folder")
    read.check_out(given.out)
    ledger = Ledger()
    folders = [ledger.find(name) for name in given.records] or [_newest(ledger)]
    kinds = {folder.parent.name for folder in folders}
    if kinds == {"proofs"} and len(folders) == 1:
        return _proof(given, folders[0], ledger)
    if given.receipt or given.bullets:
        raise BadValue("a receipt and bullets are about one proof: give its id")
    if kinds == {"ablations"} and len(folders) == 1:
        return _ablation(given, folders[0], ledger)
    if kinds != {"runs"}:
        raise BadValue("a page is about one proof, about one ablation, or about runs: give one proof")
    from halftime.report.page import runs_page

    runs = [ledger.run(folder.name) for folder in folders]
    read.write_page(given.out, runs_page(runs))
    read.print_json([one.to_dict() for one in runs]) if given.json else print(f"wrote {given.out}")
    return 0


def _newest(ledger: Ledger) -> Path:
    """The newest proof."""
    if not ledger.proofs:
        raise UnknownName(f"there is no proof yet in {ledger.root}: `halftime prove` makes one")
    return ledger.proofs[-1]


def _proof(given: argparse.Namespace, folder: Path, ledger: Ledger) -> int:
    """The page, the receipt and the bullets of a proof, whichever were asked for."""
    from halftime.measure.ablation import ablation_of
    from halftime.measure.proof import Proof
    from halftime.report.page import proof_page

    proof = Proof.load(folder, ledger)
    ablation = ablation_of(proof.fast.recipe, proof.workload, ledger, proof.device, proof.fingerprint)
    content: dict[str, Any] = {}
    said = _receipt(given, proof, ledger, ablation, content) if given.receipt or given.bullets else []
    if given.out:
        read.write_page(given.out, proof_page(proof, ablation))
        content = {**proof.to_dict(), **content}
        said.append(f"wrote {given.out}")
    read.print_json(content) if given.json else print("\n".join(said))
    return 0


def _receipt(
    given: argparse.Namespace, proof: Proof, ledger: Ledger, ablation: Ablation | None, content: dict[str, Any]
) -> list[str]:
    """Make the receipt; what it says, in lines, and as JSON into `content`."""
    from halftime.measure.receipt import receipt
    from halftime.report import bullets, questions
    from halftime.report.receipt import write

    made = receipt(proof, ledger, given.price)
    said: list[str] = []
    if given.bullets:
        found, asked = bullets.bullets(made), questions.questions(made)
        lines, marks = bullets.footnotes(found)
        content |= {"proof": proof.id, "bullets": bullets.to_dict(found), "questions": [vars(one) for one in asked]}
        said += [f"- {line}" for line in lines]
        said += ["", *(f"[{mark}] {' '.join(runs)}" for mark, runs in marks.items())]
        said += ["", "What an expert would ask, about the weakest number first:"]
        said += [line for one in asked for line in (f"? {one.asks}", f"  {one.answer}")]
    if given.receipt:
        write(made, Path(given.receipt), ledger, ablation)
        content["receipt"] = made
        check = f"halftime ledger verify {given.receipt}"
        said.append(f"wrote receipt.json and receipt.html to {given.receipt}; check it with: {check}")
    return said


def _ablation(given: argparse.Namespace, folder: Path, ledger: Ledger) -> int:
    from halftime.measure.ablation import Ablation
    from halftime.report.page import ablation_page

    found = Ablation.load(folder, ledger)
    read.write_page(given.out, ablation_page(found))
    read.print_json(found.to_dict()) if given.json else print(f"wrote {given.out}")
    return 0
