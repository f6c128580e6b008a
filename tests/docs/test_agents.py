"""The page about agents: what it writes is written, what it runs is run, and what it is told is what it shows."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.serving import PATIENCE_S, ask, until
from tests.ports import free_port
from tests.processes import family, tied

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Reader:
    """Does what the page says, in a directory of its own, with the ports that `ports` has for those of the page."""

    def __init__(self, directory: Path, ports: dict[str, int]) -> None:
        self.directory = directory
        self.ports = ports
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environ = {**os.environ, "PATH": path, "HOME": str(directory), "HEADRACE_HOME": str(directory / "home")}
        self.running: list[subprocess.Popen[str]] = []
        self.printed: list[str] = []
        self.names: dict[str, Any] = {}
        self.examples = 0

    def read(self, language: str, text: str) -> None:
        """Do what one block says."""
        for written, real in self.ports.items():
            text = text.replace(f":{written}", f":{real}").replace(f" {written}", f" {real}")
        if language in {"python", "yaml"}:
            name = text.split()[1]
            extra = "admin: {port: 0}\n" if language == "yaml" else ""
            (self.directory / name).write_text(text + extra, encoding="utf-8")
        elif language == "sh":
            for line in text.splitlines():
                self._run(line)
        else:
            self._ask(language, text)

    def _run(self, line: str) -> None:
        first, *rest = shlex.split(line)
        if first == "export":
            name, _, value = rest[0].partition("=")
            self.environ[name] = value
        elif rest[-1:] == ["&"]:
            command = tied([first, *rest[:-1]])
            with (self.directory / f"{first}.log").open("w") as log:
                self.running.append(
                    subprocess.Popen(command, cwd=self.directory, env=self.environ, stdout=log, stderr=log, text=True)
                )
            port = self.ports["8100" if first == "python" else "5001"]
            until(lambda: ask(f"http://127.0.0.1:{port}/ping").status in {200, 501}, line)
        elif first != "pip":
            done = subprocess.run(
                [first, *rest], cwd=self.directory, env=self.environ, check=False, capture_output=True, text=True,
                timeout=PATIENCE_S,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            self.printed.append(done.stdout)

    def _ask(self, language: str, text: str) -> None:
        assert language == "pycon", language
        session = doctest.DocTestParser().get_doctest(text, self.names, PAGE.name, str(PAGE), 0)
        told: list[str] = []
        runner = doctest.DocTestRunner()
        result = runner.run(session, out=told.append, clear_globs=False)
        self.names = session.globs
        self.examples += result.attempted
        assert result.failed == 0, "".join(told)

    def end(self) -> None:
        """End what runs."""
        for process in reversed(self.running):
            running = family(process.pid)
            process.terminate()
            process.wait(PATIENCE_S)
            _, left = psutil.wait_procs(running, timeout=PATIENCE_S)
            assert not left, left


@pytest.mark.slow  # what it takes is MLflow making a registry; tests/integration/test_openai.py has nearly all of it
@pytest.mark.timeout(600)
def test_the_page_runs(tmp_path: Path) -> None:
    reader = Reader(tmp_path, {"8100": free_port(), "5001": free_port()})
    page = PAGE.read_text(encoding="utf-8")
    blocks: list[tuple[str, str]] = FENCE.findall(page)
    try:
        for language, text in blocks:
            reader.read(language, text)
    finally:
        reader.end()
    assert reader.examples == page.count("\n>>> ")
    assert '"You said: Hello"' in reader.printed[-1]
