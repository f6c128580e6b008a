import subprocess
import sys

import pytest

from headrace.supervisor.processes.orphans import sweep
from tests.integration.serving import until


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are init's")
def test_only_who_is_still_there_at_the_second_look_is_collected() -> None:
    child = subprocess.Popen(["/bin/true"])
    try:
        (first,) = until(lambda: {one for one in sweep(set()) if one[0] == child.pid}, "the child to end")
        assert first in sweep(set())  # a look at something new collects nothing
        assert first not in sweep({first})
        assert first not in sweep(set())
    finally:
        child.wait()
