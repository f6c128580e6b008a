from pathlib import Path

import pytest

from headrace.config import environment


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, (None, None)),
        ({"HEADRACE_CONFIG": "a.yaml"}, (None, Path("a.yaml"))),
        ({"HEADRACE_MODEL_URI": "models:/a@b"}, ("models:/a@b", None)),
        # An image names its file always; who names a model means that one.
        ({"HEADRACE_MODEL_URI": "models:/a@b", "HEADRACE_CONFIG": "a.yaml"}, ("models:/a@b", None)),
        ({"HEADRACE_MODEL_URI": "", "HEADRACE_CONFIG": ""}, (None, None)),
        ({"MLSERVER_MODEL_URI": "/mnt/models", "HEADRACE_CONFIG": "a.yaml"}, ("/mnt/models", None)),
        ({"MLSERVER_MODEL_URI": "/mnt/models", "HEADRACE_MODEL_URI": "models:/a@b"}, ("models:/a@b", None)),
    ],
)
def test_what_to_serve(environ: dict[str, str], expected: tuple[str | None, Path | None]) -> None:
    assert environment.what_to_serve(environ) == expected


def test_the_admin_port_of_this_machine() -> None:
    assert environment.admin_url({}) == environment.ADMIN_URL
    assert environment.admin_url({"HEADRACE_ADMIN": "http://127.0.0.1:5200"}) == "http://127.0.0.1:5200"
