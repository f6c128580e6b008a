"""Verdicts: what a model requires beside what an environment holds."""

from typing import Any

import pytest

from headrace.core.environments.environment import Spec, digest, minor
from headrace.core.environments.mismatch import Finding, Installed, Package, compare, lacks
from headrace.core.environments.requirements import parse
from headrace.core.errors import RequirementRefused

MARKERS = {"python_version": "3.12", "sys_platform": "linux", "platform_machine": "x86_64"}


def spec(*lines: str, python: str | None = "3.12.1", build: tuple[str, ...] = ()) -> Spec:
    return Spec(python=python, requirements=parse("\n".join(lines), "r", lambda _: ""), build=build)


def installed(python: str = "3.12.1", **packages: Any) -> Installed:
    found = {
        name.replace("_", "-"): value if isinstance(value, Package) else Package(value)
        for name, value in packages.items()
    }
    return Installed(python=python, markers=MARKERS, find=found.get)


def verdicts(wanted: Spec, there: Installed) -> dict[str, tuple[str | None, str]]:
    return {f.package: (f.found, f.verdict) for f in compare(wanted, there).findings}


def test_the_report_of_an_environment_that_fits_has_no_mismatch() -> None:
    report = compare(spec("numpy==1.26.4", "scikit_learn>=1.5"), installed(numpy="1.26.4", scikit_learn="1.5.0"))
    assert report.findings == (
        Finding("python", "3.12.1", "3.12.1", "ok"),
        Finding("numpy", "==1.26.4", "1.26.4", "ok"),
        Finding("scikit-learn", ">=1.5", "1.5.0", "ok"),
    )
    assert report.mismatches == ()
    assert report.line() == "none"


def test_the_mismatches_that_a_warning_would_hide() -> None:
    there = installed("3.11.7", numpy="2.3.4", scikit_learn="1.7.2")
    report = compare(spec("numpy==1.26.4", "scikit-learn==1.5.0", "scipy==1.13.0", python="3.12.4"), there)
    assert [f.verdict for f in report.mismatches] == ["differs", "differs", "differs", "missing"]
    assert report.line() == (
        "python (found: 3.11.7, required: 3.12.4), numpy (found: 2.3.4, required: ==1.26.4), "
        "scikit-learn (found: 1.7.2, required: ==1.5.0), scipy (found: nothing, required: ==1.13.0)"
    )


@pytest.mark.parametrize(
    ("required", "found", "verdict"),
    [
        ("3.12.1", "3.12.1", "ok"),
        ("3.12", "3.12.9", "ok"),
        ("3.12.1", "3.12.9", "other patch"),
        ("3.12.1", "3.11.1", "differs"),
        ("3.1", "3.10.1", "differs"),
    ],
)
def test_another_patch_of_python_is_accepted_and_told(required: str, found: str, verdict: str) -> None:
    report = compare(spec(python=required), installed(found))
    assert [f.verdict for f in report.findings] == [verdict]
    assert bool(report.mismatches) is (verdict == "differs")


@pytest.mark.parametrize(
    ("line", "found", "verdict"),
    [
        ("torch==2.1.0", "2.1.0+cpu", "ok"),
        ("torch==2.1.0+cu118", "2.1.0+cpu", "differs"),
        ("mlflow==3.0.0rc1", "3.0.0rc1", "ok"),
        ("mlflow>=2", "3.0.0rc1", "ok"),
        ("six", "1.0", "ok"),
        ("six==1.0", "not.a-version", "differs"),
        ("six==1.0", "", "differs"),
    ],
)
def test_versions_are_compared_as_pip_does(line: str, found: str, verdict: str) -> None:
    name = line.split("=", maxsplit=1)[0].rstrip(">")
    assert verdicts(spec(line, python=None), installed(**{name: found})) == {name: (found, verdict)}


def test_what_is_for_another_system_is_left_out() -> None:
    assert verdicts(spec("pywin32==1; sys_platform == 'win32'", python=None), installed()) == {}


def test_an_address_is_compared_with_where_the_package_came_from() -> None:
    wanted = spec("six @ git+https://me:secret@a.test/six.git@v1", python=None)
    same = Package("1", (), "git+https://a.test/six.git@v1")
    other = Package("1", (), "git+https://a.test/six.git@v2")
    assert verdicts(wanted, installed(six=same)) == {"six": ("1", "ok")}
    assert verdicts(wanted, installed(six=other)) == {"six": ("1", "differs")}
    assert verdicts(wanted, installed(six="1")) == {"six": ("1", "differs")}


def test_a_password_is_in_no_report() -> None:
    (finding,) = compare(spec("six @ git+https://me:secret@a.test/six.git@v1", python=None), installed()).findings
    assert finding.required == "@ git+https://***@a.test/six.git@v1"


def test_what_is_there_has_to_keep_the_constraints() -> None:
    wanted = Spec(python=None, requirements=parse("six\n-c c.txt", "r", lambda _: "numpy<2\nabsent==1\nscipy>=1"))
    there = installed(six="1", numpy="2.0", scipy="1.13")
    assert verdicts(wanted, there) == {"six": ("1", "ok"), "numpy": ("2.0", "differs"), "scipy": ("1.13", "ok")}


def test_extras_ask_for_what_they_bring() -> None:
    mlflow = Package("2.9", ("flask", "boto3>=1; extra == 'aws'", "mlflow[aws]; extra == 'all'", "nonsense ==="))
    assert verdicts(spec("mlflow[all]==2.9", python=None), installed(mlflow=mlflow)) == {
        "mlflow": ("2.9", "ok"),
        "boto3": (None, "missing"),
    }


def test_what_a_worker_cannot_do_without() -> None:
    assert lacks(installed(mlflow_skinny="2.9", numpy="1", pandas="2")) == ()
    assert lacks(installed(numpy="1")) == ("mlflow", "pandas")


def test_the_digest_names_what_is_asked_for() -> None:
    one = spec("numpy==1.26.4", "six", build=("pip==24.0",))
    same = spec("six", "NumPy==1.26.4", "six", python="3.12.9", build=("pip==24.0",))
    name = digest(one, "3.12.1", "linux")
    assert len(name) == 32
    assert digest(same, "3.12.9", "linux") == name
    others = [
        digest(one, "3.11.1", "linux"),
        digest(one, "3.12.1", "mac"),
        digest(spec("numpy==1.26.4", build=("pip==24.0",)), "3.12.1", "linux"),
        digest(spec("numpy==1.26.4", "six", build=("pip==24.1",)), "3.12.1", "linux"),
    ]
    assert len({name, *others}) == 5


def test_a_build_dependency_that_the_model_requires_too_is_asked_for_once() -> None:
    one, other = spec("pip==24.0", build=("pip==23.0",)), spec("pip==24.0")
    assert digest(one, "3.12", "linux") == digest(other, "3.12", "linux")


@pytest.mark.parametrize("text", ["3", "3.x", "3.12; rm -rf /", "3.12.1\n", "../3.12", "--help", "", "3.12.1.1"])
def test_what_is_no_python_version_is_refused(text: str) -> None:
    with pytest.raises(RequirementRefused, match="is no Python version"):
        minor(text)
