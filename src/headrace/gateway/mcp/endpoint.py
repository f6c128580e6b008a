"""``/mcp`` on the shared port: the Model Context Protocol, without sessions.

What is asked of a model becomes a request as any other has it (see `calling`), and goes the way of all others: quotas,
queue, cache, logs. All else is answered here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from headrace.core.contract import about, tools
from headrace.gateway.http.targets import MCP, Want
from headrace.gateway.mcp import calling, replies
from headrace.gateway.mcp.requests import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Fault, Message, read
from headrace_worker import wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.gateway.counters import GatewayCounters
    from headrace.gateway.exchange import Exchange
    from headrace.gateway.pools.pool import Pool

_JSON_TYPES = (b"application/json", b"application/*", b"*/*")


class _Tool(NamedTuple):
    """What ``tools/list`` says of the version that is in `pool`, as JSON, and what kind of dialect it speaks."""

    pool: str
    about: str
    told: msgspec.Raw
    speaks: str


class Endpoint:
    """See the module's docstring. `spoken`: the newest table says that there is one."""

    def __init__(self, counters: GatewayCounters) -> None:
        self._counters = counters
        self._tools: dict[str, str] = {}
        self._serving: Mapping[str, Pool] = {}
        self._known: dict[str, _Tool] = {}
        self.spoken = False

    def configure(
        self, patterns: Sequence[str] | None, models: Mapping[str, object], serving: Mapping[str, Pool]
    ) -> None:
        """Offer those of `models` that fit `patterns` from now on; None: speak no MCP at all."""
        self.spoken = patterns is not None
        self._tools = tools.offered(models, patterns or ())
        self._serving = serving
        self._known = {name: tool for name, tool in self._known.items() if name in self._tools}

    def take(self, exchange: Exchange, now_s: float) -> Exchange | None:
        """Answer what a client posts; returns a request that a model is to answer instead."""
        message = None
        try:
            self._check(exchange)
            message = read(exchange.body, exchange.request.watched)
            return self._answer(exchange, message, now_s)
        except Fault as fault:
            # Up to 2025-11-25 an error of JSON-RPC is a success of HTTP, once there is a request to answer.
            status = fault.status if message is None or message.modern else 200
            self._reply(exchange, status, replies.fault(fault), now_s, b"allow: POST\r\n" if status == 405 else b"")
            return None

    def _check(self, exchange: Exchange) -> None:
        """Raise Fault for a request of HTTP that posts no message."""
        request = exchange.request
        if request.method != b"POST":
            told = "Post messages here: there are no sessions, and no stream of the server's own."
            raise Fault(INVALID_REQUEST, told, status=405)
        kind, coding, accept = wire.split_head(request.wire_head)
        if coding or (kind or b"").partition(b";")[0].strip().lower() != b"application/json":
            raise Fault(
                INVALID_REQUEST, "Send application/json, as it is: no Content-Encoding is taken here.", status=415
            )
        if accept and not any(one in accept.lower() for one in _JSON_TYPES):
            raise Fault(INVALID_REQUEST, "Answers are application/json: name it in Accept.", status=406)
        if len(exchange.body) > replies.MOST_BYTES:
            told = f"A message may have {replies.MOST_BYTES} bytes; send more to the model's /invocations."
            raise Fault(INVALID_REQUEST, told, status=413)

    def _answer(self, exchange: Exchange, message: Message, now_s: float) -> Exchange | None:
        method = message.method
        if message.id is None:
            self._reply(exchange, 202, b"", now_s)  # nothing is remembered between requests that one could act on
        elif method == "tools/call":
            return self._call(exchange, message, now_s)
        elif method == "tools/list":
            self._reply(exchange, 200, replies.listed(message, self._listed(exchange)), now_s)
        elif method == "server/discover" and message.modern:
            self._reply(exchange, 200, replies.discovered(message), now_s)
        elif method == "initialize" and not message.modern:
            self._reply(exchange, 200, replies.initialized(message), now_s)
        elif method == "ping" and not message.modern:
            self._reply(exchange, 200, replies.result(message, {}), now_s)
        else:
            told = f"There is no method {method[:200]!r} here; there are tools/list and tools/call."
            raise Fault(METHOD_NOT_FOUND, told, id=message.id, status=404)
        return None

    def _call(self, exchange: Exchange, message: Message, now_s: float) -> Exchange:
        name = message.params.name
        model = self._tools.get(name or "")
        scope = exchange.request.scope
        if model is not None and scope is not None and not scope.predicts(model):
            if exchange.connection is not None:
                exchange.connection.port.count_forbidden()
            model = None
        if model is None:
            told = f"There is no tool {(name or '')[:200]!r} for you here; tools/list says which there are."
            raise Fault(INVALID_PARAMS, told, id=message.id)
        given = bytes(message.params.arguments)
        arguments = b"{}" if given == b"null" else given
        if arguments[:1] != b"{":
            raise Fault(INVALID_PARAMS, "params.arguments must be an object.", id=message.id)
        tool = self._describe(name or "")
        self._counters.spoke(MCP, model)
        return calling.request(exchange, message, model, tool.speaks if tool is not None else "", arguments, now_s)

    def _listed(self, exchange: Exchange) -> list[msgspec.Raw]:
        scope = exchange.request.scope
        mine = (name for name, model in self._tools.items() if scope is None or scope.predicts(model))
        return [tool.told for name in mine if (tool := self._describe(name)) is not None]

    def _describe(self, name: str) -> _Tool | None:
        """What is known of a tool; None where no version of its model serves yet. Made once for each version."""
        model = self._tools[name]
        pool = self._serving.get(model)
        if pool is None:
            return None
        config = pool.version.config
        known = self._known.get(name)
        if known is None or (known.pool, known.about) != (config.key, config.about):
            said = about.decode(config.about)
            told = msgspec.Raw(msgspec.json.encode(tools.tool(name, model, config.label, said)))
            speaks = said.speaks[0] if said.speaks else ""
            known = self._known[name] = _Tool(config.key, config.about, told, speaks)
        return known

    def _reply(self, exchange: Exchange, status: int, body: bytes, now_s: float, extra: bytes = b"") -> None:
        key = (Want.MCP.name.lower(), "", status)
        self._counters.other[key] = self._counters.other.get(key, 0) + 1
        if body:
            exchange.reply_with(status, body, now_s, extra=extra)
        else:
            exchange.reply_with(status, body, now_s, content_type=None)
