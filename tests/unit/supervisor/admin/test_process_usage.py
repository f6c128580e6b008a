"""What processes take, read from /proc, beside what psutil says."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from headrace.core.telemetry.totals import Sample
from headrace.supervisor.admin.process_usage import Process, Usage, weigh

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")

BURN = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\nprint(flush=True); input()"


@pytest.fixture
def burner() -> Iterator[subprocess.Popen[bytes]]:
    with burning() as process:
        yield process
        process.kill()


def burning() -> subprocess.Popen[bytes]:
    """A process that has used 0.3 s of CPU time and waits."""
    process = subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def by_name(samples: list[Sample]) -> dict[str, float]:
    return {name.removeprefix("headrace_process_"): value for name, _, value in samples}


def test_it_says_what_psutil_says(burner: subprocess.Popen[bytes]) -> None:
    usage = Usage()
    process = Process(burner.pid, "replica", 0, "mood", "mood/1")
    found = by_name(usage.samples([process]))
    other = psutil.Process(burner.pid)
    assert found["cpu_seconds_total"] == pytest.approx(sum(other.cpu_times()[:2]), abs=0.05)
    assert found["resident_memory_bytes"] == pytest.approx(other.memory_info().rss, rel=0.2)
    assert "proportional_memory_bytes" not in found
    due = usage.due(100.0)
    usage.keep(weigh(due), 100.0)
    assert by_name(usage.samples([process]))["proportional_memory_bytes"] == pytest.approx(
        other.memory_full_info().pss, rel=0.1
    )
    assert (usage.due(101.0), usage.due(160.0)) == ([], due)


def test_a_successors_time_is_added_to_its_predecessors(burner: subprocess.Popen[bytes]) -> None:
    usage = Usage()
    one = by_name(usage.samples([Process(burner.pid, "gateway")]))
    burner.kill()
    burner.wait()
    assert by_name(usage.samples([Process(burner.pid, "gateway")])) == {"cpu_seconds_total": one["cpu_seconds_total"]}
    with burning() as successor:
        two = by_name(usage.samples([Process(successor.pid, "gateway")]))
        successor.kill()
    # The clock ticks in hundredths of a second, and either figure may miss one.
    assert two["cpu_seconds_total"] > one["cpu_seconds_total"] + 0.25
    assert usage.due(0.0) != []
    usage.samples([])
    assert usage.due(1000.0) == []


def test_a_process_that_waits_to_be_collected_takes_nothing(burner: subprocess.Popen[bytes]) -> None:
    burner.kill()
    os.waitid(os.P_PID, burner.pid, os.WEXITED | os.WNOWAIT)
    assert Usage().samples([Process(burner.pid, "host")]) == []
