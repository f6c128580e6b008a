"""Answers as bytes."""

from __future__ import annotations

import time

from headrace.gateway.http import answers


def test_dates_are_those_of_the_rfc() -> None:
    assert answers.http_date(time.gmtime(784111777)) == b"Sun, 06 Nov 1994 08:49:37 GMT"


def test_request_ids_are_put_into_error_objects_only() -> None:
    assert answers.with_request_id(b'{"a": 1}', b"i", 1) == b'{"a": 1, "request_id": "i"}'
    assert answers.with_request_id(b"{ }", b'i"\\', 1) == b'{ "request_id": "i\\"\\\\"}'
    for body, flags in ((b'{"a": 1}', 0), (b"[1]", 1), (b"", 1)):
        assert answers.with_request_id(body, b"i", flags) == body
