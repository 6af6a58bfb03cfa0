"""Traces for OpenTelemetry. Imported only where OTEL_EXPORTER_OTLP_ENDPOINT names a collector; the SDK reads its other
variables (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, …) by itself."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractContextManager
from functools import partial

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .guard import OPEN_PATHS, labels_of

CLOSE_SECONDS = 2


class Traces:
    """Where spans go: in batches, from a thread of their own, so that no request waits for a collector."""

    def __init__(self, service: str) -> None:
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: service}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        # An exception's text may hold what a caller sent.
        quiet = {"record_exception": False, "set_status_on_exception": False}
        self.span = partial(self._provider.get_tracer(__name__).start_as_current_span, **quiet)

    def inference(self, inputs: int) -> AbstractContextManager[Span]:
        return self.span("inference", attributes={"ml_api.inputs": inputs})

    async def close(self) -> None:
        """Send what waits; a collector that does not answer must not hold the pod."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        await asyncio.to_thread(sending.join, CLOSE_SECONDS)


class Trace:
    """One span per request, in its caller's trace if there is a `traceparent`; the log's lines have its trace's id.

    Probes and scrapes have none. Names come from fixed sets, and nothing that a caller writes is in them: FastAPI's own
    telemetry has the path and the query string, in which people put keys.
    """

    def __init__(self, app: ASGIApp, traces: Traces, handlers: frozenset[str]) -> None:
        self.app = app
        self._span = traces.span
        self._handlers = handlers
        self._callers = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        method, handler = labels_of(scope, self._handlers)
        # Not `tracestate`, which is free text.
        parent = {"traceparent": value} if (value := Headers(scope=scope).get("traceparent")) else {}
        with self._span(
            f"{method} {handler}",
            context=self._callers.extract(parent),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": handler},
        ) as span:

            async def send_traced(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            trace_id = format_trace_id(span.get_span_context().trace_id)
            with structlog.contextvars.bound_contextvars(trace_id=trace_id):
                await self.app(scope, receive, send_traced)
