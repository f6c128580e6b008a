"""The command's edges: what it depends on, what it finds done already, what it says when it cannot go on."""

import io
import json
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from rich.console import Console

from news import train
from news.fingerprint import FILES, fingerprint, pinned_requirements
from news.progress import Progress
from news.registered import surely_registered

PACKAGE = Path(train.__file__).parent
# Neither these nor what they alone import has a say in what a model becomes.
NOT_OF_A_MODEL = {
    "__init__.py",
    "aside.py",
    "choose.py",
    "errors.py",
    "fingerprint.py",
    "progress.py",
    "quiet.py",
    "registered.py",
    "train.py",
}


def test_a_fingerprint_is_stable_and_each_models_own() -> None:
    assert fingerprint("classification") == fingerprint("classification")
    assert fingerprint("classification") != fingerprint("sentiment")
    assert re.fullmatch(r"[0-9a-f]{64}", fingerprint("sentiment"))


def test_fingerprints_cover_every_module_that_a_recipe_imports() -> None:
    covered = {name for names in FILES.values() for name in names}
    assert all((PACKAGE / name).is_file() for name in covered)
    found: set[str] = set()
    waiting = ["recipes.py", "registry.py"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            source = (PACKAGE / name).read_text(encoding="utf-8")
            modules = re.findall(r"^\s*from news\.(\w+) import", source, re.MULTILINE)
            modules += re.findall(r"^\s*from news import (\w+)", source, re.MULTILINE)
            waiting += [f"{module}.py" for module in modules]
    assert found - NOT_OF_A_MODEL <= covered


def test_requirements_are_pinned() -> None:
    assert all(re.fullmatch(r"[a-z-]+==\d[\w.]*", requirement) for requirement in pinned_requirements())


@contextmanager
def registry_with(directory: Path, *, tag: str = "digest", alias: str = "production") -> Iterator[str]:
    """Lay out the tables and columns that are read, as MLflow's schema has them."""
    model = directory / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    with closing(sqlite3.connect(directory / "mlflow.db")) as database, database:
        database.executescript(
            """
            CREATE TABLE model_versions (name, version, current_stage, status, storage_location);
            CREATE TABLE model_version_tags (name, version, key, value);
            CREATE TABLE registered_model_aliases (name, alias, version);
            """
        )
        location = model.as_uri()
        database.execute("INSERT INTO model_versions VALUES ('m', 1, 'Production', 'READY', ?)", (location,))
        database.execute("INSERT INTO model_version_tags VALUES ('m', 1, 'news.fingerprint', ?)", (tag,))
        database.execute("INSERT INTO registered_model_aliases VALUES ('m', ?, 1)", (alias,))
    yield f"sqlite:///{directory / 'mlflow.db'}"


def test_a_registered_model_is_found_in_a_database_file(tmp_path: Path) -> None:
    with registry_with(tmp_path) as uri:
        assert surely_registered(uri, "m", "digest")
        assert not surely_registered(uri, "m", "another digest")
        assert not surely_registered(uri, "another model", "digest")


def test_a_model_whose_files_are_gone_is_not_taken_as_registered(tmp_path: Path) -> None:
    with registry_with(tmp_path) as uri:
        (tmp_path / "model" / "MLmodel").unlink()
        assert not surely_registered(uri, "m", "digest")


def test_a_model_without_the_alias_is_not_taken_as_registered(tmp_path: Path) -> None:
    with registry_with(tmp_path, alias="staging") as uri:
        assert not surely_registered(uri, "m", "digest")


@pytest.mark.parametrize("content", [None, b"", b"no database"])
def test_a_file_that_is_no_registry_is_no_proof(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mlflow.db"
    if content is not None:
        path.write_bytes(content)
    assert not surely_registered(f"sqlite:///{path}", "m", "digest")
    assert path.exists() == (content is not None)


class AliasHandler(BaseHTTPRequestHandler):
    """Answers as MLflow's REST API does when it is asked for the version behind an alias."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = json.dumps({"model_version": {"tags": [{"key": "news.fingerprint", "value": "digest"}]}}).encode()
        self.send_response(200 if "name=m&" in self.path else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_registered_model_is_found_on_a_server() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), AliasHandler) as server:
        threading.Thread(target=server.serve_forever).start()
        uri = f"http://127.0.0.1:{server.server_port}"
        try:
            assert surely_registered(uri, "m", "digest")
            assert not surely_registered(uri, "m", "another digest")
            assert not surely_registered(uri, "another", "digest")
        finally:
            server.shutdown()
    assert AliasHandler.asked[0].endswith("/registered-models/alias?name=m&alias=production")
    assert not surely_registered(uri, "m", "digest"), "a server that is gone proves nothing"


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(Console(file=stream), steps=2)
    with progress.shown():
        with progress.step("fetching [data]"):
            pass
        with progress.step("training"):
            pass
    assert stream.getvalue() == "fetching [data]\ntraining\n"


def test_progress_on_a_terminal_keeps_the_finished_steps() -> None:
    stream = io.StringIO()
    progress = Progress(Console(file=stream, force_terminal=True, width=80), steps=1)
    with progress.shown(), progress.step("training"):
        pass
    last_words = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert re.search(r"done training \d+\.\d s", last_words)


def test_a_state_directory_that_cannot_be_made_is_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert train.main(["--state-dir", str(tmp_path / "file" / "state")]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("news.train: cannot write to the state directory")
    assert output.err.count("\n") == 1


def test_wrong_arguments_are_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        train.main(["--only", "weather"])
    assert caught.value.code == 2
    assert "classification" in capsys.readouterr().err


def test_importing_the_command_imports_nothing_heavy() -> None:
    source = "import sys, news.train; print(*({'mlflow', 'numpy', 'pandas', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=PACKAGE.parent, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
