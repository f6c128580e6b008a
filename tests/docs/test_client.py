"""The client's page is a session, and this runs it."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from tests.integration.serving import Serving

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


@pytest.mark.timeout(300)  # the server of all may start here
@pytest.mark.filterwarnings("ignore")  # a local model brings mlflow's own
def test_the_page_runs(client_server: Serving, client_registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    # What another test has set in this process would win; forgetting it empties the variables, so they come after it.
    for forget in (mlflow.set_tracking_uri, mlflow.set_registry_uri):
        forget(None)  # type: ignore[arg-type] # allowed, and not typed so
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client_registry)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    text = "\n".join(re.findall(r"^```pycon\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
    addresses = {
        "http://localhost:5001": client_server.url("classification"),
        "http://localhost:5002": client_server.url("sentiment"),
        "http://localhost:5003/models/table": client_server.url("table"),
        "http://localhost:5003/models/echo": client_server.url("echo"),
    }
    for written, real in addresses.items():
        text = text.replace(written, real)
    session = doctest.DocTestParser().get_doctest(text, {}, "client.md", str(PAGE), 0)
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(session, out=told.append)
    assert result.attempted > 20
    assert result.failed == 0, "".join(told)
