"""Where data sets are looked for: the folder HALFTIME_DATA, then the user's cache, then a download with a checksum."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from pathlib import Path
from typing import Any

import platformdirs

from halftime.errors import BadData, unknown

TIMEOUT = (10, 60)  # seconds to connect, seconds of silence: a machine without a network must fail fast


@dataclasses.dataclass(frozen=True)
class Remote:
    """A file on the web and the checksum that it must have, such as "md5:8d4f..."."""

    url: str
    checksum: str

    @property
    def name(self) -> str:
        """The file's name, here and there."""
        return self.url.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set's files.

    Args:
        remotes: what is downloaded; also taken from a folder.
        parts: a pattern for each group of files that may stand in a folder instead.
        advice: how to come by what cannot be downloaded.
    """

    remotes: tuple[Remote, ...]
    parts: tuple[str, ...] = ()
    advice: str = ""


_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

SOURCES = {
    "fashion_mnist": Source(
        (
            Remote(f"{_FASHION}train-images-idx3-ubyte.gz", "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            Remote(f"{_FASHION}train-labels-idx1-ubyte.gz", "md5:25c81989df183df01b3e8a0aad5dffbe"),
            Remote(f"{_FASHION}t10k-images-idx3-ubyte.gz", "md5:bef4ecab320f06d8554ea6380940ec79"),
            Remote(f"{_FASHION}t10k-labels-idx1-ubyte.gz", "md5:bb300cfdad3c16e7a12a480ee83cd310"),
        )
    ),
    "cifar10": Source(  # the binary form: the other one is a pickle, which may run anything when it is read
        (
            Remote(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        parts=("train-*.parquet", "test-*.parquet"),
    ),
    "bccd": Source(  # some 700 files in the form of Pascal VOC
        (),
        parts=("ImageSets/Main/train.txt", "ImageSets/Main/val.txt"),
        advice="git clone https://github.com/Shenggan/BCCD_Dataset, call its folder BCCD bccd",
    ),
    "tinyshakespeare": Source(
        (
            Remote(
                "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
                "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            ),
        )
    ),
}


def cache() -> Path:
    """The user's cache folder; it need not exist."""
    return Path(platformdirs.user_cache_dir("halftime"))


def files(name: str) -> list[list[Path]]:
    """The files of a data set, downloaded if they are nowhere here.

    Args:
        name: one of `SOURCES`.

    Returns:
        A list of files for each of the source's `parts` if those were found, or else for each of its `remotes`.

    Raises:
        UnknownName: no such data set.
        BadData: the data is nowhere and cannot be downloaded; says where it was looked for and what to do.
    """
    if name not in SOURCES:
        raise unknown("data set", name, SOURCES)
    source, folders = SOURCES[name], [cache() / name]
    if given := os.environ.get("HALFTIME_DATA"):
        if not Path(given).is_dir():
            raise BadData(f"HALFTIME_DATA names {given}, which is not a folder: set it to the one that holds {name}/")
        folders.insert(0, Path(given) / name)
    for folder in folders:
        if found := within(folder, source):
            return found
    if not source.remotes:
        looked = " or ".join(map(str, folders))
        raise BadData(f"{name} is not in {looked}: {source.advice}, and let HALFTIME_DATA name the folder above it")
    return [[_downloaded(remote, name, source, folders)] for remote in source.remotes]


def within(folder: Path, source: Source) -> list[list[Path]]:
    """A source's files in a folder, or nothing if any is missing."""
    whole = [[folder / remote.name] for remote in source.remotes]
    parts = [sorted(folder.glob(pattern)) for pattern in source.parts]
    for form in (whole, parts):
        if form and all(paths and all(p.is_file() for p in paths) for paths in form):
            return form
    return []


def _downloaded(remote: Remote, name: str, source: Source, folders: list[Path]) -> Path:
    """Fetch one file into the cache; a bar is drawn if a person is watching."""
    import pooch  # late: most runs find their data
    import requests

    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    loader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())
    try:
        return Path(_retrieved(remote, cache() / name, loader))
    except (OSError, ValueError) as error:  # those of requests are OSErrors; a wrong checksum is a ValueError
        why = "no connection" if isinstance(error, requests.ConnectionError) else " ".join(str(error).split())[:160]
        looked = " or ".join(str(folder) for folder in folders)
        needed = ", ".join(other.name for other in source.remotes)
        raise BadData(
            f"{name} is not in {looked}, and {remote.url} cannot be downloaded ({why}): connect to the internet, "
            f"or put {needed} into a folder {name}/ and let HALFTIME_DATA name the folder above it"
        ) from None
    finally:
        logger.setLevel(before)


def _retrieved(remote: Remote, folder: Path, loader: Any) -> str:
    import pooch

    folder.mkdir(parents=True, exist_ok=True)
    found: str = pooch.retrieve(remote.url, remote.checksum, fname=remote.name, path=folder, downloader=loader)
    return found
