"""What a body costs grows as its size does: the work for a body twice as large is at most about twice as much."""

import functools

import pytest

from tests.unit.worker.forms import FORMS, JSON, count
from tests.unit.worker.models import ask, load
from tests.unit.worker.work import work

SIZE = 400
SMALL = 4400
REFUSED = [name for name, form in FORMS.items() if form.status != 200]


@pytest.mark.parametrize(
    ("form", "errors"), [(name, "mlflow") for name in FORMS] + [(name, "strict") for name in REFUSED]
)
def test_twice_the_size_is_twice_the_work(form: str, errors: str) -> None:
    made = FORMS[form]
    spent = []
    for size in (SIZE, 2 * SIZE):
        # Limits are looked for in all but the smallest bodies: none of these is.
        body = made.body(size) + (b" " * SMALL if made.kind == JSON and not made.coding else b"")
        ask(load(count, made.inputs, params=made.params, errors=errors)[0], body, head=made.head)  # imports
        scorer, impl = load(count, made.inputs, params=made.params, errors=errors, max_nesting=100)
        spent.append(work(functools.partial(ask, scorer, body, head=made.head)))
        spent[-1] += sum(getattr(data, "size", 0) for data in impl.calls)
    assert spent[1] < 2.5 * spent[0], spent


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_answered_as_it_should_be(form: str) -> None:
    made = FORMS[form]
    scorer, impl = load(count, made.inputs, params=made.params)
    (answer,) = ask(scorer, made.body(SIZE), head=made.head)
    assert answer.status == made.status, answer.body[:300]
    assert bool(impl.calls) == (made.status == 200)
