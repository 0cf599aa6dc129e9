import json

import pytest

from bench import readme, tables

MACHINE = {"cpu": "a processor", "cores": 2, "threads": 1}


def figure(**changes):
    return tables.sample("speed", "How fast?", "at most 3", "us", [1.0, 2.0, 3.0]) | changes


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "FIRST", (("speed", "speed"),))
    (tmp_path / "results").mkdir()
    marks = "<!-- first figures -->\n<!-- /first figures -->\n<!-- figures -->\nold\n<!-- /figures -->"
    (tmp_path / "README.md").write_text(f"before\n{marks}\nafter\n")
    content = {"date": "2026-01-02", "machine": MACHINE, "figures": [figure()]}
    (tmp_path / "results" / "speed.json").write_text(json.dumps(content))
    return tmp_path


def run(place, *more):
    return readme.main([f"--readme={place / 'README.md'}", f"--results={place / 'results'}", *more])


def test_the_figures_stand_between_the_markers(place):
    assert run(place) == 0
    text = (place / "README.md").read_text()
    assert "| How fast? | at most 3 | 2 us (quartiles 1.5 to 2.5) | 3 |" in text.splitlines()[4:5]  # for the first look
    assert text.count("| How fast? |") == 2
    assert "<b>speed</b>: 1 figures, 2026-01-02, a processor, 2 cores, torch on 1" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text


def test_a_stale_table_is_found_and_left_alone(place, capsys):
    before = (place / "README.md").read_text()
    assert run(place, "--check") == 1
    assert (place / "README.md").read_text() == before
    assert "stale" in capsys.readouterr().err
    run(place)
    assert run(place, "--check") == 0


def test_a_readme_without_markers_is_refused(place):
    (place / "README.md").write_text("nothing")
    with pytest.raises(SystemExit, match="the README needs one <!-- first figures -->"):
        run(place)


def test_a_figure_for_the_first_look_that_is_missing_is_refused(place, monkeypatch):
    monkeypatch.setattr(readme, "FIRST", (("speed", "other"),))
    with pytest.raises(SystemExit, match="is missing"):
        run(place)


def test_a_figure_without_its_n_is_refused(place):
    content = {"date": "2026-01-02", "machine": MACHINE, "figures": [{"name": "speed"}]}
    (place / "results" / "speed.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="lacks question, predicted, unit, n"):
        run(place)


def test_counts_come_with_the_interval_of_their_rate():
    none = tables.count("kills", "?", "0", "lost", 0, 200)
    assert none["spread"][1] == pytest.approx(1 - 0.05 ** (1 / 200))  # the rule of three, exactly
    some = tables.count("kills", "?", "0", "lost", 3, 30)
    assert some["spread"][0] < 0.1 < some["spread"][1]
    assert tables.measured(some) == "3 of 30 lost (95 %: rate 2.1 % to 26.5 %)"
    assert tables.count("kills", "?", "0", "lost", 30, 30)["spread"][1] == 1.0


def test_a_table_is_aligned():
    assert tables.text([{"a": "x", "b": 1.5}, {"a": "yy"}]) == "a     b\n--  ---\nx   1.5\nyy"
