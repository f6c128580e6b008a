"""CSV requests with the same header share a call, and are answered as each alone."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.types import ColSpec, Schema

from headrace_worker import wire
from headrace_worker.scoring import plan as plans
from headrace_worker.scoring.bodies import plain_csv
from tests.unit.worker.models import ask, load

pytestmark = pytest.mark.filterwarnings("ignore")
CSV = wire.head(b"text/csv")
TYPES = {"d": "double", "f": "float", "i": "integer", "l": "long", "b": "boolean", "s": "string"}
SCHEMA = Schema([ColSpec(kind, name, required=name != "s") for name, kind in TYPES.items()])
FITTING = {
    "d": st.one_of(st.floats(), st.sampled_from(["", "NA", "1", "1e400", " 2", "inf", "0x10", "1_0"])),
    "f": st.floats(width=32),
    "i": st.integers(-(2**31), 2**31 - 1),
    "l": st.integers(-(2**63), 2**63 - 1),
    "b": st.sampled_from(["true", "False", "TRUE"]),
    "s": st.one_of(st.sampled_from(["NA", "", "1", "1.0", "a b", "null", "é", "\u2028", "'"]), st.text(max_size=3)),
}
ODD = st.sampled_from(
    ["", "x", "1.5", "-1", str(2**31), str(2**63), "1,2", '"1"', " ", "\n", "\t", "2024-02-29", "#", "nan"]
)


def rows(data: Any, _params: Any) -> Any:
    """What each row is made of, with its types."""
    return [f"{list(row.items())!r} {list(map(str, data.dtypes))}" for row in data.to_dict(orient="records")]


@st.composite
def bodies(draw: st.DrawFn) -> list[bytes]:
    names = draw(st.permutations(list(TYPES)))
    if draw(st.booleans()):
        names = [name for name in names if name != "s"]
    made = []
    for _ in range(draw(st.integers(2, 5))):
        lines = [
            ",".join(str(draw(FITTING[name] if draw(st.integers(0, 40)) else ODD)) for name in names)
            for _ in range(draw(st.integers(1, 3)))
        ]
        made.append("\n".join([",".join(names), *lines]) + draw(st.sampled_from(["", "\n", "\n\n"])))
    return [one.encode("utf-8", "replace") for one in made]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies())
def test_a_body_in_company_is_answered_as_alone(batch: list[bytes]) -> None:
    alone, _ = load(rows, SCHEMA, max_rows=1)
    together, _ = load(rows, SCHEMA)
    wanted = [ask(alone, body, head=CSV)[0] for body in batch]
    for _ in range(2):
        answers = ask(together, *batch, head=CSV)
        for answer, other, body in zip(answers, wanted, batch, strict=True):
            assert (answer.status, answer.rows) == (other.status, other.rows), body
            if answer.status == 200:
                assert answer.body == other.body, body
                oracle = together.oracle
                theirs = oracle.server.invocations(body, "text/csv", together.model, oracle.input_schema).response
                assert answer.body == theirs.encode()


def test_plain_bodies_share_a_call() -> None:
    scorer, impl = load(lambda data, _: list(data["d"]), Schema([ColSpec("double", "d"), ColSpec("string", "s")]))
    batch = [b"d,s\n%d.5,a\n%d.25,b" % (n, n) for n in range(100)]
    answers: list[wire.Answer] = []
    for _ in range(200):  # the first requests of a kind are scored alone, too
        impl.calls.clear()
        answers = ask(scorer, *batch, head=CSV)
        if len(impl.calls) == 1:
            break
    assert len(impl.calls) == 1
    assert [answer.body for answer in answers] == [b'{"predictions": [%d.5, %d.25]}' % (n, n) for n in range(100)]
    assert all(answer.rows == 2 for answer in answers)


@pytest.mark.parametrize(
    "body",
    [
        b'x\n"1"\n',
        b"x\n\n1\n",
        b"x\r\n1\r\n",
        b"x\n1\n\n",
        b"x\n 1\n",
        b"x\n1,2\n",
        b"x,y\n1,2\n",
        b"x,x\n1,2\n",
        b"y\n1\n",
        b"x\n",
        b"",
        b"\xef\xbb\xbfx\n1\n",
        b"x\n\xff\n",
    ],
    ids=range(13),
)
def test_others_are_read_by_themselves(body: bytes) -> None:
    plan = plans.make_plan(Schema([ColSpec("double", "x")]), closed=False)
    assert plain_csv.read(b"x\n1\n", plan) == (("x",), ("d",), ["1"])
    assert plain_csv.read(body, plan) is None


@pytest.mark.parametrize("kind", ["datetime", "binary"])
def test_columns_that_are_converted_by_their_values_are_left_alone(kind: str) -> None:
    plan = plans.make_plan(Schema([ColSpec(kind, "x")]), closed=False)
    assert plain_csv.read(b"x\n1\n", plan) is None


def test_a_model_that_fails_is_asked_once_more_and_not_twice() -> None:
    def fails(_data: Any, _params: Any) -> Any:
        raise ValueError("no")

    scorer, impl = load(fails, Schema([ColSpec("double", "x")]))
    (answer,) = ask(scorer, b"x\n1\n", head=CSV)
    assert (answer.status, len(impl.calls)) == (400, 1)
