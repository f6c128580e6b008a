"""What can be configured about environments, and what is said where it is wrong."""

from typing import Any

import pytest

from headrace.config.load import parse
from headrace.core.errors import ConfigError


def document(model: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"models": {"a": {"uri": "models:/a/1", "port": 5001, **model}}, **more}


def test_the_default_is_compatible_and_downloads_nothing() -> None:
    config = parse(document({}))
    assert (config.models["a"].environment, config.models["a"].environment_mismatch) == ("compatible", None)
    assert config.environments.allow == ("files",)
    assert config.environments.download_interpreters is False
    assert (config.environments.max_age_days, config.environments.max_bytes) == (None, None)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (document({"environment": "conda"}), "models.a.environment"),
        (document({"environment_mismatch": "ignore"}), "models.a.environment_mismatch"),
        (document({}, environments={"allow": ["everything"]}), "environments.allow"),
        (document({}, environments={"interpreter": []}), "environments.interpreter"),
        (document({}, environments={"max_bytes": 0}), "environments.max_bytes"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(wrong)
    assert caught.value.path.startswith(path)
