"""What a gateway gathers of a model's failures before it tells the supervisor."""

import asyncio

from headrace.core.protocol.messages import ModelFailed
from headrace.core.protocol.raised import Raised
from headrace.gateway import failures as module
from headrace.gateway.failures import FailureReports
from headrace_worker.wire import Answer

GOOD = Answer(200, b"application/json", b"{}")


def bad(code: str = "BAD_REQUEST") -> Answer:
    return Answer(400, b"application/json", b'{"error_code": "%b"}' % code.encode())


def test_the_first_is_told_at_once_and_the_others_after_a_second_with_their_number() -> None:
    told: list[ModelFailed] = []

    async def run() -> None:
        reports = FailureReports("m/1#1", told.append)
        whole = [GOOD, bad(), bad()]
        reports.add(whole[1], b"one")
        reports.add(whole[2], b"two")
        reports.settle(whole, [Raised("ValueError", "m.py:1", "no", "Traceback", [1]), Raised("TypeError", places=[2])])
        assert [(f.type, f.count, f.request_ids) for f in told[0].failures] == [
            ("ValueError", 1, ("one",)),
            ("TypeError", 1, ("two",)),
        ]
        for number in range(10):
            again = bad("AGAIN")
            reports.add(again, b"%d" % number)
            reports.settle([again], [Raised("ValueError", "m.py:1", places=[0])])
        assert len(told) == 1
        reports.close()
        (failure,) = told[1].failures
        assert (failure.count, failure.error_code, failure.request_ids) == (10, "AGAIN", ("5", "6", "7", "8", "9"))

    asyncio.run(run())


def test_a_failure_without_an_exception_is_told_as_well() -> None:
    told: list[ModelFailed] = []

    async def run() -> None:
        reports = FailureReports("m/1#1", told.append)
        answer = bad("INTERNAL_ERROR")
        reports.add(answer, b"id")
        reports.settle([answer], [])
        reports.settle([GOOD], [])
        reports.close()

    asyncio.run(run())
    assert [(f.type, f.error_code) for message in told for f in message.failures] == [("", "INTERNAL_ERROR")]


def test_what_waits_is_told_when_its_time_has_come() -> None:
    told: list[ModelFailed] = []

    async def run() -> None:
        reports = FailureReports("m/1#1", told.append)
        for _ in range(2):
            answer = bad()
            reports.add(answer, b"id")
            reports.settle([answer], [])
        while len(told) < 2:  # noqa: ASYNC110 - a timer of the reports
            await asyncio.sleep(module.TELL_S / 20)
        reports.close()
        assert len(told) == 2

    asyncio.run(asyncio.wait_for(run(), 60))
