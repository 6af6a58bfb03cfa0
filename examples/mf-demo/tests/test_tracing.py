"""Traces, as a collector gets them."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from .conftest import PROJECT, Process, eventually

Launch = Callable[..., Process]
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Collector:
    """Takes what is sent to /v1/traces; with `silent` it takes a request and never answers."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.silent = threading.Event()
        self.ended = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if collector.silent.is_set():
                    collector.ended.wait(30)
                    return
                collector.bodies.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests()
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.ended.set()
    collector.server.shutdown()
    collector.server.server_close()
    thread.join()


def ready(process: Process) -> None:
    eventually(lambda: process.answers("/readyz"), 20)


def attributes(span: Span) -> dict[str, object]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_request_is_a_span_in_its_callers_trace_and_the_inference_one_below(
    launch: Launch, collector: Collector, wine: dict[str, float], workers: int
) -> None:
    process = launch(workers=workers, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    ready(process)
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=state-secret"}
    httpx.post(f"{process.url}/predict", json={"inputs": [wine, wine]}, headers=headers, verify=False)
    httpx.post(f"{process.url}/predict", json={"inputs": []}, headers={"traceparent": "nonsense"}, verify=False)
    httpx.request("BREW", f"{process.url}/a-made-up-path?token=query-secret", verify=False)
    process.get("/metrics")
    process.terminate()
    assert process.wait() == 0, "what waited was sent before the end"

    spans = {(span.name, attributes(span).get("http.response.status_code")): span for span in collector.spans()}
    assert set(spans) == {("POST /predict", 200), ("inference", None), ("POST /predict", 422), ("other other", 404)}
    request, inference = spans["POST /predict", 200], spans["inference", None]
    assert request.trace_id == inference.trace_id == bytes.fromhex(TRACE)
    assert request.parent_span_id == bytes.fromhex(CALLER)
    assert request.kind == Span.SPAN_KIND_SERVER
    assert inference.parent_span_id == request.span_id
    assert request.start_time_unix_nano <= inference.start_time_unix_nano
    assert inference.end_time_unix_nano <= request.end_time_unix_nano
    assert attributes(inference) == {"ml_api.inputs": 2}
    assert spans["POST /predict", 422].trace_id != request.trace_id
    for secret in (b"made-up", b"query-secret", b"state-secret", b"BREW"):
        assert all(secret not in body for body in collector.bodies)
    resource = {
        one.key: one.value.string_value for one in collector.requests()[0].resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "mf-demo"
    (line,) = [line for line in process.lines() if line.get("status") == "200" and line.get("method") == "POST"]
    assert line["trace_id"] == TRACE


def test_what_a_model_says_when_it_fails_is_in_no_span(
    launch: Launch, collector: Collector, wine: dict[str, float]
) -> None:
    process = launch("tests.slow_server", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, FAILS_WITH="input-secret")
    ready(process)
    assert httpx.post(f"{process.url}/predict", json={"inputs": wine}, verify=False).status_code == 500
    process.terminate()
    assert process.wait() == 0
    statuses = {span.name: span.status.code for span in collector.spans()}
    assert statuses["POST /predict"] == Status.STATUS_CODE_ERROR
    assert all(b"input-secret" not in body for body in collector.bodies)


def test_its_name_can_be_given_in_both_of_opentelemetrys_ways(launch: Launch, collector: Collector) -> None:
    for variables in ({"OTEL_SERVICE_NAME": "churn"}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=churn"}):
        collector.bodies.clear()
        process = launch(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **variables)
        ready(process)
        process.get("/nowhere")
        process.terminate()
        assert process.wait() == 0
        (resource,) = collector.requests()[0].resource_spans
        names = [one.value.string_value for one in resource.resource.attributes if one.key == "service.name"]
        assert names == ["churn"]


def test_a_collector_that_does_not_answer_costs_no_request_and_does_not_hold_the_end(
    launch: Launch, collector: Collector, wine: dict[str, float]
) -> None:
    collector.silent.set()
    process = launch(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY=10, DRAIN_SECONDS=0.1)
    ready(process)
    for _ in range(20):
        answer = httpx.post(f"{process.url}/predict", json={"inputs": wine}, verify=False)
        assert (answer.status_code, answer.elapsed.total_seconds() < 2) == (200, True)
    process.terminate()
    assert process.wait(6) == 0


def test_nobody_at_the_collectors_address_is_a_line_in_the_log(launch: Launch, wine: dict[str, float]) -> None:
    process = launch(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", DRAIN_SECONDS=0.1)
    ready(process)
    answer = httpx.post(f"{process.url}/predict", json={"inputs": wine}, verify=False)
    assert answer.status_code == 200
    process.terminate()
    assert process.wait(6) == 0
    assert any(line["logger"].startswith("opentelemetry") for line in process.lines())


def test_without_a_collector_none_of_it_is_loaded() -> None:
    # FastAPI has the interface alone, which does nothing.
    program = (
        "HEAVY = ('opentelemetry.sdk', 'opentelemetry.exporter', 'google.protobuf', 'requests');"
        "import sys; from mf_demo.app import create_app; from mf_demo.settings import Settings;"
        "create_app(Settings.from_env({})); print([name for name in sys.modules if name.startswith(HEAVY)])"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    printed = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, env=env, capture_output=True, check=True)
    assert printed.stdout.strip() == b"[]"
