"""Content codings: what is unpacked, what is taken as it is, and where it ends."""

import gzip
import json
import random
import zlib
from typing import Any

import pytest

from headrace_worker import wire
from headrace_worker.scoring.bodies.inflate import FIRST_PIECE, MAX_CODINGS, MAX_MEMBERS, inflate
from headrace_worker.scoring.errors.refusal import Refusal
from tests.unit.worker.models import TEXT, ask, error, load, predictions, texts

REQUEST = json.dumps(texts("a")).encode()


def deflate_bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(REQUEST)),
        (b"X-GZIP", gzip.compress(REQUEST[:5]) + gzip.compress(REQUEST[5:]) + b"\0\0"),
        (b"deflate", zlib.compress(REQUEST)),
        (b"deflate", deflate_bare(REQUEST)),
        (b"deflate, gzip", gzip.compress(zlib.compress(REQUEST))),
        (b"identity", REQUEST),
        (b"gzip", REQUEST),
        (b"deflate", REQUEST),
        (b"utf-8", REQUEST),
    ],
)
def test_a_compressed_body_is_unpacked_and_a_plain_one_is_taken_as_it_is(coding: bytes, body: bytes) -> None:
    scorer, _ = load(lambda data, _: list(data["text"]), TEXT)
    (answer,) = ask(scorer, body, head=wire.head(b"application/json", coding))
    assert predictions(answer) == ["a"]


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(REQUEST)[:-4]),
        (b"gzip", b"\x1f\x8b rubbish"),
        (b"deflate", b"\x00rubbish"),
        (b"gzip", b"\x1f\x8b"),
    ],
)
def test_a_damaged_compressed_body_is_a_400_in_json(coding: bytes, body: bytes) -> None:
    scorer, _ = load(lambda data, _: list(data["text"]), TEXT)
    (answer,) = ask(scorer, body, head=wire.head(b"application/json", coding))
    assert (answer.status, error(answer)["error_code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, deflate_bare])
def test_a_body_that_is_too_large_after_decompression_is_a_413(pack: Any) -> None:
    coding = ("gzip",) if pack is gzip.compress else ("deflate",)
    assert inflate(pack(b"x" * 1000), coding, 1000) == b"x" * 1000
    with pytest.raises(Refusal) as caught:
        inflate(pack(b"x" * 1001), coding, 1000)
    assert caught.value.status == 413


def test_many_small_gzip_members_count_together() -> None:
    with pytest.raises(Refusal) as caught:
        inflate(gzip.compress(b"x" * 100) * 11, ("gzip",), 1000)
    assert caught.value.status == 413


def test_a_gzip_body_of_very_many_members_is_a_400_that_says_so() -> None:
    member = gzip.compress(b"", mtime=0)
    assert inflate(member * MAX_MEMBERS, ("gzip",), 1000) == b""
    with pytest.raises(Refusal, match=f"more than {MAX_MEMBERS} members. Compress it in one piece") as caught:
        inflate(member * (MAX_MEMBERS + 1), ("gzip",), 1000)
    assert caught.value.status == 400


@pytest.mark.parametrize("size", [FIRST_PIECE - 1, 5 * FIRST_PIECE, 3_000_000])
def test_members_of_any_size_come_out_whole_and_in_order(size: int) -> None:
    data = [random.Random(n).randbytes(size // (n + 1)) for n in range(5)]
    body = b"\0".join(gzip.compress(part, mtime=0) for part in data)
    assert inflate(body, ("gzip",), 20_000_000) == b"".join(data)


def test_codings_without_end_are_a_400_that_says_so() -> None:
    assert inflate(b" {}", ("deflate",) * MAX_CODINGS, 1000) == b" {}"
    with pytest.raises(
        Refusal, match=f"5 content codings; at most {MAX_CODINGS} are taken. Compress it once"
    ) as caught:
        inflate(b" {}", ("deflate",) * 5, 1000)
    assert caught.value.status == 400
