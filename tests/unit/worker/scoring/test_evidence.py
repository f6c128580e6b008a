"""What a model's answers have shown, and what may be merged after that."""

from __future__ import annotations

from headrace_worker.scoring.evidence import CHECKS, ENOUGH, MAX_KINDS, Evidence

TEXTS, TABLE = ("inputs", "texts"), ("dataframe_split", "table")


def test_a_kind_may_be_merged_once_two_numbers_of_rows_were_answered() -> None:
    evidence = Evidence(None)
    assert not evidence.may_merge(TEXTS, 5)
    assert evidence.saw(TEXTS, 2, 2)
    assert not evidence.may_merge(TEXTS, 2), "it may answer two whatever it is asked"
    assert evidence.may_merge(TEXTS, 5)
    assert not evidence.may_merge(TABLE, 5)
    evidence.saw(TEXTS, 3, 3)
    assert evidence.may_merge(TEXTS, 2)
    assert evidence.may_merge(TEXTS, 3)


def test_another_number_of_rows_ends_it_for_that_kind_for_good() -> None:
    evidence = Evidence(None)
    for rows in (2, 3):
        evidence.saw(TEXTS, rows, rows)
        evidence.saw(TABLE, rows, rows)
    assert not evidence.saw(TEXTS, 4, 1)
    assert evidence.news == "inputs: 4 rows were answered with 1"
    assert not evidence.is_exact(TEXTS)
    assert evidence.saw(TEXTS, 4, 4)
    assert not evidence.may_merge(TEXTS, 9)
    assert evidence.may_merge(TABLE, 9)
    evidence.news = None
    evidence.saw(TEXTS, 4, None)
    assert evidence.news is None, "told once"


def test_what_is_refused_is_never_merged_and_the_first_reason_stays() -> None:
    evidence = Evidence(None)
    evidence.saw(TEXTS, 2, 2)
    evidence.refuse("it ranks")
    evidence.refuse("it rounds")
    assert (evidence.unmergeable, evidence.news) == ("it ranks", "it ranks")
    assert not evidence.may_merge(TEXTS, 5)
    assert not Evidence("no rows").may_merge(TEXTS, 5)


def test_the_first_requests_are_looked_at_alone_and_ever_fewer_calls_later() -> None:
    evidence = Evidence(None)
    assert evidence.owed(TEXTS) == CHECKS
    for _ in range(CHECKS - 1):
        evidence.checked(TEXTS)
    assert evidence.owed(TEXTS) == 1
    evidence.checked(TEXTS)
    looked_at = [call for call in range(1, 1000) if evidence.owed(TEXTS)]
    assert looked_at == [64, 128, 256, 512]
    assert evidence.owed(TABLE) == CHECKS


def test_kinds_that_clients_make_up_are_bounded() -> None:
    evidence = Evidence(None)
    for number in range(2 * MAX_KINDS):
        evidence.saw(("inputs", number), 2, 2)
    assert sum(evidence.may_merge(("inputs", number), 5) for number in range(2 * MAX_KINDS)) <= MAX_KINDS


def test_a_doubt_is_settled_for_its_reason_and_after_many_for_the_type() -> None:
    evidence = Evidence(None)
    evidence.confirm("float64", 1.0)
    assert evidence.is_confirmed("float64", 1.0)
    assert not evidence.is_confirmed("float64", 2.0)
    assert not evidence.is_trusted("float64")
    for number in range(ENOUGH):
        evidence.confirm("float64", number)
    assert evidence.is_trusted("float64")
    assert evidence.is_confirmed("float64", "anything")
    assert not evidence.is_trusted("int64")
