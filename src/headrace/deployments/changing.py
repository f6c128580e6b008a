"""Has a running headrace serve something else: its file is changed and reloaded, or stays as it was."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from headrace.client.addresses import is_loopback
from headrace.client.admin import AdminPort, call, model_path
from headrace.core.errors import HeadraceError, UsageError

_RELOAD_S = 120.0
_LOOK_S = 0.2


class NotInForce(HeadraceError):
    """What was asked for does not serve; everything is as it was."""

    code = "MODEL_ERROR"


class ConfigurationFile:
    """The file of one running headrace on this machine. Others that change it in this way wait for each other."""

    def __init__(self, admin: AdminPort) -> None:
        self._admin = admin

    def change(self, edit: Callable[[str], str], name: str, wait_s: float | None) -> None:
        """Have the file be what `edit` makes of its text, and wait until the model `name` is what it says.

        `wait_s` None: return as soon as it is reloaded. Raises UsageError where that cannot be done here, NotInForce
        where the model did not come up: in both cases the file is as it was. After `wait_s` without an end raises
        HeadraceError, and leaves what goes on.
        """
        file = self._found()
        with _only_one(file):
            before = _read(file)
            after = edit(before)
            if after == before:
                return
            at_s = time.time()
            _write(file, after)
            try:
                self._reload(at_s)
                if wait_s is not None:
                    self._wait(name, wait_s)
            except (UsageError, NotInForce):
                _write(file, before)
                with suppress(HeadraceError):
                    call(self._admin, "/api/reload", method="POST", timeout_s=_RELOAD_S)
                raise

    def _found(self) -> Path:
        told = call(self._admin, "/api/reload")
        file = Path(told["file"])
        if not is_loopback(self._admin.address) or not file.is_file():
            raise UsageError(
                f"the configuration is {file} on the machine of {self._admin.address}, and can be changed from there "
                f"alone; do that, and run 'headrace reload'"
            )
        if told["problem"] or told["changes"]:
            why = told["problem"] or ", ".join(change["setting"] for change in told["changes"])
            raise UsageError(f"{file} holds what is not in force ({why}): run 'headrace reload' first, or take it back")
        return file.resolve()

    def _reload(self, at_s: float) -> None:
        """Reload, and be sure that it was this file that was read."""
        done = call(self._admin, "/api/reload", method="POST", timeout_s=_RELOAD_S)
        last = call(self._admin, "/api/models")["reload"]["last"] or {}
        if not done["changes"] and not (last.get("changes") and last["at"] >= at_s):
            raise UsageError(f"{done['file']} of this machine is not the file that {self._admin.address} reads")

    def _wait(self, name: str, wait_s: float) -> None:
        """Until nothing comes or goes, and the model serves, where there is one."""
        end_s = time.monotonic() + wait_s
        while time.monotonic() < end_s:
            changes = call(self._admin, "/api/reload")
            if why := changes["failed"].get(name):
                raise NotInForce(f"{name} does not come up, and what was before is in force again: {why}")
            if changes["settled"]:
                models = {one["name"]: one for one in call(self._admin, "/api/models")["models"]}
                model = models.get(name)
                if model is None or model["ready"]:
                    return
                if model["problem"] or model["missing"]:
                    why = model["problem"] or model["missing"]
                    raise NotInForce(f"{name} does not come up, and what was before is in force again: {why}")
            time.sleep(_LOOK_S)
        raise HeadraceError(f"{name} does not serve yet after {wait_s:g} s, and goes on coming up: see headrace status")


def described(admin: AdminPort, name: str) -> dict[str, Any] | None:
    """A model as the admin API tells it; None where there is none of this name."""
    with suppress(UsageError):
        found: dict[str, Any] = call(admin, model_path(name))
        return found
    return None


@contextmanager
def _only_one(file: Path) -> Iterator[None]:
    try:
        directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f"{file.parent} cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None


def _write(file: Path, text: str) -> None:
    """In one step: headrace reads the one or the other. Mode and owner stay as far as may be."""
    try:
        stat = file.stat()
        with NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
            try:
                new.write(text)
                new.flush()
                os.fsync(new.fileno())
                os.fchmod(new.fileno(), stat.st_mode & 0o7777)
                with suppress(PermissionError):
                    os.fchown(new.fileno(), stat.st_uid, stat.st_gid)
                Path(new.name).replace(file)
            except OSError:
                Path(new.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None
