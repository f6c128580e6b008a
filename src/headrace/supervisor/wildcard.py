"""`models: {"*": ...}`: every registered model with an alias is served, comes with it and goes with it.

One list answers for all: a model is asked for only where the list says that its alias has moved, or where it has not
answered yet. What the configuration names explicitly is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

from headrace.config import tree
from headrace.core.admin.left_out import by_reason
from headrace.core.errors import HeadraceError
from headrace.core.identity import parse_model_uri, safe_name
from headrace.registry.messages import Listed
from headrace.registry.store import Store
from headrace.supervisor.running import RunningModels
from headrace.supervisor.served_model import ServedModel
from headrace.supervisor.spreading import spread_s
from headrace.telemetry.logs import Log

_NAME_IT = "give it an entry of its own under models:, with a name"


class Lister(Protocol):
    """The registry agent."""

    async def list_models(self, alias: str, at_most: int) -> Listed:
        """Which registered models have `alias` now; raises HeadraceError."""


class Wildcard:
    """Adds to `models` and takes out what it has added; `make` makes a model, `running` runs it.

    `listed`: it is known which models there are. `publish` sends the routes to the gateways.
    """

    def __init__(
        self,
        config: tree.Wildcard,
        agent: Lister,
        store: Store,
        poll_s: float,
        models: dict[str, ServedModel],
        make: Callable[[str, tree.Model], ServedModel],
        running: RunningModels,
        publish: Callable[[], None],
        log: Log,
    ) -> None:
        self.listed = False
        self.problem = ""
        self._config = config
        self._alias = parse_model_uri(config.uri).selector
        self._agent = agent
        self._store = store
        self._poll_s = poll_s
        self._models = models
        self._explicit = frozenset(models)
        self._make = make
        self._running = running
        self._publish = publish
        self._log = log.bind(wildcard=config.uri)
        self._refresh = asyncio.Event()
        self._versions: dict[str, str] = {}
        self._served: dict[str, str] = {}
        self._ending: set[str] = set()
        self._left_out: dict[str, str] = {}
        self._more = False
        self._names: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Wildcard {self._config.uri} {sorted(self._served)}>"

    def configure(self, config: tree.Wildcard, explicit: Iterable[str], poll_s: float) -> dict[str, tree.Model]:
        """Go by other settings, and leave these names alone; returns what each model that it has added is to be now."""
        self._config, self._explicit, self._poll_s = config, frozenset(explicit), poll_s
        self.refresh()
        return {name: self._settings(registered) for registered, name in self._served.items()}

    def release(self, name: str) -> None:
        """Leave a model that it may have added to the caller: it runs on, and is the caller's to end."""
        self._served = {registered: served for registered, served in self._served.items() if served != name}

    def refresh(self) -> None:
        """Ask the registry now."""
        self._refresh.set()

    async def run(self) -> None:
        """Follow the list until cancelled; the models that were added run on."""
        while True:
            self._refresh.clear()
            await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(spread_s(self._poll_s)):
                    await self._refresh.wait()

    def describe(self) -> dict[str, Any]:
        """What it follows, as data. `more`: still others have the alias, beyond those that are named."""
        return {
            "uri": self._config.uri,
            "problem": self.problem or None,
            "at_most": self._config.at_most,
            "models": sorted(self._served.values()),
            "left_out": self._left_out,
            "more": self._more,
        }

    async def _look(self) -> None:
        try:
            listed = await self._agent.list_models(self._alias, self._config.at_most)
        except HeadraceError as error:
            if str(error) != self.problem:
                self._log.warning("registry problem", reason=str(error), kept=sorted(self._served.values()))
            self.problem = str(error)
            if not self.listed:
                cached = await asyncio.to_thread(self._store.last_listed, self._alias)
                self._follow(cached or Listed(versions={}))
        else:
            self.problem = ""
            self._follow(listed)
        if not self.listed:
            self.listed = True
            self._publish()

    def _follow(self, listed: Listed) -> None:
        wanted = self._choose(listed)
        for registered in [r for r in self._served if r not in wanted]:
            name = self._served.pop(registered)
            reason = self._left_out.get(registered, f"it has no alias {self._alias!r} any more")
            self._log.info("model goes", model=name, reason=reason)
            self._ending.add(name)
            ending = self._models[name]
            self._running.end(ending, left=partial(self._left, name, ending), gone=partial(self._gone, name))
        for registered, name in wanted.items():
            if registered in self._served:
                model = self._models[name]
                moved = listed.versions[registered] != self._versions.get(registered)
                if moved or model.main.contact.problem or not model.main.contact.asked:
                    model.refresh()
            elif name not in self._ending:  # else the one that goes has not ended yet: at the next look
                settings = self._settings(registered)
                model = self._models[name] = self._make(name, settings)
                self._served[registered] = name
                self._log.info("model comes", model=name, uri=settings.uri)
                self._running.start(model)
        self._versions = dict(listed.versions)
        self._publish()

    def _settings(self, registered: str) -> tree.Model:
        uri = f"models:/{quote(registered, safe='')}@{self._alias}"
        values = {f: getattr(self._config, f) for f in tree.Model.__struct_fields__}
        return tree.Model(**{**values, "uri": uri})

    def _choose(self, listed: Listed) -> dict[str, str]:
        """{registered name: name to serve it by} of what is served; the rest is left out, and told."""
        wanted, left_out = by_served_name(listed.versions, self._explicit)
        self._names = frozenset(wanted.values())
        beyond = f"at_most: {self._config.at_most} models come before by name; raise it, or give this one an entry"
        left_out |= {one: beyond for one in listed.beyond if safe_name(one) not in self._explicit}
        if (left_out, listed.more) != (self._left_out, self._more) and (left_out or listed.more):
            served_otherwise = listed.more is False and all(safe_name(one) in self._explicit for one in left_out)
            tell = self._log.info if served_otherwise else self._log.warning
            tell("models left out", count=len(left_out), more=listed.more, models=dict(by_reason(left_out)))
        self._left_out, self._more = left_out, listed.more
        return wanted

    def _left(self, name: str, model: ServedModel) -> None:
        if self._models.get(name) is model:  # else the configuration has a model of this name now
            del self._models[name]
            self._publish()

    def _gone(self, name: str) -> None:
        self._ending.discard(name)
        self._log.info("model gone", model=name)
        if name in self._names:  # another one is to be served by it
            self.refresh()


def by_served_name(registered: Iterable[str], explicit: AbstractSet[str]) -> tuple[dict[str, str], dict[str, str]]:
    """({registered name: name to serve it by}, {registered name: why it is not served}).

    Where several would be served by one name, the one that is called so in the registry is, and none where none is:
    who has asked for a name gets no other model's answers, whichever was there first.
    """
    claims: dict[str, list[str]] = {}
    for one in sorted(registered):
        claims.setdefault(safe_name(one), []).append(one)
    wanted: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, claimants in claims.items():
        if name in explicit:
            left_out |= dict.fromkeys(claimants, f"the configuration has a model {name!r} of its own")
        elif len(claimants) == 1:
            wanted[claimants[0]] = name
        elif name in claimants:
            wanted[name] = name
            why = f"the name {name!r} is that of another registered model; {_NAME_IT}"
            left_out |= {one: why for one in claimants if one != name}
        else:
            for one in claimants:
                others = ", ".join(repr(other) for other in claimants if other != one)
                left_out[one] = f"{others} would be served by the name {name!r} as well; {_NAME_IT}"
    return wanted, left_out
