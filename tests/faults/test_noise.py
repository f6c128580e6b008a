"""Random bytes and damaged messages on every channel at once: whatever they do, in the end everything is well."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.core.protocol import framing, messages, records
from headrace.core.protocol.liveness import Pong
from headrace.registry.messages import Done, Failed
from tests.faults.test_process_death import config
from tests.integration.serving import ask, serving, until

ROUNDS = 4
"""Each of them may be the end of a process, and the next start is put off after each."""

SAID = {
    "headrace.gateway": [
        messages.Applied(1),
        messages.Drained("x"),
        messages.WorkerHung("nobody", 1.0),
        messages.WorkerLost("nobody", 3),
        messages.WorkerBroke("nobody", "no reason"),
        messages.Hazard("pool", {"a": 1}),
        messages.Stats(0, [("headrace_rows_total", (("model", "m"),), 1.0)]),
        messages.Probed(token=1, status=200),
        Pong(),
    ],
    "headrace.registry": [Done(id=1), Failed(id=2, kind="not_found", message="no"), Pong()],
    "headrace.recorder": [records.Samples(1, []), records.Told("error", "said", {"event": "x"}), Pong()],
}


def noise(chance: random.Random, role: str) -> bytes:
    """Bytes without sense, or a message with a few wrong bytes, or a good one that nobody has asked for."""
    kind = chance.random()
    if kind < 0.3:
        return chance.randbytes(chance.randint(1, 200))
    made = bytearray(framing.encode(chance.choice(SAID[role])))
    if kind < 0.8:
        for _ in range(chance.randint(1, 4)):
            made[chance.randrange(len(made))] = chance.randrange(256)
    return bytes(made)


def worker_noise(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """(channel, bytes)."""
    lines = [
        b'{"event": "pong"}\n',
        b'{"event": "ready", "facts": {}, "warm_up": {"ok": true}, "rss_bytes": 1}\n',
        b"\n",
    ]
    while True:
        channel = chance.choice(["control", "data"])
        if channel == "control" and chance.random() < 0.5:
            yield channel, chance.choice(lines)
        else:
            yield channel, chance.randbytes(chance.randint(5, 200))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_noise_on_every_channel_ends_with_a_healthy_server(registry: str, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    place = tmp_path / "noise"
    for role in SAID:
        (place / role).mkdir(parents=True)
        for number in range(ROUNDS):
            # The first is the end of it in any case.
            data = b"\xff\xff\xff\xff" if number == 0 else noise(chance, role)
            (place / role / f"{number:03}").write_bytes(data)
    shutil.copy(Path(__file__).parent / "noise" / "sitecustomize.py", place)
    document = config(registry, moody={"uri": "models:/moody@production", "replicas": 2, "timeout_s": 5.0})
    document["log"] = {"slow_s": 60.0}  # so that there is a recorder
    path = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH", "")]))
    with serving(tmp_path, document, environ={"PYTHONPATH": path}) as one:
        url = f"{one.url('moody')}/invocations"

        def well() -> bool:
            return ask(f"{one.admin}/readyz").status == 200 and ask(url, {"instances": ["ok"]}).status == 200

        for _, (channel, data) in zip(range(ROUNDS), worker_noise(chance), strict=False):
            until(well, "an answer")
            ask(url, {"instances": [f"{channel}:{data.hex()}"]})
        until(lambda: not any(file for role in SAID for file in (place / role).iterdir()), "the end of the noise")
        for name in ("gateway", "registry agent", "recorder"):
            one.event(f"{name} ended")
        until(lambda: one.status("moody")["replicas"]["ready"] == 2, "both replicas")
        for _ in range(20):
            until(well, "an answer")
        assert all(one.processes(role) for role in SAID)
        assert one.stop() == 0
