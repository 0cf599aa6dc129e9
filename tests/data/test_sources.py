"""Where data is looked for, in which order, and the one line when it is nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pooch
import pytest
import requests

from halftime.data import sources
from halftime.errors import BadData, UnknownName


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "cache", lambda: tmp_path / "cache")
    monkeypatch.delenv("HALFTIME_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def given(tmp_path, monkeypatch, cache):
    folder = tmp_path / "given"
    folder.mkdir()
    monkeypatch.setenv("HALFTIME_DATA", str(folder))
    return folder


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise requests.ConnectionError("no route\nto host")

    monkeypatch.setattr(requests, "get", refuse)


def filled(folder: Path, *names: str) -> list[list[Path]]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)
    return [[folder / name] for name in names]


def names(name: str) -> list[str]:
    return [remote.name for remote in sources.SOURCES[name].remotes]


def test_the_users_folder_comes_first_then_the_cache(given, cache, offline):
    kept = filled(cache / "tinyshakespeare", "input.txt")
    assert sources.files("tinyshakespeare") == kept
    own = filled(given / "tinyshakespeare", "input.txt")
    assert sources.files("tinyshakespeare") == own


def test_parts_are_found_in_order_by_their_pattern(given):
    filled(given / "cifar10", *(f"train-0000{i}-of-00003.parquet" for i in (2, 0, 1)), "test-0-of-1.parquet", "x.txt")
    train, test = sources.files("cifar10")
    assert [p.name[:11] for p in train] == ["train-00000", "train-00001", "train-00002"]
    assert [p.name for p in test] == ["test-0-of-1.parquet"]


def test_a_folder_with_a_file_missing_does_not_count(given, cache, offline):
    filled(given / "fashion_mnist", *names("fashion_mnist")[:3])
    kept = filled(cache / "fashion_mnist", *names("fashion_mnist"))
    assert sources.files("fashion_mnist") == kept


@pytest.mark.parametrize("name", sorted(sources.SOURCES))
def test_offline_and_absent_is_one_line_that_helps(name, given, cache, offline):
    with pytest.raises(BadData) as caught:
        sources.files(name)
    line = str(caught.value)
    assert "\n" not in line
    advice = ("no connection", names(name)[0]) if names(name) else (sources.SOURCES[name].advice,)
    for word in (str(given / name), str(cache / name), "HALFTIME_DATA", *advice):
        assert word in line


def test_a_file_that_arrives_damaged_is_refused(cache, monkeypatch):
    def fetch(url, output_file, _, **__):
        Path(output_file).write_text("an error page")

    monkeypatch.setattr(pooch, "HTTPDownloader", lambda **_: fetch)
    with pytest.raises(BadData, match="hash") as caught:
        sources.files("tinyshakespeare")
    assert "\n" not in str(caught.value)
    assert not [p for p in cache.rglob("*") if p.is_file()]


def test_what_is_downloaded_is_kept(cache, monkeypatch):
    text, asked = b"to be", []
    import hashlib

    remote = sources.Remote("https://example.org/input.txt", f"sha256:{hashlib.sha256(text).hexdigest()}")
    monkeypatch.setitem(sources.SOURCES, "tinyshakespeare", sources.Source((remote,)))

    def loader(**how):
        assert how["timeout"] == sources.TIMEOUT

        def fetch(url, output_file, _, **__):
            asked.append(url)
            Path(output_file).write_bytes(text)

        return fetch

    monkeypatch.setattr(pooch, "HTTPDownloader", loader)
    for _ in range(2):
        ((path,),) = sources.files("tinyshakespeare")
        assert path.read_bytes() == text
    assert asked == [remote.url]


def test_an_unwritable_cache_is_one_line(tmp_path, monkeypatch, cache):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sources, "cache", lambda: tmp_path / "file")
    with pytest.raises(BadData, match="HALFTIME_DATA"):
        sources.files("tinyshakespeare")


def test_a_wrong_variable_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("HALFTIME_DATA", str(tmp_path / "absent"))
    with pytest.raises(BadData, match="not a folder"):
        sources.files("cifar10")


def test_an_unknown_data_set_points_to_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'cifar10'"):
        sources.files("cifar")


def test_every_remote_has_a_whole_checksum():
    remotes = [remote for source in sources.SOURCES.values() for remote in source.remotes]
    assert len(remotes) == 6
    for remote in remotes:
        assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", remote.checksum), remote.url
