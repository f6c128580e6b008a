from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from headrace.cluster import joining
from headrace.cluster.node import variables_of
from headrace.core.errors import UsageError

RAY_STANDS_IN = "import sys; sys.modules['ray'] = None; "
"""What Python takes for a package that is not installed, wherever the test runs."""


def test_without_the_extra_it_says_what_to_install() -> None:
    code = f"{RAY_STANDS_IN}from headrace.cluster import joining; joining.load()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "needs the package 'ray': install headrace's extra 'ray'" in done.stderr


def test_nothing_of_ray_is_imported_by_serve() -> None:
    code = (
        "import sys, headrace.cli.serve, headrace.cli.main; print([m for m in sys.modules if m.split('.')[0] == 'ray'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("address", ["here", "10.0.0.1", "ray://10.0.0.1:10001", "10.0.0.1:port"])
def test_an_address_that_is_none_is_told_with_an_example(address: str) -> None:
    with pytest.raises(UsageError, match=r"give HOST:PORT, such as 10\.0\.0\.1:6379, or auto"):
        joining._look_for(address)


def test_nobody_at_an_address_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"no Ray answers at {address}"):
            joining._look_for(address)


def test_a_node_without_headrace_is_told_in_a_line() -> None:
    told = joining.problem(RuntimeError("The actor died\n\nModuleNotFoundError: No module named 'headrace'"))
    assert told.startswith("headrace is not installed in this node's Python")
    assert joining.problem(RuntimeError("one\n  two.")) == "one two"
    assert joining.problem(ValueError()) == "ValueError"


def test_the_variables_of_a_node_are_those_that_its_process_was_started_with() -> None:
    child = subprocess.Popen(["/bin/cat"], env={"ONE": "1=1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(b"\n")
        assert child.stdout.read(1) == b"\n", "before that it is not yet what it will be"
        assert variables_of(child.pid) == {"ONE": "1=1"}
    finally:
        child.kill()
        child.communicate()
    assert variables_of(child.pid) == dict(os.environ)
