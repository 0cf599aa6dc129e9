"""Frozen surfaces: growing one is a decision written in docs/decisions/."""

from __future__ import annotations

import argparse
import dataclasses
import importlib

import halftime
from halftime.cli import VERBS, Parser
from halftime.methods import ALL
from halftime.places import PLACES
from halftime.recipe import Recipe
from halftime.workload import Workload


def test_exported_names() -> None:
    assert sorted(halftime.__all__) == [
        "HalftimeError",
        "InputError",
        "Keeper",
        "Ledger",
        "Method",
        "Places",
        "Plan",
        "Proof",
        "Recipe",
        "Run",
        "Stopped",
        "StorageError",
        "Workload",
        "accuracy",
        "prove",
        "setting",
        "train",
        "watch",
    ]
    assert sorted(halftime._MENU) == sorted(halftime.__all__)
    for name in halftime.__all__:
        assert getattr(halftime, name).__doc__


def test_places_in_the_order_in_which_a_run_reaches_them() -> None:
    assert PLACES == (
        "data",
        "model",
        "init",
        "loss",
        "optimizer",
        "lr_factor",
        "batch",
        "forward",
        "update",
        "attempt",
        "after_step",
        "evaluating",
        "evaluated",
        "events",
    )


def test_fields() -> None:
    assert [f.name for f in dataclasses.fields(Recipe)] == [
        "methods",
        "epochs",
        "steps",
        "minutes",
        "batch_size",
        "micro_batch",
    ]
    assert [f.name for f in dataclasses.fields(Workload)] == [
        "name",
        "model",
        "train",
        "valid",
        "loss",
        "score",
        "target",
        "better",
        "margin",
        "evaluations",
    ]


def test_methods() -> None:
    assert [m.__name__ for m in ALL] == [
        "AdamW",
        "AlternatingFlip",
        "AnyOptimizer",
        "ChannelsLast",
        "ClipGradients",
        "Compile",
        "ConflictMeter",
        "Cosine",
        "CutMix",
        "Cutout",
        "DropOnStall",
        "DropStochastic",
        "EasyFirst",
        "EasyTasksFirst",
        "EMA",
        "FastLoader",
        "Float8",
        "FocalPrior",
        "FreezeEarly",
        "FusedOptimizer",
        "GradientSurgery",
        "Guard",
        "HardExamples",
        "Kaiming",
        "LabelSmoothing",
        "LayerRates",
        "Lookahead",
        "MixedPrecision",
        "MixUp",
        "MultiDevice",
        "Muon",
        "OnDevice",
        "OneCycle",
        "Packed",
        "ProgressiveResize",
        "RepeatFactor",
        "ScheduleFree",
        "SequenceGrowth",
        "SGD",
        "SoftPrune",
        "StepDrop",
        "SubsetPretrain",
        "TaskWeights",
        "TestTimeFlip",
        "UsefulData",
        "WarmStart",
        "WarmupStableDecay",
        "Whitening",
        "ZeroResidual",
    ]


COMMANDS = {
    "demo": [],
    "workloads": ["--json"],
    "methods": ["--json"],
    "evidence": ["method", "--workload", "--seeds", "--minutes", "--device", "--out", "--json"],
    "train": ["workload", "--with", "--recipe", "--epochs", "--steps", "--minutes", "--batch-size", "--seed",
              "--target", "--device", "--resume", "--json"],
    "tune": ["workload", "--recipe", "--weight-decay", "--batch-size", "--device", "--processes", "--json", "--out"],
    "diagnose": ["workload", "--recipe", "--steps", "--loader-workers", "--device", "--json"],
    "search": ["workload", "--base", "--hours", "--minutes", "--methods", "--resume", "--price", "--device",
               "--workers", "--on", "--json", "--out"],
    "noise": ["workload", "--recipe", "--seeds", "--gain", "--power", "--price", "--device", "--json"],
    "prove": ["workload", "--base", "--fast", "--seeds", "--sequential", "--gain", "--noise", "--most", "--device",
              "--json", "--out"],
    "ablate": ["workload", "--recipe", "--base", "--seeds", "--orders", "--stretch", "--device", "--json",
               "--csv", "--out"],
    "export": ["workload", "--recipe", "--run", "--seed", "--device", "--out", "--force"],
    "runs": ["--json"],
    "show": ["run", "--json"],
    "report": ["records", "--out", "--receipt", "--price", "--bullets", "--json"],
    "ledger": ["what", "receipt", "--json"],
    "data": ["what", "source", "folder", "--sizes", "--classes", "--score", "--epochs", "--device", "--out", "--json"],
}  # fmt: skip


def test_commands_and_their_arguments() -> None:
    assert list(COMMANDS) == list(VERBS)
    for verb, expected in COMMANDS.items():
        parser = Parser(prog=verb)
        importlib.import_module(f"halftime.cli.{verb}").arguments(parser)
        actions = [a for a in parser._actions if not isinstance(a, argparse._HelpAction)]
        assert [a.option_strings[0] if a.option_strings else a.dest for a in actions] == expected
        assert all(a.help for a in actions)
