"""What loads of models have imported, and how long that is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.core.environments.mismatch import Report
from headrace.environments.preparing import Prepared
from headrace.supervisor.processes.learned import Learned, Record, family, stamp


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """An environment with one package."""
    (tmp_path / "env/lib/python3.11/site-packages/one-1.0.dist-info").mkdir(parents=True)
    return Prepared(policy="exact", python=str(tmp_path / "env/bin/python"), report=Report((), ""), digest="d" * 32)


def packages(prepared: Prepared) -> Path:
    return Path(prepared.python).parent.parent / "lib/python3.11/site-packages"


def test_what_was_kept_is_read_until_the_environment_changes(tmp_path: Path, prepared: Prepared) -> None:
    learned = Learned(tmp_path / "home")
    record = Record(stamp=stamp(prepared), families={"f": ["numpy"]}, left_out={"grpc": "it starts threads"})
    assert learned.read(prepared) == Record(stamp=stamp(prepared))
    learned.keep(prepared, record)
    assert learned.read(prepared) == record
    (packages(prepared) / "__pycache__").mkdir()  # Python compiles there
    assert learned.read(prepared) == record
    (packages(prepared) / "two-1.0.dist-info").mkdir()
    assert learned.read(prepared) == Record(stamp=stamp(prepared))


def test_a_record_has_bounds() -> None:
    record = Record()
    assert record.add("f", ["b", "a"])
    assert record.families == {"f": ["b", "a"]}
    assert not record.add("f", ["a"])
    assert record.add("f", [f"m{n}" for n in range(30_000)])
    assert len(record.families["f"]) == 20_000
    for number in range(150):
        record.add(f"f{number}", ["a"])
    assert [*record.families] == [f"f{number}" for number in range(50, 150)]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"families": 3}', b"\xff"])
def test_a_damaged_record_is_none(tmp_path: Path, prepared: Prepared, text: bytes) -> None:
    learned = Learned(tmp_path / "home")
    learned.keep(prepared, Record(stamp=stamp(prepared), families={"f": ["numpy"]}))
    (file,) = (tmp_path / "home/imports").iterdir()
    file.write_bytes(text)
    assert learned.read(prepared) == Record(stamp=stamp(prepared))


def test_a_home_that_cannot_be_written_to_is_no_error(tmp_path: Path, prepared: Prepared) -> None:
    (tmp_path / "home").write_text("a file")
    Learned(tmp_path / "home").keep(prepared, Record())
    assert Learned(tmp_path / "home").read(prepared) == Record(stamp=stamp(prepared))


def test_the_running_environment_has_a_stamp() -> None:
    here = Prepared(policy="local", python="python", report=Report((), ""))
    assert stamp(here) == stamp(here)
    assert "none" not in stamp(here)


def test_a_family_is_what_needs_the_same(tmp_path: Path) -> None:
    for name, requirements, loader in (
        ("a", "x==1", "mlflow.sklearn"),
        ("b", "x==1", "mlflow.sklearn"),
        ("c", "x==2", "mlflow.sklearn"),
        ("d", "x==1", "mlflow.xgboost"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "requirements.txt").write_text(requirements)
        (tmp_path / name / "MLmodel").write_text(
            f"flavors:\n  python_function:\n    loader_module: {loader}\nrun: {name}"
        )
    a, b, c, d = (family(str(tmp_path / name)) for name in "abcd")
    assert a == b
    assert len({b, c, d}) == 3
