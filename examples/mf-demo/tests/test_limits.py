from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from .conftest import FakeModel, eventually

Start = Callable[..., httpx.Client]


def in_flight(client: httpx.Client) -> float:
    return metric(client, "ml_api_predict_in_flight")


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next((line.split()[-1] for line in lines if line.startswith(f"{name} ")), 0))


@contextmanager
def asking(client: httpx.Client, wine: dict[str, float], times: int) -> Iterator[list[httpx.Response]]:
    """`times` predictions in flight at once; the list has their answers afterwards."""
    answers: list[httpx.Response] = []
    with ThreadPoolExecutor(times) as pool:
        futures = [pool.submit(client.post, "/predict", json={"inputs": wine}) for _ in range(times)]
        yield answers
        answers.extend(future.result() for future in futures)


def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not(start: Start, wine: dict[str, float]) -> None:
    body = json.dumps({"inputs": wine}).encode()
    client = start(max_request_bytes=len(body))
    headers = {"content-type": "application/json"}
    assert client.post("/predict", content=body, headers=headers).status_code == 200
    refused = client.post("/predict", content=body + b" ", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


def test_a_body_that_does_not_say_its_length_is_limited_too(start: Start, wine: dict[str, float]) -> None:
    client = start(max_request_bytes=1000)

    def chunks(number: int) -> Iterator[bytes]:
        yield from [b" " * 100] * number
        yield json.dumps({"inputs": wine}).encode()

    headers = {"content-type": "application/json"}
    assert client.post("/predict", content=chunks(2), headers=headers).status_code == 200
    assert client.post("/predict", content=chunks(20_000), headers=headers).status_code == 413
    assert in_flight(client) == 0


def test_an_endless_body_is_cut_off_while_it_is_still_being_sent(start: Start) -> None:
    client = start(max_request_bytes=1000)
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=5) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            raw.sendall(b"64\r\n" + b" " * 100 + b"\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_body_announced_as_too_large_is_refused_before_it_is_sent(start: Start) -> None:
    client = start(max_request_bytes=1000)
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=5) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_headers_are_limited_as_well(start: Start) -> None:
    client = start()
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=5) as raw:
        # Which write is the first to fail is the kernel's choice.
        with pytest.raises(OSError):
            raw.sendall(b"GET /livez HTTP/1.1\r\nX-Big: ")
            for _ in range(1000):
                raw.sendall(b"a" * 65536)
    assert client.get("/livez").status_code == 200


def test_more_requests_than_allowed_are_told_to_come_back(
    start: Start, fake: FakeModel, wine: dict[str, float]
) -> None:
    client = start(load_model=lambda: fake, max_concurrent_requests=2, omp_num_threads=2)
    with asking(client, wine, 2) as answers:
        eventually(lambda: in_flight(client) == 2)
        refused = client.post("/predict", json={"inputs": wine})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        # Only predictions are counted: probes and metrics answer, or a busy pod would be restarted.
        for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
            assert client.get(path).status_code == 200, path
        fake.go.set()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert fake.asked == 2
    assert client.post("/predict", json={"inputs": wine}).status_code == 200


def test_a_place_is_given_back_whatever_the_answer_was(start: Start, wine: dict[str, float]) -> None:
    client = start(max_concurrent_requests=1, max_request_bytes=1000)
    for content in (b"{", b"x" * 2000, b"", json.dumps({"inputs": wine}).encode()):
        client.post("/predict", content=content, headers={"content-type": "application/json"})
        assert client.get("/predict").status_code == 405
    assert client.post("/predict", json={"inputs": wine}).status_code == 200


def test_a_place_is_given_back_when_the_caller_hangs_up_while_sending(start: Start, wine: dict[str, float]) -> None:
    client = start(max_concurrent_requests=1)
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=5) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        eventually(lambda: in_flight(client) == 1)
    eventually(lambda: in_flight(client) == 0)
    assert client.post("/predict", json={"inputs": wine}).status_code == 200


def test_a_model_that_takes_too_long_is_a_gateway_timeout(
    start: Start, fake: FakeModel, wine: dict[str, float]
) -> None:
    client = start(load_model=lambda: fake, request_timeout_seconds=0.3, omp_num_threads=1)
    with asking(client, wine, 3) as answers:
        pass
    assert [answer.status_code for answer in answers] == [504] * 3
    assert answers[0].json()["message"] == "there was no answer within 0.3 seconds"
    # The two that only waited for the thread were taken back: the model never saw them.
    assert fake.asked == 1
    assert client.get("/livez").status_code == 200
    fake.go.set()
    eventually(lambda: client.post("/predict", json={"inputs": wine}).status_code == 200)


def test_a_body_that_arrives_too_slowly_is_the_callers_timeout(start: Start, wine: dict[str, float]) -> None:
    client = start(request_timeout_seconds=0.3, max_concurrent_requests=1)
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=5) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert raw.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert client.post("/predict", json={"inputs": wine}).status_code == 200


def test_other_requests_are_answered_while_the_model_works(
    start: Start, fake: FakeModel, wine: dict[str, float]
) -> None:
    client = start(load_model=lambda: fake)
    with asking(client, wine, 1):
        eventually(lambda: fake.asked == 1)
        assert client.get("/livez").elapsed.total_seconds() < 1
        fake.go.set()


def test_a_crash_in_the_model_is_a_500_that_tells_nothing_inside(start: Start, wine: dict[str, float]) -> None:
    class Crashing(FakeModel):
        def predict(self, rows: object) -> list[object]:  # type: ignore[override]
            raise RuntimeError("password=hunter2")

    client = start(load_model=Crashing)
    response = client.post("/predict", json={"inputs": wine})
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert "hunter2" not in response.text
    assert in_flight(client) == 0
