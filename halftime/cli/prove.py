"""Show whether one recipe reaches the target sooner than another, at the same quality."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from halftime.cli import arguments as read
from halftime.errors import BadValue

if TYPE_CHECKING:
    from halftime.measure.sequential import Design
    from halftime.recipe import Recipe
    from halftime.workload import Workload


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument(
        "workload", metavar="WORKLOAD", help="a built-in name, or a Python file that defines `workload`"
    )
    parser.add_argument(
        "--base", required=True, metavar="RECIPE", help="the recipe to beat: JSON or Python file, or a name"
    )
    parser.add_argument("--fast", required=True, metavar="RECIPE", help="the recipe that is thought to be faster")
    parser.add_argument("--seeds", type=int, metavar="N", help="5 or more can prove, 3 give a provisional verdict (5)")
    parser.add_argument(
        "--sequential", action="store_true", help="pair after pair until it is settled either way, in place of --seeds"
    )
    parser.add_argument(
        "--gain",
        type=float,
        metavar="PERCENT",
        help="the gain that --sequential is to find: so much less time; without it, one as large as the noise",
    )
    parser.add_argument(
        "--noise",
        type=float,
        metavar="SD",
        help="standard deviation of a pair's log ratio, for --gain; by default from `halftime noise`",
    )
    parser.add_argument("--most", type=int, metavar="N", help="pairs after which --sequential ends in any case")
    parser.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1 or mps; the fastest there is")
    parser.add_argument("--json", action="store_true", help="the proof as one JSON document")
    parser.add_argument("--out", metavar="FILE.html", help="write the page about it here")


def run(given: argparse.Namespace) -> int:
    """Train both arms seed by seed, then print the verdict."""
    from halftime.search.prove import prove

    _check(given)
    read.check_out(given.out)
    workload, known, source = read.workload(given.workload)
    base, fast = read.recipe(given.base, known), read.recipe(given.fast, known)
    proof = prove(
        workload,
        base,
        fast,
        5 if given.seeds is None else given.seeds,
        sequential=_design(given, workload, base),
        device=given.device,
        source=source,
        quiet=True if given.json else None,
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


def _check(given: argparse.Namespace) -> None:
    """Refuse arguments that do not go together."""
    if given.sequential and given.seeds is not None:
        raise BadValue("--sequential decides itself how many seeds it needs: give --most in place of --seeds")
    for name in ("gain", "noise", "most"):
        if getattr(given, name) is not None and not given.sequential:
            raise BadValue(f"--{name} belongs to --sequential: add that, too")
    if given.most is not None and given.most < 3:
        raise BadValue(f"--most must be 3 or more, 5 to prove, not {given.most}")
    if given.noise is not None and given.gain is None:
        raise BadValue("--noise says how large a gain is in noise: give --gain, too")
    if given.noise is not None and not 0 < given.noise < 100:
        raise BadValue(f"--noise must be more than 0, not {given.noise:g}")


def _design(given: argparse.Namespace, workload: Workload, base: Recipe) -> Design | None:
    """What a sequential proof is to find, from the arguments and the pilot in the ledger."""
    if not given.sequential:
        return None
    from halftime.ledger.store import Ledger
    from halftime.measure.sequential import Design, design
    from halftime.search.pilot import known_noise

    most = 0 if given.most is None else given.most  # 0: the design finds it
    if given.gain is None:
        return Design(most=most)
    noise = given.noise or known_noise(workload, base, Ledger(), given.device).pair
    return design(given.gain, noise, most)
