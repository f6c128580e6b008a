"""The store of environments: what counts as whole, what is in use, and what may be removed."""

import sys
from pathlib import Path

import pytest

from headrace.core.environment import Spec
from headrace.core.requirements import Requirements
from headrace.environments.store import Environment, EnvironmentStore

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def whole(store: EnvironmentStore, digest: str, size_bytes: int = 1000) -> Environment:
    """An environment that is complete, and as small as can be."""
    python = store.path(digest) / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    environment = Environment(
        digest=digest, spec=Spec(python="3.12", requirements=Requirements()), python="3.12.1", interpreter="python",
        markers={}, packages={}, built_s=0.0, took_s=0.0, size_bytes=size_bytes,
    )  # fmt: skip
    store.complete(environment)
    return environment


@pytest.fixture
def store(tmp_path: Path) -> EnvironmentStore:
    return EnvironmentStore(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b'{"digest": 1}', b'{"digest": "\xff"}', b'{"digest": "aaa', b"\x00" * 500]
)
def test_a_marker_that_says_nothing_counts_as_none(store: EnvironmentStore, content: bytes) -> None:
    whole(store, A)
    whole(store, B)
    (store.path(A) / "headrace.json").write_bytes(content)
    assert store.find(A) is None
    assert [e.digest for e in store.all()] == [B]
    assert store.unfinished() == [A]
    with store.building(A) as path:
        assert not path.exists()
