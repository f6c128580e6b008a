"""The audit file: what a crash, a full disk and a second headrace do to it."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.core.admin.audit import Chain
from headrace.core.errors import ConfigError
from headrace.supervisor.audit import AuditFile
from headrace.telemetry.logs import make_log

FULL = """
import asyncio, io, resource, sys
from pathlib import Path
from headrace.supervisor.audit import AuditFile, NotAudited
from headrace.telemetry.logs import make_log

async def main():
    file = AuditFile(Path(sys.argv[1]), make_log(stream=io.StringIO()))
    file.open()
    await file.record("first", {})
    size = Path(sys.argv[1]).stat().st_size
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    for room in (0, 1, 40, 100):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, most))
        try:
            await file.record("second", {"long": "x" * 100})
        except NotAudited as error:
            assert "nothing was changed" in str(error) and file.trouble
        else:
            raise AssertionError("it was not written, and nobody was told")
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert await file.record("third", {}) == 2
    assert file.trouble is None
    file.close()

asyncio.run(main())
"""


def opened(path: Path) -> AuditFile:
    file = AuditFile(path, make_log(stream=io.StringIO()))
    file.open()
    return file


def write(path: Path, *names: str) -> None:
    file = opened(path)
    for name in names:
        file.note(name, {"who": "somebody"})
    file.close()


def names(path: Path) -> list[str]:
    """What its entries are, after the whole chain was checked."""
    chain = Chain()
    found = [chain.follow(line) for line in path.read_bytes().splitlines()]
    chain.end()
    return [entry["what"] for entry in found if entry is not None]


def test_entries_are_appended_in_order_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "audit.jsonl"
    write(path)
    write(path, *map(str, range(50)))
    write(path, "last")
    assert names(path) == ["stopped", *map(str, range(50)), "stopped", "last", "stopped"]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cut", [1, 2, 30, 150])
def test_a_crash_in_the_middle_of_a_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, "one", "two")
    path.write_bytes(path.read_bytes()[:-cut])
    write(path, "three", "four")
    # Without its end of line an entry is whole; what comes after goes on a line of its own.
    begins = ["one", "two", "stopped"] if cut == 1 else ["one", "two", "continued"]
    assert names(path) == [*begins, "three", "four", "stopped"]


def test_a_crash_in_the_very_first_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"number":1,"wh')
    write(path, "one")
    assert names(path) == ["continued", "one", "stopped"]


def test_a_full_disk_is_told_and_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert names(path) == ["first", "third", "stopped"]


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    first = opened(tmp_path / "audit.jsonl")
    with pytest.raises(ConfigError, match="another headrace's"):
        opened(tmp_path / "audit.jsonl")
    first.close()
    opened(tmp_path / "audit.jsonl").close()


def test_what_is_no_audit_file_is_not_written_into(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, "one")
    path.write_bytes(path.read_bytes().replace(b"stopped", b"started"))
    with pytest.raises(ConfigError, match="was changed"):
        opened(path)
    (tmp_path / "large").write_bytes(b"no entry\n" * 200_000)
    with pytest.raises(ConfigError, match="no entry"):
        opened(tmp_path / "large")
    with pytest.raises(ConfigError, match="cannot be written"):
        opened(tmp_path)


def test_waiting_for_an_entry_gives_its_number(tmp_path: Path) -> None:
    async def main() -> list[int]:
        file = opened(tmp_path / "audit.jsonl")
        found = [await file.record("one", {}), await file.record("two", {})]
        file.close()
        return found

    assert asyncio.run(main()) == [1, 2]
