"""Asking served models over HTTP: one call with its tries, within its deadline.

A shell around the decisions of `core.client` (retrying, hedging, balancing). Everything here runs in one event loop,
which makes it the one owner of its state; `AsyncClient` uses the caller's loop, `Client` one of its own (`looping`).
httpx is imported when the first request is sent.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace import __version__
from headrace.client.addresses import check_address, is_loopback, without_credentials
from headrace.client.errors import BadRequest, DeadlineExceeded, Unavailable
from headrace.client.forms import Forms
from headrace.client.options import Options
from headrace.client.replies import Failure, Reply
from headrace.core.client.balancing import Address, Fleet
from headrace.core.client.hedging import HedgePolicy, Latencies
from headrace.core.client.retrying import Budget, may_retry, wait_s

if TYPE_CHECKING:
    import httpx

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
IDLE_CONNECTION_S = 4.0
"""A connection unused for longer is not used again: uvicorn, which MLflow's own server runs on, closes them after 5."""
_LEAST_TRY_S = 0.02


@dataclass
class Call:
    """One call while it runs. `met` is the last failure that was not one of time.

    `deadline_s` is a moment of the loop's clock, infinite without a deadline.
    """

    body: bytes
    options: Options
    started_s: float
    accept: str = JSON
    tries: int = 0
    failures: int = 0
    met: Failure | None = None
    tried: frozenset[int] = frozenset()
    address: Address | None = None
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def deadline_s(self) -> float:
        """When it ends at the latest."""
        return float("inf") if self.options.deadline_s is None else self.started_s + self.options.deadline_s


@dataclass(frozen=True)
class Outcome:
    """A good answer: whole, or the beginning of a stream, whose connection the caller then owns."""

    reply: Reply
    address: str
    tries: int
    took_s: float
    stream: httpx.Response | None = None


class Remote:
    """The addresses of one model and the connections to them. Every method belongs to one event loop."""

    def __init__(
        self, addresses: tuple[str, ...], options: Options, *, verify: ssl.SSLContext | str | bool = True
    ) -> None:
        if not addresses:
            raise BadRequest("no address was given")
        self._targets = tuple(check_address(address) for address in addresses)
        self.urls = tuple(map(without_credentials, self._targets))
        self._options = options
        self._verify = verify
        self._fleet = Fleet(self.urls, options.breaker_policy)
        self._budget = Budget(options.budget, time.monotonic()) if options.budget else None
        self._latencies = Latencies(options.hedge_policy or HedgePolicy())
        self._http: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._forms = Forms()

    def __repr__(self) -> str:
        return f"<Remote {self._fleet.addresses}>"

    async def ask(
        self, body: bytes, options: Options, *, accept: str = JSON, typed: Callable[[], bytes] | None = None
    ) -> Outcome:
        """Send one request until it is answered well or may not be sent again; raises ClientError.

        `typed` writes the same input for a model made of type hints: it is sent where the server turns out to have one.

        Cancelling closes the connection it waits on, which tells the server that nobody waits any more.
        """
        if typed is not None:
            return await self._forms.ask(lambda written: self.ask(written, options, accept=accept), body, typed)
        self._check(options)
        self._client()  # before the clock starts: the first one imports httpx
        call = Call(body, options, time.monotonic(), accept)
        if self._budget is not None:
            self._budget.asked(call.started_s)
        while True:
            result = await self._round(call)
            if isinstance(result, Outcome):
                return result
            if result.final:
                raise self._error(call, result)
            if result.late and time.monotonic() >= call.deadline_s:
                raise self._out_of_time(call, result)
            if not result.late:
                call.met = result
            call.failures += 1
            await self._pause(call, result)

    async def pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """Yield a stream's bytes as they come; raises Unavailable when its connection breaks."""
        import httpx

        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise Unavailable(_reason(error)) from error

    async def close(self) -> None:
        """Close every connection; calls that are in the air end with an error. May be called twice."""
        self._closed = True
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    def _check(self, options: Options) -> None:
        """Raise BadRequest for what one call cannot have of its own: what is counted over all calls of a client."""
        mine = self._options
        if options.budget not in (None, mine.budget):
            raise BadRequest("a call cannot have a retry budget of its own, only none; give the budget to connect")
        if options.breaker_policy not in (None, mine.breaker_policy):
            raise BadRequest("a call cannot have a circuit breaker of its own, only none; give the breaker to connect")

    async def _pause(self, call: Call, failure: Failure) -> None:
        """Wait until the next try may be sent; raises the call's error if there is none."""
        policy = call.options.retry
        now_s = time.monotonic()
        left_s = call.deadline_s - now_s
        if not may_retry(policy, failure.trouble):
            raise self._error(call, failure)
        if failure.lasting and not self._fleet.has_other(now_s, call.tried):
            raise self._error(call, failure)
        if policy.max_tries is not None and call.tries >= policy.max_tries:
            raise self._error(call, failure, "no try is left" if policy.max_tries > 1 else "")
        if self._fleet.has_other(now_s, call.tried):
            wait: float | None = 0.0 if left_s > 0 else None
        else:
            wait = wait_s(policy, failure.trouble, call.failures, left_s, random.random())  # noqa: S311 - no secret
        if wait is None:
            raise self._error(call, failure, "the deadline leaves no time for another try")
        if self._budget is not None and call.options.budget is not None:
            budget_s = self._budget.take(now_s, left_s - _LEAST_TRY_S)
            if budget_s is None:
                raise self._error(call, failure, "the retry budget leaves no other try before the deadline")
            wait = max(wait, budget_s)
        if wait > 0:
            await asyncio.sleep(wait)

    async def _round(self, call: Call) -> Outcome | Failure:
        """One try, or two where the first is slower than nearly all before it and hedging is on."""
        hedge = call.options.hedge_policy
        after_s = self._latencies.hedge_after_s(hedge) if hedge is not None else None
        if after_s is None:
            return await self._try(call)
        tries = {asyncio.create_task(self._try(call))}
        try:
            done, waiting = await asyncio.wait(tries, timeout=after_s)
            if not done and (self._budget is None or self._budget.take(time.monotonic(), 0.0) is not None):
                waiting.add(asyncio.create_task(self._try(call)))
                tries |= waiting
            result: Outcome | Failure | None = done.pop().result() if done else None
            while waiting and not isinstance(result, Outcome):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if not isinstance(result, Outcome):
                        result = task.result()
            assert result is not None  # noqa: S101 - at least one task was waited for
            return result
        finally:
            for task in tries:
                task.cancel()
            await asyncio.gather(*tries, return_exceptions=True)

    async def _try(self, call: Call) -> Outcome | Failure:
        """Send one request. Raises BadRequest for what httpx will not send, and Unavailable for a closed client."""
        fleet = self._fleet
        left_s = min(call.deadline_s - time.monotonic(), call.options.try_timeout_s or float("inf"))
        if left_s <= 0:
            return Failure.of_time("unsent", "the deadline has passed")
        address = fleet.pick(time.monotonic(), call.tried)
        if address is None and call.options.breaker_policy is None:
            address = min(fleet.addresses, key=lambda a: a.outstanding)
            address.outstanding += 1
        if address is None:
            return Failure.of_connection("unsent", "every address failed too often: its circuit is open", final=True)
        call.address = address
        call.tried |= {address.index}
        if len(call.tried) == len(fleet.addresses):
            call.tried = frozenset({address.index})
        call.tries += 1
        settled = False
        try:
            result = await self._exchange(call, address, left_s)
            settled = True
        finally:
            if not settled:
                fleet.abandoned(address)
        trouble = result.trouble if isinstance(result, Failure) else None
        if trouble is not None and (trouble.kind != "status" or trouble.status in {408, 429, 502, 503, 504}):
            fleet.failed(address, time.monotonic(), trouble.retry_after_s)
        else:
            fleet.worked(address)
        return result

    async def _exchange(self, call: Call, address: Address, left_s: float) -> Outcome | Failure:
        import httpx

        options = call.options
        begun_s = time.monotonic()
        http = self._client()
        headers = {
            **options.headers,
            "Content-Type": JSON,
            "Accept": call.accept,
            "X-Request-Id": call.request_id,
        }
        if left_s != float("inf"):
            headers["Request-Timeout-Ms"] = str(max(1, int(left_s * 1000)))
        timeout = httpx.Timeout(None, connect=options.connect_timeout_s)
        try:
            request = http.build_request(
                "POST",
                f"{self._targets[address.index]}/invocations",
                content=call.body,
                headers=headers,
                timeout=timeout,
            )
        except (httpx.InvalidURL, ValueError, TypeError) as error:
            raise BadRequest(f"{address.url}: {error}") from error
        try:
            async with asyncio.timeout(None if left_s == float("inf") else left_s):
                return await self._answer(http, request, call, address, begun_s)
        except TimeoutError:
            return Failure.of_time("lost", f"no answer within {left_s:.3g} s", left_s)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.ProxyError) as error:
            return Failure.of_connection("unsent", f"no connection: {_reason(error)}", lasting=_is_lasting(error))
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            return Failure.of_connection("lost", f"the connection broke before the answer was whole: {_reason(error)}")
        except RuntimeError as error:
            # httpx says it so when its client is closed while a request is in the air.
            raise Unavailable(f"the client is closed: {error}", tries=call.tries) from error

    async def _answer(
        self, http: httpx.AsyncClient, request: httpx.Request, call: Call, address: Address, begun_s: float
    ) -> Outcome | Failure:
        response = await http.send(request, stream=True)
        keep = False
        try:
            headers = {name.lower(): value for name, value in response.headers.items()}
            is_stream = headers.get("content-type", "").startswith(EVENT_STREAM)
            keep = response.status_code == 200 and is_stream and call.accept == EVENT_STREAM
            body = b"" if keep else await response.aread()
        finally:
            if not keep:
                await response.aclose()
        now_s = time.monotonic()
        reply = Reply(response.status_code, headers, body)
        if reply.status != 200:
            return Failure.of_reply(reply, time.time())
        if not keep and reply.is_json and _is_cut_short(reply):
            return Failure.of_connection("lost", "the answer is not whole")
        self._latencies.add(now_s - begun_s)
        return Outcome(reply, address.url, call.tries, now_s - call.started_s, response if keep else None)

    def _client(self) -> httpx.AsyncClient:
        """The pool of connections, made at the first request."""
        if self._closed:
            raise Unavailable("the client is closed")
        loop = asyncio.get_running_loop()
        if self._http is not None and self._loop is not loop:
            raise Unavailable("the client belongs to another event loop; make one in this loop with aconnect")
        if self._http is None:
            from http.cookiejar import CookieJar, DefaultCookiePolicy

            import httpx

            self._loop = loop
            # What a server wants to be told again next time would tie a client to one of several.
            no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
            self._http = httpx.AsyncClient(
                # Reading the certificates takes longer than many predictions.
                verify=self._verify if any(url.startswith("https") for url in self.urls) else False,
                # A proxy of the environment stands between networks, not between a machine and itself.
                trust_env=not any(map(is_loopback, self.urls)),
                limits=httpx.Limits(
                    max_connections=None, max_keepalive_connections=100, keepalive_expiry=IDLE_CONNECTION_S
                ),
                headers={"User-Agent": f"headrace/{__version__}"},
                cookies=no_cookies,
            )
        return self._http

    def _out_of_time(self, call: Call, late: Failure) -> Any:
        """The error of a call whose last try its deadline has cut off.

        Where hardly any time was left for that try, what the tries before it met says more.
        """
        if call.met is None:
            return self._error(call, late)
        if late.given_s < (call.options.deadline_s or 0.0) / 2:
            return self._error(call, call.met, f"the deadline left only {late.given_s:.3g} s for another try")
        return self._error(call, late, f"the try before it: {call.met.message}")

    def _error(self, call: Call, failure: Failure, why: str = "") -> Any:
        address = call.address.url if call.address else None
        error = failure.error(tries=call.tries, address=address, why=why, request_id=call.request_id)
        if isinstance(error, DeadlineExceeded) and error.code is None:
            error.code = "DEADLINE_EXCEEDED"
        return error


def _is_cut_short(reply: Reply) -> bool:
    """Whether an answer whose length nobody told ended too early: its end is that of the connection."""
    if "content-length" in reply.headers or "transfer-encoding" in reply.headers:
        return False
    try:
        json.loads(reply.body)
    except (ValueError, RecursionError):
        return True
    return False


def _is_lasting(error: BaseException) -> bool:
    """Whether there is no connection because of who answers: a certificate that is not trusted, or no TLS at all."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and cause.reason in {"CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"}:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
