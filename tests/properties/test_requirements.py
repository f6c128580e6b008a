"""Whatever stands in a model's requirements, it is understood in full or refused, and order means nothing."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.environments.requirements import parse, requirement_of
from headrace.core.errors import RequirementRefused

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,8}[A-Za-z0-9]", fullmatch=True)
LINES = st.builds("{}{}{}".format, NAMES, st.sampled_from(["==", ">=", "~="]), st.sampled_from(["1.0", "2.3.4"]))
PIECES = st.lists(
    st.sampled_from(
        ["-r ",
         "-c ", "--index-url", "=", " ", "\\", "\n", "\r\n", "#", ";", "@", "../", "/", "https://", "git+", "file:",
         "six", "==1.0", "${X}", "\x00", "--hash=sha256:", "0" * 64, "'", '"', "&&", "$(x)", ".whl", "-e", "[a]"]
    ),
    max_size=12,
).map("".join)  # fmt: skip


def no_file(name: str) -> str:
    raise FileNotFoundError(name)


@given(text=st.one_of(st.text(), PIECES))
def test_nothing_gets_through_that_was_not_understood(text: str) -> None:
    with contextlib.suppress(RequirementRefused):
        found = parse(text, "r", no_file)
        for line in (*found.packages, *found.constraints):
            assert not line.startswith("-")
            assert requirement_of(line).name.replace("-", "").isalnum()
        for path in found.paths:
            assert not path.startswith(("/", "-", "~"))
            assert ".." not in path.split("/")
        written = [*found.packages, *found.constraints, *found.paths, *found.options]
        assert not any(c in line for line in written for c in "\n\r\0")
        assert not any("${" in line for line in written)


@given(lines=st.lists(LINES, max_size=6), data=st.data())
def test_order_case_and_repetition_mean_nothing(lines: list[str], data: st.DataObject) -> None:
    other = data.draw(st.permutations(lines)) + data.draw(
        st.lists(st.sampled_from(lines), max_size=2) if lines else st.just([])
    )
    other = [line.upper() if data.draw(st.booleans()) else line for line in other]
    assert parse("\n".join(lines), "r", no_file) == parse("\n\n".join(other) + "  # end", "r", no_file)


@given(lines=st.lists(LINES, max_size=6))
def test_what_was_understood_is_understood_again_the_same(lines: list[str]) -> None:
    once = parse("\n".join(lines), "r", no_file)
    assert parse("\n".join(once.packages), "r", no_file) == once
