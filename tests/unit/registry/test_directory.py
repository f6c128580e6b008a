"""A model in a directory is served without MLflow in the agent: importing it takes longer than copying the model."""

import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.core.errors import ModelLoadError, ModelNotFound
from headrace.core.identity import parse_model_uri
from headrace.core.protocol import framing
from headrace.registry import directory
from headrace.registry.messages import Done, Fetch, FromAgent, Resolve


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "a model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    (folder / "data" / "weights").write_bytes(b"\x00\x01")
    return folder


def test_the_agent_needs_no_mlflow_for_a_directory(model: Path, tmp_path: Path) -> None:
    # A module of that name that cannot be imported stands in its way.
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "mlflow.py").write_text("raise SystemExit('mlflow was imported')\n", encoding="utf-8")
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    settings = {"home": str(tmp_path / "home"), "registry_key": "", "tracking_uri": None, "registry_uri": None}
    with subprocess.Popen(
        [sys.executable, "-m", "headrace.registry", "--control-fd", str(theirs.fileno()),
         json.dumps({**settings, "timeout_s": 5, "warm": False})],
        pass_fds=[theirs.fileno()],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "blocked")},
    ):  # fmt: skip
        theirs.close()
        decoder: framing.Decoder[FromAgent] = framing.Decoder(FromAgent)

        def ask(question: Resolve | Fetch) -> Done:
            ours.sendall(framing.encode(question))
            while True:
                for answer in decoder.feed(ours.recv(65536)):
                    assert isinstance(answer, Done), answer
                    return answer

        resolved = ask(Resolve(1, str(model))).resolved
        assert resolved is not None
        assert resolved.source == str(model)
        stored = ask(Fetch(2, resolved)).stored
        ours.close()
    assert stored is not None
    assert (Path(stored.path) / "data" / "weights").read_bytes() == b"\x00\x01"


def test_a_file_uri_names_a_directory_and_other_schemes_do_not(model: Path) -> None:
    resolved = directory.resolve(parse_model_uri(model.as_uri()))
    assert resolved is not None
    assert resolved.source == str(model)
    for text in ("s3://bucket/model", "dbfs:/model", "runs:/0/model", "models:/mood/1"):
        assert directory.resolve(parse_model_uri(text)) is None


def test_no_model_there_is_said_so(tmp_path: Path) -> None:
    for text, why in (("nowhere", "no such directory"), (".", "holds no MLmodel file")):
        with pytest.raises(ModelNotFound, match=why):
            directory.resolve(parse_model_uri(str(tmp_path / text)))
    with pytest.raises(ModelNotFound, match="are not there"):
        directory.copy(str(tmp_path / "nowhere"), tmp_path)


def test_links_are_copied_as_what_they_lead_to(model: Path, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "weights").write_bytes(b"shared")
    (model / "shared").symlink_to(tmp_path / "blobs")
    (model / "again").symlink_to(tmp_path / "blobs" / "weights")
    (tmp_path / "copy").mkdir()
    copied = directory.copy(str(model), tmp_path / "copy")
    assert (copied / "shared" / "weights").read_bytes() == (copied / "again").read_bytes() == b"shared"
    assert not [path for path in copied.rglob("*") if path.is_symlink()]


def test_what_has_no_end_is_refused_before_a_byte_is_copied(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.mkdir()

    def refused(path: Path, why: str) -> None:
        with pytest.raises(ModelLoadError, match=why):
            directory.copy(str(model), target)
        assert not [*target.iterdir()]
        path.unlink()

    loop = model / "data" / "loop"
    loop.symlink_to(model)
    refused(loop, "a link to a directory that it is in")
    zero = model / "data" / "zero"
    zero.symlink_to("/dev/zero")
    refused(zero, "no file")
    os.mkfifo(zero)
    refused(zero, "no file")
    zero.symlink_to(tmp_path / "nowhere")
    refused(zero, "leads nowhere")
    with zero.open("wb") as file:
        file.truncate(1 << 43)  # a hole of 8 TiB takes no room here, and its copy would
    refused(zero, "make room there")


def test_links_that_double_at_each_level_are_counted(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_MOST_FILES", 3_000)  # of 2 ** 40
    levels = [tmp_path / f"level{number}" for number in range(40)]
    for level in levels:
        level.mkdir()
    for level, below in itertools.pairwise(levels):
        (level / "one").symlink_to(below)
        (level / "two").symlink_to(below)
    (model / "levels").symlink_to(levels[0])
    (tmp_path / "copy").mkdir()
    with pytest.raises(ModelLoadError, match="more than 3,000 files"):
        directory.copy(str(model), tmp_path / "copy")
