"""The server as Kubernetes meets it: a process, its signals, its exit code, its log."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from .conftest import PROJECT, Process, eventually

Launch = Callable[..., Process]
SLOW = "tests.slow_server"


def ready(process: Process) -> None:
    eventually(lambda: process.answers("/readyz"), 10)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_request_in_flight_at_sigterm_is_finished_and_the_exit_code_is_0(
    launch: Launch, wine: dict[str, float], workers: int
) -> None:
    process = launch(SLOW, workers=workers, PREDICT_SECONDS=4, DRAIN_SECONDS=0.1)
    ready(process)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(httpx.post, f"{process.url}/predict", json={"inputs": wine}, timeout=10, verify=False)
        eventually(lambda: "ml_api_predict_in_flight 1.0" in process.get("/metrics").text)
        process.terminate()
        # New connections are refused meanwhile: the chart's preStop pause is for those.
        eventually(lambda: not process.answers("/livez"))
        assert not asked.done()
        assert asked.result().status_code == 200
        assert asked.result().headers["connection"] == "close"
    assert process.wait() == 0
    assert process.messages()[-1].startswith("Finished server process" if workers == 1 else "Stopping parent process")


def test_an_idle_server_leaves_after_the_drain_even_with_open_connections(launch: Launch) -> None:
    process = launch(UVICORN_TIMEOUT_KEEP_ALIVE=600, DRAIN_SECONDS=1)
    ready(process)
    with httpx.Client(verify=False) as kept:
        kept.get(f"{process.url}/livez")
        process.terminate()
        assert process.wait(4) == 0


def test_a_server_with_nobody_connected_leaves_at_once(launch: Launch) -> None:
    process = launch(DRAIN_SECONDS=60)
    ready(process)
    process.terminate()
    assert process.wait(3) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_sigterm_ends_the_drain(launch: Launch, workers: int) -> None:
    process = launch(workers=workers, DRAIN_SECONDS=60)
    ready(process)
    with httpx.Client(verify=False) as kept:
        kept.get(f"{process.url}/livez")
        process.terminate()
        eventually(lambda: process.get("/livez").headers.get("connection") == "close")
        process.terminate()
        assert process.wait(3) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_callers_on_kept_connections_lose_nothing_and_are_sent_away(
    launch: Launch, wine: dict[str, float], workers: int
) -> None:
    process = launch(workers=workers, DRAIN_SECONDS=5, MAX_CONCURRENT_REQUESTS=64)
    ready(process)
    body = json.dumps({"inputs": wine})
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    request = (head + body).encode()

    def ask_until_sent_away() -> int:
        """How many answers came; a connection that ends without a farewell fails the test."""
        with socket.create_connection(("127.0.0.1", process.port), timeout=10) as kept:
            for asked in itertools.count(1):
                kept.sendall(request)
                answer = HTTPResponse(kept)
                answer.begin()
                answer.read()
                assert answer.status == 200
                if answer.headers["connection"] == "close":
                    return asked

    with ThreadPoolExecutor(16) as pool:
        callers = [pool.submit(ask_until_sent_away) for _ in range(16)]
        time.sleep(0.5)
        process.terminate()
        assert all(caller.result() > 1 for caller in callers)
    assert process.wait() == 0


def test_a_request_longer_than_the_drain_is_cut_and_does_not_hold_the_process(
    launch: Launch, wine: dict[str, float]
) -> None:
    process = launch(SLOW, PREDICT_SECONDS=60, DRAIN_SECONDS=0.1, UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN=1)
    ready(process)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(httpx.post, f"{process.url}/predict", json={"inputs": wine}, timeout=10, verify=False)
        eventually(lambda: "ml_api_predict_in_flight 1.0" in process.get("/metrics").text)
        process.terminate()
        assert process.wait(5) == 0
        assert asked.result().status_code == 500
    assert any("timeout graceful shutdown exceeded" in message for message in process.messages())


def test_a_model_that_loads_slowly_leaves_the_process_alive_and_becomes_ready_late(launch: Launch) -> None:
    process = launch(SLOW, LOAD_SECONDS=1.5)
    eventually(lambda: process.answers("/livez"), 10)
    assert process.get("/readyz").status_code == 503
    assert process.get("/livez").elapsed.total_seconds() < 0.5
    ready(process)
    messages = process.messages()
    assert messages.index("model loading") < messages.index("model ready")


def test_sigterm_while_the_model_still_loads_ends_the_process(launch: Launch) -> None:
    process = launch(SLOW, LOAD_SECONDS=60)
    eventually(lambda: process.answers("/livez"), 10)
    process.terminate()
    assert process.wait(3) == 0


def test_a_kept_connection_outlives_what_proxies_expect(launch: Launch) -> None:
    process = launch(UVICORN_TIMEOUT_KEEP_ALIVE=1)
    ready(process)
    with socket.create_connection(("127.0.0.1", process.port), timeout=5) as raw:
        raw.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        started = time.monotonic()
        while raw.recv(1000):
            pass
    # The variable is obeyed: uvicorn's own default would have closed it after 5 seconds.
    assert 0.5 < time.monotonic() - started < 4


def test_wrong_settings_are_all_told_and_nothing_is_started(launch: Launch, tmp_path: Path) -> None:
    process = launch(MAX_CONCURRENT_REQUESTS="many", LOG_LEVEL="loud")
    assert process.wait() == 2
    assert [line["problem"].split(":")[0] for line in process.lines()] == ["MAX_CONCURRENT_REQUESTS", "LOG_LEVEL"]
    for workers in (1, 2):
        keyless = launch(workers=workers, API_KEYS_FILE=tmp_path / "nowhere")
        assert keyless.wait() == 2
        (line,) = keyless.lines()
        assert line["problem"].startswith("API_KEYS_FILE: cannot read")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_is_one_clear_error(launch: Launch, workers: int) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        process = launch(workers=workers, PORT=taken.getsockname()[1])
        assert process.wait() != 0
    assert any("address already in use" in message.lower() for message in process.messages())


def test_every_line_is_json_and_no_secret_is_in_any_of_them(
    launch: Launch, wine: dict[str, float], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("the-accepted-key\n", encoding="utf-8")
    process = launch(API_KEYS_FILE=keys)
    ready(process)
    accepted = {"authorization": "Bearer the-accepted-key", "x-request-id": "trace-1"}
    url = f"{process.url}/predict?token=query-secret"
    # Not a number that could be a time or a duration as well.
    answer = httpx.post(url, json={"inputs": wine | {"alcohol": 13.198273645}}, headers=accepted)
    assert answer.headers["x-request-id"] == "trace-1"
    refused = httpx.post(url, json={"inputs": wine}, headers={"authorization": "Bearer a-guessed-key"})
    wrong = httpx.post(url, json={"inputs": wine | {"hue": "body-secret"}}, headers=accepted)
    assert (answer.status_code, refused.status_code, wrong.status_code) == (200, 401, 422)
    with socket.create_connection(("127.0.0.1", process.port), timeout=5) as raw:
        raw.sendall(b"NONSENSE header-secret\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")
    process.terminate()
    assert process.wait() == 0

    lines = process.lines()
    for line in lines:
        assert {"timestamp", "level", "logger", "message"} <= set(line)
    for secret in (
        "the-accepted-key",
        "a-guessed-key",
        "query-secret",
        "body-secret",
        "header-secret",
        "13.198273645",
    ):
        assert secret not in process.output()
    assert any(line["logger"] == "uvicorn.error" for line in lines)
    (request,) = [line for line in lines if line.get("request_id") == "trace-1" and line["status"] == "200"]
    assert (request["method"], request["path"], request["level"]) == ("POST", "/predict", "info")
    assert any(line["message"] == "API keys read" and line["count"] == 1 for line in lines)


def test_a_request_id_that_is_not_harmless_is_replaced(client: httpx.Client) -> None:
    for given in ("", "x" * 65, "a b", 'a"b', "é"):
        answered = client.get("/livez", headers={"x-request-id": given.encode()}).headers["x-request-id"]
        assert len(answered) == 32
        assert answered != given


def test_probes_are_not_logged_at_info(launch: Launch) -> None:
    process = launch(LOG_LEVEL="info")
    ready(process)
    process.terminate()
    process.wait()
    assert "request" not in process.messages()


def test_the_number_of_threads_follows_the_variable_not_the_machine(launch: Launch) -> None:
    def threads(number: int) -> int:
        # numpy's own threads are another variable's; the chart sets both.
        process = launch(OMP_NUM_THREADS=number, OPENBLAS_NUM_THREADS=1)
        ready(process)
        status = Path(f"/proc/{process._process.pid}/status")
        if not status.exists():
            pytest.skip("needs /proc")
        return int(next(line for line in status.read_text().splitlines() if line.startswith("Threads:")).split()[1])

    # The thread that asks counts as one of onnxruntime's; it starts the others.
    assert threads(5) - threads(1) == 4


def test_nothing_is_written_to_disk(launch: Launch, wine: dict[str, float], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    process = launch(HOME=home, TMPDIR=home, PROMETHEUS_MULTIPROC_DIR="")
    ready(process)
    assert httpx.post(f"{process.url}/predict", json={"inputs": wine}).status_code == 200
    process.terminate()
    process.wait()
    # onnxruntime's telemetry would leave an identifier and a database here.
    assert list(home.rglob("*")) == []
    # Nor prometheus_client its numbers in the working folder, as it would for an empty variable.
    assert list(PROJECT.glob("*.db")) == []
