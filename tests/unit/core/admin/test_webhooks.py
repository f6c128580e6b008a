"""Deliveries signed as MLflow signs them, and everything that is not one."""

import base64
import hashlib
import hmac

import pytest

from headrace.core.admin.webhooks import Rejected, Verifier

NOW_S = 1_700_000_000.0
SECRET = "secret"
BODY = b'{"entity": "model_version_alias", "action": "created", "data": {"name": "mood"}}'


def signed(delivery: str = "d1", at_s: float = NOW_S, key: str = SECRET, body: bytes = BODY) -> dict[str, str]:
    stamp = str(int(at_s))
    content = f"{delivery}.{stamp}.{body.decode()}".encode()
    digest = base64.b64encode(hmac.new(key.encode(), content, hashlib.sha256).digest()).decode()
    return {"x-mlflow-signature": f"v1,{digest}", "x-mlflow-delivery-id": delivery, "x-mlflow-timestamp": stamp}


def test_a_good_delivery_counts_once() -> None:
    verifier = Verifier(SECRET)
    verifier.verify(signed(), BODY, NOW_S)
    with pytest.raises(Rejected, match="before"):
        verifier.verify(signed(), BODY, NOW_S + 1)
    verifier.verify(signed("d2"), BODY, NOW_S + 1)


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        ({}, BODY, "signature"),
        (signed(key="other"), BODY, "signature"),
        (signed(), BODY + b" ", "signature"),
        ({**signed(), "x-mlflow-delivery-id": "d9"}, BODY, "signature"),
        ({**signed(), "x-mlflow-timestamp": str(NOW_S + 1)}, BODY, "signature"),
        (signed(at_s=NOW_S - 301), BODY, "older"),
        (signed(at_s=NOW_S + 301), BODY, "newer"),
        ({**signed(), "x-mlflow-signature": "v1,é"}, BODY, "signature"),
    ],
)
def test_what_is_not_to_be_believed(headers: dict[str, str], body: bytes, why: str) -> None:
    with pytest.raises(Rejected, match=why):
        Verifier(SECRET).verify(headers, body, NOW_S)


def test_what_mlflow_itself_signs_is_accepted() -> None:
    delivery = pytest.importorskip("mlflow.webhooks.delivery")
    signature = delivery._generate_hmac_signature(SECRET, "d1", str(int(NOW_S)), BODY.decode())
    assert signature == signed()["x-mlflow-signature"]


def test_memory_of_deliveries_is_bounded() -> None:
    verifier = Verifier(SECRET)
    for number in range(5000):
        verifier.verify(signed(f"d{number}"), BODY, NOW_S)
    assert len(verifier._seen) <= 4096
