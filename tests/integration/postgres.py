"""A private PostgreSQL cluster for one test: on a free port of the loopback, below a temporary directory."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.ports import free_port

_SETTINGS = ("fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=")


def postgres_bin() -> Path | None:
    """The directory with initdb and pg_ctl, of the newest version there is (Debian keeps them off PATH)."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        places.append(Path(on_path).parent)
    return next((place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()), None)


@contextlib.contextmanager
def postgres(binaries: Path) -> Iterator[str]:
    """A running cluster; gives the URI of its database. PostgreSQL refuses root: then it runs as somebody else."""
    user = None
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in names else "nobody"
    port = free_port()
    # Not below pytest's own directory: another user may not enter that.
    with tempfile.TemporaryDirectory(prefix="hrpg") as scratch:
        directory = Path(scratch)
        if user:
            shutil.chown(directory, user)

        def run(program: str, *arguments: str) -> None:
            command = [str(binaries / program), *arguments]
            done = subprocess.run(
                command, user=user, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, check=False, timeout=60, env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            )  # fmt: skip
            assert done.returncode == 0, done.stdout

        data, log = str(directory / "data"), str(directory / "log")
        run("initdb", "-D", data, "-U", "headrace", "--auth=trust", "--no-sync", "-E", "UTF8")
        options = " ".join(f"-c {setting}" for setting in _SETTINGS)
        run("pg_ctl", "-D", data, "-w", "-l", log, "-o", f"-p {port} {options}", "start")
        try:
            yield f"postgresql+psycopg://headrace@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
