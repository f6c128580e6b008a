"""What a model directory says about the environment it was trained in."""

from pathlib import Path

import pytest

from headrace.core.errors import RequirementRefused
from headrace.environments.recorded import read_spec
from tests.environment_rig import record, wheel

CONDA = """
channels: [conda-forge]
dependencies:
- python=3.8.18
- pip<=24
- pip:
  - mlflow==1.30.0
  - scikit-learn==1.0.2
"""


def test_what_mlflow_writes_today(tmp_path: Path) -> None:
    spec = read_spec(
        record(tmp_path, "3.12.4", ["mlflow==3.1.0", "numpy==1.26.4"], ["pip==24.0", "setuptools", "wheel==0.43"])
    )
    assert spec.python == "3.12.4"
    assert spec.requirements.packages == ("mlflow==3.1.0", "numpy==1.26.4")
    assert spec.build == ("pip==24.0", "setuptools<81", "wheel==0.43")


def test_a_version_is_text_and_not_a_number(tmp_path: Path) -> None:
    assert read_spec(record(tmp_path, "3.10", [])).python == "3.10"


def test_a_model_of_mlflow_1_has_a_conda_yaml_only(tmp_path: Path) -> None:
    (tmp_path / "conda.yaml").write_text(CONDA, encoding="utf-8")
    spec = read_spec(tmp_path)
    assert (spec.python, spec.requirements.packages) == ("3.8.18", ("mlflow==1.30.0", "scikit-learn==1.0.2"))


def test_the_mlmodel_may_be_the_only_one_to_know_the_python(tmp_path: Path) -> None:
    record(tmp_path, "3.12", ["six"])
    (tmp_path / "python_env.yaml").unlink()
    assert read_spec(tmp_path).python is None
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {python_version: 3.10.13}}\n", encoding="utf-8")
    assert read_spec(tmp_path).python == "3.10.13"


def test_packages_of_conda_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "conda.yaml").write_text(CONDA.replace("- pip<=24", "- cudatoolkit=11\n- pip"), encoding="utf-8")
    with pytest.raises(RequirementRefused, match=r"asks for packages of conda \(cudatoolkit\)"):
        read_spec(tmp_path)


@pytest.mark.parametrize(
    ("line", "constraint"),
    [
        ("scikit-learn=1.5.0", "scikit-learn==1.5.0.*"),
        ("Scikit_Learn=1.5.*", "scikit-learn==1.5.*"),
        ("scikit-learn==1.5.0", "scikit-learn==1.5.0"),
        ("scikit-learn=1.5.0=py311h08b2ecb_0", "scikit-learn==1.5.0.*"),
        ("conda-forge::scikit-learn=1.5", "scikit-learn==1.5.*"),
        ("scikit-learn 1.5.0", "scikit-learn==1.5.0"),
        ("scikit-learn >=1.5,<1.6", "scikit-learn<1.6,>=1.5"),
        ("scikit-learn", None),
        ("openssl=1.1.1w", None),
        ("numpy=1.26", None),
        ("pip<=24", None),
        ("python=3.12.1", None),
        ("--index-url=https://a.test", None),
        ("scikit-learn=1.5; rm -rf /", None),
    ],
)
def test_conda_packages_beside_pips_are_constraints(tmp_path: Path, line: str, constraint: str | None) -> None:
    model = record(tmp_path, "3.12.1", ["mlflow==3.1.0", "numpy==1.26.4"])
    conda = f"dependencies:\n- python=3.12.1\n- '{line}'\n- pip:\n  - mlflow==3.1.0\n  - numpy==1.26.4\n"
    (model / "conda.yaml").write_text(conda, encoding="utf-8")
    assert read_spec(model).requirements.constraints == ((constraint,) if constraint else ())
    assert read_spec(model).requirements.special == ()


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("python_env.yaml", "python: 3.12; touch /x\n", "is no Python version"),
        ("python_env.yaml", "python: $(touch x)\n", "is no Python version"),
        ("python_env.yaml", "python: [\n", "python_env.yaml cannot be read"),
        (
            "python_env.yaml",
            "python: '3.12'\nbuild_dependencies: ['--index-url http://a.test']\n",
            "plain requirements only",
        ),
        ("python_env.yaml", "python: '3.12'\nbuild_dependencies: ['pip; curl a.test']\n", "is no requirement"),
        (
            "requirements.txt",
            "six\n--target=/\n",
            "requirements.txt line 2: '--target=/': .* may not hold the option --target",
        ),
        ("requirements.txt", "six\n" * 300_000, "is larger than"),
        ("requirements.txt", b"numpy==1.26.4  # \xe9t\xe9\n", r"requirements.txt is no UTF-8 text .* at byte 17"),
        ("requirements.txt", "numpy==1.26.4\n".encode("utf-16"), "requirements.txt is no UTF-8 text"),
        ("requirements.txt", "-r MLmodel\n-c latin.txt\n", "latin.txt is no UTF-8 text"),
        ("python_env.yaml", b"python: '3.12' # \xe9\n", "python_env.yaml is no UTF-8 text"),
        ("python_env.yaml", "[" * 100_000, "python_env.yaml cannot be read"),
        ("requirements.txt", "gone-1.0-py3-none-any.whl\n", "which is no file of the model"),
    ],
)
def test_what_is_no_environment_is_refused(tmp_path: Path, file: str, text: str | bytes, says: str) -> None:
    record(tmp_path, "3.12", ["six"])
    (tmp_path / "MLmodel").write_text("", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"# \xe9\n")
    (tmp_path / file).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(RequirementRefused, match=says):
        read_spec(tmp_path)


def test_a_model_that_records_nothing(tmp_path: Path) -> None:
    with pytest.raises(RequirementRefused, match=r"records no environment .* environment: local"):
        read_spec(tmp_path)


@pytest.mark.parametrize("name", ["requirements.txt", "more.txt", "own-1.0-py3-none-any.whl"])
def test_a_link_that_leads_out_of_the_model_is_not_followed(tmp_path: Path, name: str) -> None:
    model = record(tmp_path / "model", "3.12", ["-r more.txt", "own-1.0-py3-none-any.whl"])
    (model / "more.txt").write_text("six\n", encoding="utf-8")
    wheel(model, "own", "1.0")
    assert [path for path, _ in read_spec(model).files] == ["own-1.0-py3-none-any.whl"]
    (model / name).rename(tmp_path / name)
    (model / name).symlink_to(tmp_path / name)
    with pytest.raises(RequirementRefused, match=r"outside of the model|no file of the model"):
        read_spec(model)
