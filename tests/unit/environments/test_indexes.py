"""What uv is told of pip's settings."""

import os
from pathlib import Path

import pytest

from headrace.environments.indexes import pip_environ, uv_environ, uv_options


@pytest.fixture
def home(tmp_path: Path) -> Path:
    file = tmp_path / ".config/pip/pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text(
        "[global]\nindex-url = https://mirror.test/simple\nextra-index-url =\n    https://a.test/simple\n"
        "    https://b.test/simple\nfind_links = /wheels /more\n[install]\ntrusted-host = a.test\n[list]\ncert = no\n",
        encoding="utf-8",
    )
    return tmp_path


def test_the_settings_of_pips_file(home: Path) -> None:
    environ = {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "none")}
    made = uv_environ(environ)
    assert made["UV_DEFAULT_INDEX"] == "https://mirror.test/simple"
    assert made["UV_INDEX"] == "https://a.test/simple https://b.test/simple"
    assert made["UV_FIND_LINKS"] == "/wheels,/more"
    assert made["UV_INSECURE_HOST"] == "a.test"
    assert uv_options(environ) == []


def test_variables_stand_above_files_and_uvs_own_above_all(home: Path) -> None:
    environ = {"HOME": str(home), "PIP_INDEX_URL": "https://c.test", "UV_INDEX": "https://d.test", "PIP_NO_INDEX": "1"}
    made = uv_environ(environ)
    assert (made["UV_DEFAULT_INDEX"], made["UV_INDEX"]) == ("https://c.test", "https://d.test")
    assert uv_options(environ) == ["--no-index"]


def test_a_named_file_stands_above_the_users_and_null_means_none(home: Path) -> None:
    named = home / "other.conf"
    named.write_text("[global]\nindex-url = https://e.test\n", encoding="utf-8")
    assert uv_environ({"HOME": str(home), "PIP_CONFIG_FILE": str(named)})["UV_DEFAULT_INDEX"] == "https://e.test"
    assert "UV_DEFAULT_INDEX" not in uv_environ({"HOME": str(home), "PIP_CONFIG_FILE": os.devnull})


def test_a_broken_file_is_no_reason_to_fail(home: Path) -> None:
    (home / ".config/pip/pip.conf").write_text("nonsense", encoding="utf-8")
    assert "UV_INDEX" not in uv_environ({"HOME": str(home), "XDG_CONFIG_DIRS": str(home)})


def test_nothing_that_would_have_uv_install_elsewhere(home: Path) -> None:
    misleading = {
        "VIRTUAL_ENV": "x", "UV_SYSTEM_PYTHON": "1", "UV_PYTHON": "3.9", "UV_PROJECT": "x", "PYTHONPATH": "x",
        "UV_PYTHON_DOWNLOADS": "automatic",
    }  # fmt: skip
    made = uv_environ({"HOME": str(home), "UV_CACHE_DIR": "kept", **misleading})
    assert made["UV_CACHE_DIR"] == "kept"
    assert made["UV_PYTHON_DOWNLOADS"] == "never"
    assert misleading.keys() & made.keys() == {"UV_PYTHON_DOWNLOADS"}


def test_pip_is_told_what_uv_is_told() -> None:
    environ = {"UV_DEFAULT_INDEX": "https://a/simple", "UV_FIND_LINKS": "/a,/b", "PIP_CONFIG_FILE": os.devnull}
    made = pip_environ({**environ, "PYTHONPATH": "/x"})
    assert made == {**environ, "PIP_INDEX_URL": "https://a/simple", "PIP_FIND_LINKS": "/a /b"}
    assert pip_environ({**environ, "PIP_INDEX_URL": "https://b"})["PIP_INDEX_URL"] == "https://b"
