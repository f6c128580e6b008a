"""What is packaged, pinned and imported: the frame that everything else stands in."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import headrace

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
WORKER_MODULES = sorted((ROOT / "src" / "headrace_worker").rglob("*.py"))
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (path,) = folder.glob("*.whl")
    assert path.name == f"headrace-{headrace.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(path)


def test_the_wheel_holds_both_packages_whole(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in ("headrace", "headrace_worker"):
        sources = (ROOT / "src" / package).rglob("*")
        files = {str(path.relative_to(ROOT / "src")) for path in sources if path.is_file()}
        assert {name for name in files if "__pycache__" not in name} <= names
    assert "headrace/py.typed" in names


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"headrace", "headrace_worker", f"headrace-{headrace.__version__}.dist-info"}


def pins() -> dict[str, Version]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^ ]+)", CONSTRAINTS, re.MULTILINE)
    assert len({name for name, _ in found}) == len(found), "one version of each package on every interpreter"
    return {canonicalize_name(name): Version(version) for name, version in found}


# Of the set-up nothing needs these, and they are large: their tests have environments of their own.
NOT_SET_UP = {"ray"}


def declared() -> list[Requirement]:
    extras = PYPROJECT["project"]["optional-dependencies"]
    groups = [
        PYPROJECT["build-system"]["requires"],
        PYPROJECT["project"]["dependencies"],
        *(lines for extra, lines in extras.items() if extra not in NOT_SET_UP),
        *PYPROJECT["dependency-groups"].values(),
    ]
    return [Requirement(line) for group in groups for line in group]


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_what_is_declared_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


# Imported where they are needed and nowhere else, once `config.load` has seen that their extra is installed.
OF_EXTRAS = {Path("recorder") / name for name in ("mlflow_writer.py", "otlp.py", "parquet.py", "spans.py")}
OF_EXTRAS |= {Path("gateway/grpc/headers.py"), Path("gateway/grpc/schema.py")}


def test_what_headrace_imports_is_declared() -> None:
    """At module level: an import inside a function may be of an extra, and says so where it is missing."""
    source = ROOT / "src" / "headrace"
    trees = [ast.parse(path.read_text()) for path in source.rglob("*.py") if path.relative_to(source) not in OF_EXTRAS]
    nodes = [node for tree in trees for node in tree.body]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    foreign = {name.split(".")[0] for name in imported} - sys.stdlib_module_names - {"headrace", "headrace_worker"}
    allowed = {canonicalize_name(Requirement(line).name) for line in PYPROJECT["project"]["dependencies"]}
    providers = packages_distributions()
    missing = {name for name in foreign if allowed.isdisjoint(map(canonicalize_name, providers.get(name, [])))}
    assert missing == set()


def test_what_the_set_up_leaves_out_is_one_version() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    lines = [line for extra in NOT_SET_UP for line in extras[extra]]
    assert [line for line in lines if "==" not in line] == []
    assert {canonicalize_name(Requirement(line).name) for line in lines}.isdisjoint(pins())


def test_every_pin_has_hashes_and_no_address() -> None:
    entries = re.split(r"^(?=[A-Za-z0-9])", CONSTRAINTS, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"\S*(?:://|index-url|find-links|trusted-host)\S*", CONSTRAINTS) == []


def test_import_contracts_hold() -> None:
    result = subprocess.run(
        [BIN / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", WORKER_MODULES, ids=lambda path: path.stem)
def test_the_worker_needs_nothing_but_the_standard_library_to_start(path: Path) -> None:
    """What the model brings is imported inside functions, where its absence can be reported."""
    tree = ast.parse(path.read_text())
    names = [
        name
        for node in tree.body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
    ]
    allowed = sys.stdlib_module_names | {"headrace_worker"}
    assert [name for name in names if name.split(".")[0] not in allowed] == []


def test_the_wire_format_brings_no_other_part_of_the_worker() -> None:
    code = "import sys, headrace_worker.wire; print(*(name for name in sys.modules if 'headrace' in name))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert loaded.stdout.split() == ["headrace_worker", "headrace_worker.wire"]


def find_python(version: str) -> str | None:
    """Return an interpreter of this version ('3.9') that runs, from PATH or pyenv, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    beside = [str(path) for path in pyenv.glob(f"{version}.*/bin/python")]
    for candidate in filter(None, [shutil.which(f"python{version}"), *beside]):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        asked = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False, timeout=120)
        if asked.stdout.strip() == version:
            return candidate
    return None


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13"])
def test_the_worker_imports_under_every_python_that_trains_models(version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} found")
    modules = [".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in WORKER_MODULES]
    importable = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    code = f"import importlib\nfor name in {importable!r}: importlib.import_module(name)"
    subprocess.run(
        [python, "-W", "error", "-B", "-S", "-c", code],
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": os.environ["PATH"]},
        check=True,
        timeout=60,
    )


def test_the_readme_has_every_extra() -> None:
    table = (ROOT / "README.md").read_text().partition("| extra |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(PYPROJECT["project"]["optional-dependencies"])
