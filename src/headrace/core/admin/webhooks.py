"""Verifies that a webhook delivery comes from MLflow, is fresh, and is not a repetition.

MLflow signs ``{delivery id}.{unix time}.{body}`` with HMAC-SHA256 and sends ``v1,<base64>`` (its webhooks guide).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections import OrderedDict
from collections.abc import Mapping

MAX_BODY_BYTES = 65_536
_MOST_REMEMBERED = 4096


class Rejected(Exception):
    """The delivery is not authentic; the message says why."""


class Verifier:
    """Checks deliveries signed with one secret. A delivery is fresh for `tolerance_s` around now, and accepted once."""

    def __init__(self, secret: str, tolerance_s: float = 300.0) -> None:
        self._secret = secret.encode()
        self._tolerance_s = tolerance_s
        self._seen: OrderedDict[str, float] = OrderedDict()

    def verify(self, headers: Mapping[str, str], body: bytes, now_s: float) -> None:
        """Raise Rejected unless the signature of `body` is valid and fresh, and the delivery is new.

        `headers` maps lower-case names; `now_s` is Unix time.
        """
        signature = headers.get("x-mlflow-signature", "")
        delivery = headers.get("x-mlflow-delivery-id", "")
        stamp = headers.get("x-mlflow-timestamp", "")
        signed = b".".join((delivery.encode(), stamp.encode(), body))
        expected = base64.b64encode(hmac.new(self._secret, signed, hashlib.sha256).digest()).decode()
        if not delivery or not hmac.compare_digest(signature.encode(), f"v1,{expected}".encode()):
            raise Rejected("the signature does not match")
        try:
            sent_s = float(stamp)
        except ValueError:
            raise Rejected("the timestamp is not a number") from None
        if not math.isfinite(sent_s) or abs(now_s - sent_s) > self._tolerance_s:
            raise Rejected(f"it is older or newer than {self._tolerance_s:g} s")
        while self._seen and (
            len(self._seen) >= _MOST_REMEMBERED or next(iter(self._seen.values())) < now_s - 2 * self._tolerance_s
        ):
            self._seen.popitem(last=False)
        if delivery in self._seen:
            raise Rejected("it was delivered before")
        self._seen[delivery] = now_s
