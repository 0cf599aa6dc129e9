"""`--with` and recipe files: parsed, never evaluated, and fuzzed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from halftime.cli import arguments as read
from halftime.errors import BadData, BadRecipe, BadValue, BadWorkload, InputError, UnknownName
from halftime.methods import ALL, AdamW, StepDrop


def test_methods_as_written_in_python() -> None:
    assert read.method("AdamW(lr=0.003)") == AdamW(lr=0.003)
    assert read.method("  AdamW ") == AdamW()
    assert read.method("StepDrop(milestones=[0.3, 0.6], factor=0.5)") == StepDrop(milestones=(0.3, 0.6), factor=0.5)


def test_every_method_reads_back_as_it_prints() -> None:
    assert len(ALL) >= 12
    for method in ALL:
        assert read.method(str(method())) == method()


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("AdmaW()", UnknownName, "did you mean 'AdamW'?"),
        ("AdamW(rl=1)", UnknownName, "did you mean 'lr'?"),
        ("AdamW(0.1)", BadValue, "give arguments by name"),
        ("AdamW(**{'lr': 1})", BadValue, "give arguments by name"),
        ("AdamW(lr=__import__('os').getpid())", BadValue, "plain numbers"),
        ("AdamW(lr=1e-3", BadValue, "write it as in Python"),
        ("AdamW(lr=-1)", BadValue, "above 0, not -1"),
        ("AdamW(lr=1e999)", BadValue, "not inf"),
        ("AdamW(lr=1, lr=2)", BadValue, "given twice"),
        ("", BadValue, "write it as in Python"),
        ("a.b()", BadValue, "write it as in Python"),
        ("AdamW()()", BadValue, "write it as in Python"),
        ("\x00", BadValue, "write it as in Python"),
        ("(" * 500 + ")" * 500, BadValue, "write it as in Python"),
        ("AdamW(lr=" + "-" * 5000 + "1)", BadValue, "AdamW"),
        ("AdamW(lr=0x" + "f" * 5000 + ")", BadValue, "AdamW"),
    ],
)
def test_bad_methods_get_one_line(text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        read.method(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


fields = sorted({f.name for m in ALL for f in dataclasses.fields(m)})
pieces = st.one_of(
    st.sampled_from(
        [m.__name__ for m in ALL] + fields + list("()=,[]{}*.-'\"") + ["0.1", "1e999", "None", "True", "lambda: 0"]
    ),
    st.text(max_size=4),
)


@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(
    st.lists(pieces, max_size=10).map("".join),
    st.builds("{}({}={})".format, st.sampled_from([m.__name__ for m in ALL]), st.sampled_from(fields), pieces),
))  # fmt: skip
def test_any_text_is_a_method_or_one_line(text: str) -> None:
    try:
        found = read.method(text)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert read.method(str(found)) == found


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("EMA,LabelSmoothing(smoothing=0.1)", ["EMA", "LabelSmoothing(smoothing=0.1)"]),
        ("StepDrop(factor=0.2, milestones=(0.5,0.8)), EMA", ["StepDrop(factor=0.2, milestones=(0.5,0.8))", "EMA"]),
        ("StepDrop(milestones=[0.5, 0.8], factor=0.2)", ["StepDrop(milestones=[0.5, 0.8], factor=0.2)"]),
        ("EMA(decay=0.9", ["EMA(decay=0.9"]),
        ("EMA),SGD", ["EMA)", "SGD"]),
        ("", [""]),
    ],
)
def test_a_list_of_methods_is_split_between_them_and_not_within(text: str, parts: list[str]) -> None:
    assert read.several(text) == parts


def test_what_can_not_be_written_is_refused_before_the_work(own_folder: Path) -> None:
    (own_folder / "folder").mkdir()
    (own_folder / "file").write_text("")
    for fine in (None, "new", "file"):
        read.check_out(fine)
    for fine in (None, "new", "folder", "folder/new"):
        read.check_out(fine, folder=True)
    for path, folder, words in (
        ("folder", False, "--out folder: that is a folder: name a file"),
        ("file", True, "--out file: that is a file: name a folder"),
        ("none/new", False, "that folder does not exist"),
        ("none/new", True, "that folder does not exist"),
    ):
        with pytest.raises(BadValue, match=words):
            read.check_out(path, folder=folder)


def test_recipes_from_json_python_and_by_name(own_folder: Path) -> None:
    (own_folder / "a.json").write_text('{"methods": {"AdamW": {"lr": 0.1}}, "steps": 5}')
    (own_folder / "b.py").write_text(
        "import halftime as ht\nfrom halftime.methods import SGD\nrecipe = ht.Recipe([SGD()], epochs=2)\n"
    )
    (own_folder / "recipes").mkdir()
    (own_folder / "recipes" / "mine.py").write_text(
        "import halftime as ht\ndef recipe():\n    return ht.Recipe([], steps=3)\n"
    )
    assert read.recipe("a.json").steps == 5
    assert read.recipe("b.py").epochs == 2
    assert read.recipe("mine").steps == 3


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("gone.json", None, BadData, "there is no file gone.json"),
        ("gone", None, UnknownName, "there is no recipe 'gone'"),
        ("x.json", "{]", BadRecipe, "x.json: this is not JSON"),
        ("x.json", '{"methods": {"SGD": {}}, "steps": 1, "extra": 1}', UnknownName, "x.json: there is no field"),
        ("x.py", "def (", BadData, "x.py, line 1"),
        ("x.py", "recipe = 3", BadRecipe, "must define `recipe`"),
        ("x.json", b"\xff\xfe\x00", BadData, "cannot read x.json"),
    ],
)
def test_bad_recipe_files_get_one_line(
    own_folder: Path, name: str, content: str | bytes | None, error: type[Exception], words: str
) -> None:
    if content is not None:
        (own_folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(error) as caught:
        read.recipe(name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_workload_file_must_define_workload(own_folder: Path) -> None:
    (own_folder / "w.py").write_text("x = 1\n")
    with pytest.raises(BadWorkload, match="must define `workload`"):
        read.workload("w.py")
    with pytest.raises(BadData, match="there is no file"):
        read.workload("nowhere.py")
