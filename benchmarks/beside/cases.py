"""What is asked of each server: which models it serves, what is sent, over how many connections.

Every text is one of the headlines below with a number after it, so that no server answers from a cache it was not
asked to have. `bodies` are what MLflow's scoring protocol wants; servers with a protocol of their own translate.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

HEADLINES = (
    "Chip maker unveils faster processor for phones",
    "Central bank holds rates as inflation eases",
    "Striker scores twice as visitors win away",
    "Ministers meet to discuss ceasefire proposal",
    "Software giant patches flaw in its browser",
    "Shares fall after oil producer cuts forecast",
    "Olympic champion withdraws with knee injury",
    "Voters go to the polls in close election",
)
KINDS = 512
"""Different bodies a case sends, in turn."""


@dataclass(frozen=True)
class Case:
    """`model` is the kind of model served, `rows` what one request holds, `unit` what is counted in the table.

    `repeated`: all requests are the same (the cache's case). `idle` connections are held open meanwhile.
    """

    name: str
    title: str
    model: str
    connections: int
    rows: int = 1
    repeated: bool = False
    models: int = 1
    idle: int = 0


CASES = (
    Case("single-1", "one text, 1 connection", "topic", 1),
    Case("single-16", "one text, 16 connections", "topic", 16),
    Case("single-64", "one text, 64 connections", "topic", 64),
    Case("single-256", "one text, 256 connections", "topic", 256),
    Case("texts-256", "256 texts a request, 8 connections", "topic", 8, rows=256),
    Case("iris-64", "iris rows with a signature, 64 connections", "iris", 64),
    Case("slow-64", "a model that takes 20 ms, 64 connections", "slow", 64),
    Case("cache-64", "the same text again, cache on, 64 connections", "topic-cached", 64, repeated=True),
    Case("models-10", "10 models on one port, 64 connections", "topic-ten", 64, models=10),
    Case("idle-10000", "one text, 16 connections, 10,000 idle ones", "topic", 16, idle=10_000),
)
MODELS_BEHIND = {"topic": "topic", "iris": "iris", "slow": "slow", "topic-cached": "topic", "topic-ten": "topic"}
"""Which trained model a kind of serving needs."""


def texts(count: int, seed: int = 0) -> list[str]:
    """So many texts, all different, the same in every run."""
    chance = random.Random(seed)  # noqa: S311 - test data
    return [f"{chance.choice(HEADLINES)} {number}" for number in range(count)]


def payloads(case: Case) -> list[object]:
    """The JSON documents of a case, as MLflow's scoring protocol has them."""
    kinds = 1 if case.repeated else KINDS if case.rows == 1 else 16
    if case.model == "iris":
        columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
        chance = random.Random(1)  # noqa: S311 - test data
        rows = [[round(chance.uniform(0.1, 8.0), 1) for _ in columns] for _ in range(kinds)]
        return [{"dataframe_split": {"columns": columns, "data": [row]}} for row in rows]
    every = texts(kinds * case.rows)
    return [{"inputs": every[at : at + case.rows]} for at in range(0, len(every), case.rows)]
