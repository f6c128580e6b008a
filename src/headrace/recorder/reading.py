"""Reads a prediction log as somebody who only watches: no lock is taken and nothing is waited for but news."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from io import BufferedReader
from itertools import chain
from pathlib import Path

import msgspec

from headrace.recorder.entries import Entry
from headrace.recorder.files import closed_files, current_file

_POLL_S = 0.2

_decoder = msgspec.json.Decoder(Entry)


def entries(directory: Path, name: str, *, since_s: float = 0.0) -> Iterator[Entry]:
    """All entries, oldest first. `since_s` (Unix time) leaves out files that were finished before it.

    Raises ImportError for a Parquet file where pyarrow is missing. What is no entry is passed over.
    """
    for path in [*_finished(directory, name), current_file(directory, name)]:
        try:
            if path.stat().st_mtime >= since_s:
                yield from _of_file(path)
        except FileNotFoundError:
            continue  # finished or forgotten meanwhile


def tail(directory: Path, name: str, most: int, *, follow: bool) -> Iterator[Entry]:
    """The last `most` entries, and then, with `follow`, each that comes, for ever, also from later files."""
    path = current_file(directory, name)
    file = _opened(path)
    known = {closed.stem for closed in _finished(directory, name)}
    try:
        last: deque[Entry] = deque(_decoded(file) if file is not None else (), maxlen=most)
        for closed in reversed(_finished(directory, name)):
            if len(last) >= most:
                break
            last = deque(chain(deque(_of_file(closed), maxlen=most - len(last)), last), maxlen=most)
        yield from last
        while follow:
            if file is not None:
                yield from _decoded(file)
            if file is None or _replaced(path, file):
                if file is not None:
                    yield from _decoded(file)  # what came between the last look and the new file
                    file.close()
                file = _opened(path)
                finished = [closed for closed in _finished(directory, name) if closed.stem not in known]
                for closed in finished[1:]:  # the first is the one that was followed
                    yield from _of_file(closed)
                known |= {closed.stem for closed in finished}
            if file is None or not _grew(file):
                time.sleep(_POLL_S)
    finally:
        if file is not None:
            file.close()


def _of_file(path: Path) -> Iterator[Entry]:
    if path.suffix == ".parquet":
        from headrace.recorder.parquet import read  # noqa: PLC0415 - an optional package

        yield from read(path)
        return
    file = _opened(path)
    if file is not None:
        with file:
            yield from _decoded(file)
    elif (converted := path.with_suffix(".parquet")).exists():  # since it was listed
        yield from _of_file(converted)


def _finished(directory: Path, name: str) -> list[Path]:
    """The finished files; one that is being converted is there twice for a moment, and counts once."""
    return list({path.stem: path for path in closed_files(directory, name)}.values())


def _decoded(file: BufferedReader) -> Iterator[Entry]:
    """The whole lines from where `file` stands; what is not whole yet is read again later."""
    while True:
        at = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(at)
            return
        try:
            yield _decoder.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue


def _opened(path: Path) -> BufferedReader | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _replaced(path: Path, file: BufferedReader) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return True


def _grew(file: BufferedReader) -> bool:
    return os.fstat(file.fileno()).st_size > file.tell()
