"""Answers of the gateway itself: health, lists, errors of clients, and models that cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from headrace.core.escaping import header_bytes, header_value
from headrace.gateway import describing
from headrace.gateway.http import answers
from headrace.gateway.http.targets import PREDICTIONS, Want

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.core.protocol import messages
    from headrace.gateway.counters import GatewayCounters
    from headrace.gateway.exchange import Client, Exchange
    from headrace.gateway.pools.pool import Pool

_OF_THE_SERVER = frozenset({Want.MODELS, Want.SERVER, Want.LIVE, Want.INDEX})


class LocalAnswers:
    """Answers by the newest table: `routes`, and the pool of each model that is `serving`, and what `ready` asks."""

    def __init__(self, counters: GatewayCounters) -> None:
        self._counters = counters
        self._routes: Mapping[str, messages.Route] = {}
        self._serving: Mapping[str, Pool] = {}
        self._ready = "all"
        self._described = describing.Descriptions(self._is_ready, self.why_not)

    def configure(
        self, routes: Mapping[str, messages.Route], serving: Mapping[str, Pool], pools: Mapping[str, Pool], ready: str
    ) -> None:
        """Apply the newest table."""
        self._routes, self._serving, self._ready = routes, serving, ready
        self._described.configure(routes, pools)
        for model in routes:
            self._counters.other.setdefault(("invocations", model, 503), 0)

    def answer(self, exchange: Exchange, client: Client, now_s: float) -> None:
        """Answer a request of `client` without a worker."""
        request = exchange.request
        want, model, detail, protocol = request.target
        if request.problem:
            self._fail(exchange, request.problem_code, request.problem, now_s)
        elif want == Want.PREFLIGHT:
            self._reply(exchange, 204, b"", now_s, content_type=None)
        elif want in {Want.HEALTH, Want.READY}:
            self._answer_health(exchange, client, model, now_s)
        elif want in {Want.NOT_FOUND, Want.MCP}:
            body = answers.protocol_error(protocol, "NOT_FOUND", "Not Found") if protocol else answers.NOT_FOUND
            self._reply(exchange, 404, body, now_s)
        elif want == Want.WRONG_METHOD:
            body = (
                answers.protocol_error(protocol, "BAD_REQUEST", "Method Not Allowed")
                if protocol
                else answers.METHOD_NOT_ALLOWED
            )
            self._reply(exchange, 405, body, now_s, extra=b"allow: %b\r\n" % detail)
        elif want == Want.REDIRECT:
            base = b"%b://%b" % (client.port.scheme, request.host) if request.host else b""
            extra = b"location: %b\r\n" % header_bytes(base + detail)
            self._reply(exchange, 307, b"", now_s, content_type=None, extra=extra)
        elif want == Want.DOCS:
            head = describing.PAGE_HEAD
            self._reply(exchange, 200, describing.page(), now_s, content_type=describing.HTML, extra=head)
        elif want in _OF_THE_SERVER:
            self._answer_for_all(exchange, client, now_s)
        elif want == Want.WRONG_MODEL or (model not in self._routes and client.port.model is None):
            self._answer_unknown_model(exchange, client, now_s)
        elif want == Want.VERSION and (pool := self._pool(model)) is not None:
            self._reply(exchange, 200, pool.version.config.mlflow_version.encode(), now_s)
        elif want == Want.LOAD:
            self._fail(exchange, "BAD_REQUEST", describing.REFUSED_LOAD, now_s)
        elif want == Want.METADATA and (pool := self._pool(model)) is not None:
            self._describe(exchange, pool, now_s)
        elif want == Want.OPENAPI and (pool := self._pool(model)) is not None:
            told = self._described.openapi(model or "", pool, is_own_port=client.port.model is not None)
            self._reply(exchange, 200, msgspec.json.encode(told), now_s)
        else:
            self._fail(exchange, "TEMPORARILY_UNAVAILABLE", self.why_not(model or ""), now_s, retry_after_s=1)

    def _pool(self, model: str | None) -> Pool | None:
        return self._serving.get(model) if model is not None else None

    def overloaded(self, exchange: Exchange, now_s: float) -> None:
        """Refuse a request because there is no memory for it."""
        message = "The gateway holds as many bytes of requests as it may; try again in a moment."
        self._fail(exchange, "OVERLOADED", message, now_s, retry_after_s=1)

    def refuse(self, exchange: Exchange, code: str, message: str, now_s: float) -> None:
        """A request cannot be given to a model, or carried out."""
        self._fail(exchange, code, message, now_s, retry_after_s=5 if answers.http_status(code) == 503 else 0)

    def knows(self, model: str) -> bool:
        """Whether there is a model of this name."""
        return model in self._routes

    def tell(self, exchange: Exchange, body: bytes, now_s: float) -> None:
        """A request was carried out elsewhere: this is what came of it."""
        self._reply(exchange, 200, body, now_s)

    def unknown_version(self, exchange: Exchange, wanted: str, there: list[str], now_s: float) -> None:
        """A request asks for a version that does not serve."""
        message = describing.unknown_version(exchange.request.target.model, wanted, there)
        self._fail(exchange, "NOT_FOUND", message, now_s)

    def versions(self, model: str) -> dict[str, Pool]:
        """The versions that a request for `model` may name, with the pool of each."""
        return self._described.versions(model)

    def why_not(self, model: str) -> str:
        """Why no version of `model` can answer."""
        route = self._routes.get(model)
        if route is None:
            return f"Model '{model}' is not configured yet."
        if route.pool is None:
            return f"Model '{model}' does not serve yet: {route.reason or 'it is being loaded'}."
        if route.unwell:
            return f"Model '{model}' is not well: {route.unwell}."
        return f"Model '{model}' has no running worker: {route.reason or 'a new one is being started'}."

    def _answer_health(self, exchange: Exchange, client: Client, model: str | None, now_s: float) -> None:
        if model is not None and model not in self._routes and client.port.model is None:
            self._answer_unknown_model(exchange, client, now_s)
            return
        models = [model] if model is not None else sorted(self._routes)
        down = [name for name in models if not self._is_ready(name)]
        enough = not down or (model is None and self._ready == "any" and len(down) < len(models))
        seen = exchange.request.visible(models)
        if models and enough:
            failing = "; ".join(f"{name}: {why}" for name in seen if (why := self._failing(name)))
            extra = b"headrace-failing: %b\r\n" % header_value(failing[:500]) if failing else b""
            well = describing.well(exchange) if exchange.request.target.protocol else b"\n"
            self._reply(exchange, 200, well, now_s, extra=extra)
            return
        told = " ".join(self.why_not(name) for name in down if name in seen) or "Not every model can answer."
        why = told if models else "No model is configured yet."
        self._fail(exchange, "TEMPORARILY_UNAVAILABLE", why, now_s, retry_after_s=1)

    def _answer_for_all(self, exchange: Exchange, client: Client, now_s: float) -> None:
        """Answer what is asked of the whole server, or of one model as if it were the whole."""
        want, model, _, protocol = exchange.request.target
        port_model = model if model is not None else client.port.model
        there = exchange.request.visible(self._routes if port_model is None else [port_model])
        told: Any
        if want == Want.LIVE:
            self._reply(exchange, 200, describing.well(exchange), now_s)
            return
        if want == Want.SERVER:
            told = self._described.server()
        elif want == Want.INDEX:
            try:
                told = self._described.index(there, exchange.body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._fail(exchange, "BAD_REQUEST", 'The body must be empty or a JSON object: {"ready": true}.', now_s)
                return
        else:
            told = describing.models(there, protocol) if protocol else self._list_models(exchange)
        self._reply(exchange, 200, msgspec.json.encode(told), now_s)

    def _describe(self, exchange: Exchange, pool: Pool, now_s: float) -> None:
        """Answer what a model takes and gives."""
        _, model, detail, _ = exchange.request.target
        try:
            told = self._described.model(model or "", detail.decode("utf-8", "replace"), pool)
        except describing.Missing as missing:
            self._fail(exchange, "NOT_FOUND", str(missing), now_s)
        else:
            self._reply(exchange, 200, msgspec.json.encode(told), now_s)

    def _answer_unknown_model(self, exchange: Exchange, client: Client, now_s: float) -> None:
        port_model = client.port.model
        there = exchange.request.visible(self._routes if port_model is None else [port_model])
        names = ", ".join(f"'{name}'" for name in there) or "none"
        message = f"There is no model '{exchange.request.target.model}' here; there are: {names}."
        self._fail(exchange, "NOT_FOUND", message, now_s)

    def _is_ready(self, model: str) -> bool:
        pool = self._serving.get(model)
        if pool is None or self._routes[model].unwell:
            return False
        return len(pool.crew) > 0 or pool.version.config.asleep

    def _failing(self, model: str) -> str:
        """Why a model that is ready is of no use; empty where nothing is known against it."""
        route = self._routes.get(model)
        return route.failing if route is not None else ""

    def _list_models(self, exchange: Exchange) -> list[dict[str, Any]]:
        models = []
        for model in exchange.request.visible(self._routes):
            pool = self._serving.get(model)
            label = pool.version.config.label if pool is not None else None
            failing = bool(self._failing(model))
            models.append({"name": model, "label": label, "ready": self._is_ready(model), "failing": failing})
        return models

    def _reply(
        self,
        exchange: Exchange,
        status: int,
        body: bytes,
        now_s: float,
        *,
        content_type: bytes | None = answers.JSON,
        extra: bytes = b"",
    ) -> None:
        self._count(exchange, status)
        exchange.reply_with(status, body, now_s, content_type=content_type, extra=extra)

    def _fail(self, exchange: Exchange, code: str, message: str, now_s: float, *, retry_after_s: int = 0) -> None:
        self._count(exchange, answers.http_status(code))
        exchange.fail(code, message, now_s, retry_after_s=retry_after_s)

    def _count(self, exchange: Exchange, status: int) -> None:
        want, model, *_ = exchange.request.target
        if want == Want.FEEDBACK:
            key = ("feedback", model if model is not None and model in self._routes else "", status)
        elif want in PREDICTIONS:  # a model that has no version to take it: the error is the model's, too
            key = ("invocations", model if model is not None and model in self._routes else "", status)
        else:
            key = (want.name.lower(), "", status)
        other = self._counters.other
        other[key] = other.get(key, 0) + 1
