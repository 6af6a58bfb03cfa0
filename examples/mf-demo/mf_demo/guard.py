"""What stands between the network and the endpoints, outermost first: RequestLog, RequireKey, Limits.

Plain ASGI instead of @app.middleware: that one cannot limit a body while it arrives, and copies every request.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Mapping

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .keys import ApiKeys
from .metrics import Metrics
from .schemas import InputProblem, Problem

log = structlog.stdlib.get_logger(__name__)

# For the kubelet and Prometheus, which have no key. They are cheap and read no body, so no limit counts them either.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
PREDICT_PATH = "/predict"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CALLERS_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def labels_of(scope: Scope, handlers: frozenset[str]) -> tuple[str, str]:
    """A request's method and handler, from fixed sets: a caller must not be able to make new time series or spans."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    return method, scope["path"] if scope["path"] in handlers else "other"


def problem_response(
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    problems: list[InputProblem] | None = None,
) -> Response:
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    body = Problem(code=code, message=message, request_id=request_id, problems=problems)
    return Response(body.model_dump_json(exclude_none=True), status, headers=headers, media_type="application/json")


class RequestLog:
    """Gives each request an id, one log line and its metrics; turns a crash into a 500 that tells nothing inside."""

    def __init__(self, app: ASGIApp, metrics: Metrics, handlers: frozenset[str]) -> None:
        self.app = app
        self.metrics = metrics
        self.handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        # A caller's id is kept, so that a trace goes on; but only a harmless one, since it is logged and sent back.
        request_id = given if _CALLERS_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            except Exception:
                log.exception("request failed")
                if status == 0:
                    response = problem_response(500, "internal_error", "the server failed; its log has the request id")
                    await response(scope, receive, send_with_id)
            finally:
                self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method, handler = labels_of(scope, self.handlers)
        # 0: the caller hung up (or the drain's time was over) before there was an answer.
        shown = str(status) if status else "none"
        self.metrics.requests.labels(method, handler, shown).inc()
        self.metrics.request_seconds.labels(method, handler).observe(seconds)
        write = log.debug if handler in OPEN_PATHS else log.error if status >= 500 else log.info
        # No headers, no query string, no body: any of them could hold a secret.
        write("request", method=method, path=scope["path"][:200], status=shown, duration_ms=round(seconds * 1000, 2))


class RequireKey:
    """Answers 401 unless the request has an accepted key: before its body is read, before it takes up a place."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and not self._may_pass(scope):
            response = problem_response(
                401,
                "unauthorized",
                "expected a header 'Authorization: Bearer <key>' with an accepted key",
                {"www-authenticate": "Bearer"},
            )
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        if not self.keys.required:
            return True
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        # Two such headers: a proxy may have checked the other one.
        if len(values) != 1:
            return False
        scheme, _, key = values[0].partition(b" ")
        return self.keys.accepts(key.strip()) and scheme.lower() == b"bearer"


class _BodyTooLarge(Exception):
    pass


class _CallerGone(Exception):
    pass


class Limits:
    """Bounds what one request and all of them together may take: bytes, seconds, places."""

    def __init__(
        self, app: ASGIApp, max_bytes: int, timeout_seconds: float, max_concurrent: int, metrics: Metrics
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.timeout_seconds = timeout_seconds
        self.max_concurrent = max_concurrent
        self.in_flight = 0
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        if scope["path"] != PREDICT_PATH:
            await self._bounded(scope, receive, send)
            return
        # The place is taken before the body is read, so bodies in memory are bounded as well: places x bytes.
        if self.in_flight >= self.max_concurrent:
            message = f"{self.max_concurrent} requests are being answered already; try again later"
            await problem_response(429, "too_many_requests", message, {"retry-after": "1"})(scope, receive, send)
            return
        self._take(1)
        try:
            await self._bounded(scope, receive, send)
        finally:
            self._take(-1)

    def _take(self, places: int) -> None:
        self.in_flight += places
        self.metrics.in_flight.set(self.in_flight)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: bytes | None = None
        answering = False

        async def watched_send(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        deadline = asyncio.timeout(self.timeout_seconds)
        try:
            async with deadline:
                body = await self._read(scope, receive)
                await self.app(scope, _replay(body, receive), watched_send)
            return
        except _CallerGone:
            return
        except _BodyTooLarge:
            message = f"the body has more than {self.max_bytes} bytes; send smaller batches"
            response = problem_response(413, "body_too_large", message)
        except TimeoutError:
            if answering or not deadline.expired():
                raise
            took = f"within {self.timeout_seconds:g} seconds"
            if body is None:
                response = problem_response(408, "body_too_slow", f"the body did not arrive {took}")
            else:
                response = problem_response(504, "timeout", f"there was no answer {took}")
        await response(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        # Said beforehand: refuse before the first byte. Not said (chunked): count.
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > self.max_bytes:
            raise _BodyTooLarge
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _CallerGone
            body += message.get("body", b"")
            if len(body) > self.max_bytes:
                raise _BodyTooLarge
            if not message.get("more_body", False):
                return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive channel that gives the whole body once, and after it whatever the server has to say."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
