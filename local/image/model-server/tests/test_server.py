"""The server with its own model, over a real socket: ready, answers its sample, refuses what it must."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).parent.parent
CARD = json.loads((SERVER / "model" / "model.json").read_text(encoding="utf-8"))
SAMPLE = CARD["sample"]["input"]
KEY = "a-key-for-this-test"


class Server:
    def __init__(self, keys: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        env = {"PORT": str(self.port), "API_KEYS_FILE": str(keys), "MAX_REQUEST_BYTES": "10000"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api"],
            cwd=SERVER,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **env},
        )

    def ask(self, path: str, body: Any = None, key: str = KEY) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{KEY}\n", encoding="utf-8")
    server = Server(keys)
    end = time.monotonic() + 60
    while server.ask("/readyz")[0] != 200:
        assert time.monotonic() < end, server.ask("/readyz")
        assert server.process.poll() is None
        time.sleep(0.05)
    yield server
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


def test_it_answers_its_sample_as_its_card_says(server: Server) -> None:
    status, body = server.ask("/predict", {"inputs": SAMPLE})
    assert status == 200
    (prediction,) = json.loads(body)["predictions"]
    for name, expected in CARD["sample"]["answer"].items():
        assert prediction[name] == (pytest.approx(expected, abs=1e-4) if name != "label" else expected)


def test_a_batch_is_answered_row_by_row(server: Server) -> None:
    status, body = server.ask("/predict", {"inputs": [SAMPLE, SAMPLE]})
    first, second = json.loads(body)["predictions"]
    assert (status, first) == (200, second)


def test_wrong_inputs_are_the_callers_error(server: Server) -> None:
    name = next(iter(SAMPLE))
    for wrong in ({}, {**SAMPLE, "no such feature": 1}, {**SAMPLE, name: "text"}, {**SAMPLE, name: None}):
        assert server.ask("/predict", {"inputs": wrong})[0] == 422, wrong


def test_it_asks_for_the_key_and_bounds_the_body(server: Server) -> None:
    assert server.ask("/predict", {"inputs": SAMPLE}, key="wrong")[0] == 401
    assert server.ask("/predict", {"inputs": "x" * 20_000})[0] == 413


def test_the_open_paths_need_no_key(server: Server) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert server.ask(path, key="")[0] == 200, path
