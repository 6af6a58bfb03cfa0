"""Requests of nobody who means well: whatever a caller does is the caller's fault (4xx), never the server's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

Start = Callable[..., httpx.Client]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_everything_that_the_schema_describes_or_forbids_is_answered_as_it_says(
    client: httpx.Client, mode: GenerationMode
) -> None:
    asked = set()

    def check(case: schemathesis.Case) -> None:
        response = case.call(timeout=10)
        asked.add((case.method, case.path))
        assert response.status_code < 500, response.text
        case.validate_response(response)

    for operation in schemathesis.openapi.from_url(f"{client.base_url}/openapi.json").get_all_operations():
        described = operation.ok()
        # What takes nothing can be given nothing wrong.
        if mode is GenerationMode.NEGATIVE and not described.body:
            continue
        cases = described.as_strategy(generation_mode=mode)
        few = settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        few(given(cases)(check))()
    assert ("POST", "/predict") in asked


def answer(client: httpx.Client, request: bytes) -> bytes:
    """What the server says to these bytes, as they are."""
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=5) as raw:
        received = b""
        # It may hang up as soon as it has seen enough.
        with suppress(OSError):
            raw.sendall(request)
            raw.shutdown(socket.SHUT_WR)
            while part := raw.recv(65536):
                received += part
    return received


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 200-maybe\r\nContent-Length: 0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\x1b[2J\r\n\r\n",
    ],
)
def test_what_is_hardly_http_is_refused_and_the_server_goes_on(client: httpx.Client, request_bytes: bytes) -> None:
    received = answer(client, request_bytes)
    # Nothing at all, or a line with a status that is not the server's fault.
    assert received == b"" or received.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")), received[:200]
    assert b"\x1b" not in received
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/model/../../keys", "//etc/passwd", "/predict/..;/keys", "/%00"],
)
def test_no_path_leads_to_a_file(client: httpx.Client, path: str) -> None:
    received = answer(client, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert received.startswith(b"HTTP/1.1 404 "), received[:200]


def test_many_who_never_finish_their_request_do_not_keep_the_others_waiting(
    start: Start, wine: dict[str, float]
) -> None:
    client = start(request_timeout_seconds=1, max_concurrent_requests=2)
    port = client.base_url.port or 0
    slow = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(50)]
    try:
        for one in slow:
            # They take no place: their head is not whole.
            one.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\n")
        assert client.post("/predict", json={"inputs": wine}).status_code == 200
        assert client.get("/livez").elapsed.total_seconds() < 1
    finally:
        for one in slow:
            one.close()


def test_a_key_file_and_a_model_are_read_and_never_shown(start: Start, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("hunter2hunter2hunter2\n", encoding="utf-8")
    client = start(api_keys_file=tmp_path / "keys")
    for path in ("/predict", "/openapi.json", "/metrics", "/livez", "/nothing"):
        for method in ("GET", "POST", "TRACE", "OPTIONS"):
            answered = client.request(method, path, headers={"x-forwarded-for": "hunter2"})
            assert answered.status_code < 500
            assert "hunter2" not in answered.text
            assert str(tmp_path) not in answered.text
