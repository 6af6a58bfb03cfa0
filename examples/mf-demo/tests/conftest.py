"""Servers to ask: in this process on a real socket (`start`), or as a process of their own (`launch`)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from mf_demo.app import create_app
from mf_demo.logs import configure_logging
from mf_demo.model import Predictor
from mf_demo.schemas import ModelIdentity, Prediction
from mf_demo.settings import Settings
from train import train

PROJECT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def card(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The card of a model that was trained for this run; `card["dir"]` is where its files are."""
    out = tmp_path_factory.mktemp("model")
    return {**train(out), "dir": out}


@pytest.fixture(scope="session")
def model_dir(card: dict[str, Any]) -> Path:
    return card["dir"]


@pytest.fixture(scope="session")
def wine(card: dict[str, Any]) -> dict[str, float]:
    """One valid input."""
    return card["sample"]["input"]


class FakeModel:
    """Answers like a model, but waits for `go` first: for tests about requests that take long."""

    identity = ModelIdentity(name="fake", version="0")

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = 0

    def predict(self, rows: Sequence[Sequence[float]]) -> list[Prediction]:
        self.asked += 1
        self.go.wait(10)
        return [Prediction(label="fake", probabilities={"fake": 1.0}) for _ in rows]


@pytest.fixture
def fake() -> Iterator[FakeModel]:
    model = FakeModel()
    yield model
    model.go.set()


def eventually(true: Callable[[], object], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(0.01)


@contextmanager
def served(
    settings: dict[str, Any], model_dir: Path, load_model: Callable[[], Predictor] | None
) -> Iterator[httpx.Client]:
    env = {"MODEL_DIR": str(model_dir)} | {name.upper(): str(value) for name, value in settings.items()}
    app = create_app(Settings.from_env(env), load_model)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, http="h11", log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    declared = app.openapi()["paths"]

    def is_declared(response: httpx.Response) -> None:
        operation = declared.get(response.request.url.path, {}).get(response.request.method.lower())
        assert operation is None or str(response.status_code) in operation["responses"], "an undeclared status"

    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=10, verify=False, event_hooks={"response": [is_declared]}
        ) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def start(model_dir: Path) -> Iterator[Callable[..., httpx.Client]]:
    """start(max_request_bytes=10, …) serves with these settings; each answer's status must be in its schema."""
    with ExitStack() as running:

        def start_one(
            load_model: Callable[[], Predictor] | None = None, ready: bool = True, **settings: Any
        ) -> httpx.Client:
            client = running.enter_context(served(settings, model_dir, load_model))
            if ready:
                eventually(lambda: client.get("/readyz").status_code == 200)
            return client

        yield start_one


@pytest.fixture(scope="module")
def client(model_dir: Path) -> Iterator[httpx.Client]:
    """A server with the default settings and the trained model, ready."""
    with served({}, model_dir, None) as client:
        eventually(lambda: client.get("/readyz").status_code == 200)
        yield client


class Process:
    """A server started as in the image, with its log lines."""

    def __init__(self, env: dict[str, Any], module: str, log_file: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        clean = {
            name: os.environ[name]
            for name in ("PATH", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
            if name in os.environ
        }
        env = {"PORT": self.port, "LOG_LEVEL": "debug", "PYTHONDONTWRITEBYTECODE": "1", **env}
        self.url = f"http://127.0.0.1:{self.port}"
        self.metrics_dir = Path(env.get("PROMETHEUS_MULTIPROC_DIR", ""))
        self._log_file = log_file
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=PROJECT,
                env=clean | {name: str(value) for name, value in env.items()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=5, verify=False)

    def answers(self, path: str, status: int = 200) -> bool:
        try:
            return self.get(path).status_code == status
        except httpx.TransportError:
            return False

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 10) -> int:
        return self._process.wait(seconds)

    def kill(self) -> None:
        if self._process.poll() is not None:
            return
        # Of a supervisor that is killed, the workers would stay.
        children = self.children()
        self._process.kill()
        self._process.wait()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def children(self) -> list[int]:
        """The workers, and a helper of Python's."""
        pid = self._process.pid
        listed = Path(f"/proc/{pid}/task/{pid}/children")
        return [int(child) for child in listed.read_text().split()] if listed.exists() else []

    def output(self) -> str:
        return self._log_file.read_text(encoding="utf-8")

    def lines(self) -> list[dict[str, Any]]:
        """The log, one object per line: a line that is not JSON fails the test."""
        return [json.loads(line) for line in self.output().splitlines()]

    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines()]


@pytest.fixture
def launch(model_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """launch(OMP_NUM_THREADS=2, …) starts `python -m mf_demo` with these variables, those of its workers, no others."""
    started: list[Process] = []

    def launch_one(module: str = "mf_demo", workers: int = 1, **env: Any) -> Process:
        log_file = tmp_path / f"{len(started)}.log"
        if workers > 1:
            folder = tmp_path / f"{len(started)}.metrics"
            folder.mkdir()
            env = {"WEB_CONCURRENCY": workers, "PROMETHEUS_MULTIPROC_DIR": folder, **env}
        started.append(Process({"MODEL_DIR": model_dir, **env}, module, log_file))
        return started[-1]

    yield launch_one
    for process in started:
        process.kill()


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    configure_logging("error")
