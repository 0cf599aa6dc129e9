"""Show whether one recipe reaches the target sooner than another, at the same quality."""

from __future__ import annotations

import argparse

from halftime.cli import arguments as read


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "workload", metavar="WORKLOAD", help="a built-in name, or a Python file that defines `workload`"
    )
    parser.add_argument(
        "--base", required=True, metavar="RECIPE", help="the recipe to beat: JSON or Python file, or a name"
    )
    parser.add_argument("--fast", required=True, metavar="RECIPE", help="the recipe that is thought to be faster")
    parser.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="5 or more can prove, 3 give a provisional verdict"
    )
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is")
    parser.add_argument("--json", action="store_true", help="the proof as one JSON document")
    parser.add_argument("--out", metavar="FILE.html", help="write the page about it here")


def run(given: argparse.Namespace) -> int:
    """Train both arms on every seed, then print the verdict."""
    from halftime.search.prove import prove

    read.check_out(given.out)
    workload, known, source = read.workload(given.workload)
    base, fast = read.recipe(given.base, known), read.recipe(given.fast, known)
    proof = prove(
        workload, base, fast, given.seeds, device=given.device, source=source, quiet=True if given.json else None
    )
    if given.out:
        from halftime.report.page import proof_page

        read.write_page(given.out, proof_page(proof))
    if given.json:
        read.print_json(proof.to_dict())
    else:
        print(f"{proof.words}\n  base: {base}: {proof.base.tuning}\n  fast: {fast}: {proof.fast.tuning}")
        print(
            f"  proof {proof.id}"
            + (f", page: {given.out}" if given.out else f"; see halftime report {proof.id} --out FILE.html")
        )
    return 0 if proof.verdict in ("proved", "provisional") else 1
