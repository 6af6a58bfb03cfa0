"""Everything the server can be told, read once from environment variables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(Exception):
    """The server cannot start as it was told to. `problems` has one sentence for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Workers:
    """Processes of one server, and the folder in which they meet."""

    count: int
    metrics_dir: Path

    @property
    def first_is_ready(self) -> Path:
        """Is there while the first worker has its model: before that, no other one listens."""
        return self.metrics_dir / "first-worker-is-ready"


@dataclass(frozen=True)
class Settings:
    port: int
    log_level: str
    request_timeout_seconds: float
    workers: Workers | None
    max_concurrent_requests: int
    max_request_bytes: int
    api_keys_file: Path | None
    traces_to: str | None
    model_dir: Path
    threads: int
    drain_seconds: float
    graceful_shutdown_seconds: int
    keep_alive_seconds: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings, or raise one SettingsError that names every problem."""
        problems: list[str] = []

        def read(name: str, parse: Callable[[str], T], default: T) -> T:
            # An empty variable counts as absent: that is what an unset template value becomes.
            text = env.get(name, "").strip()
            if not text:
                return default
            try:
                return parse(text)
            except ValueError as error:
                problems.append(f"{name}: found {text[:80]!r}, expected {error}")
                return default

        count = read("WEB_CONCURRENCY", _positive_integer, 1)
        folder = read("PROMETHEUS_MULTIPROC_DIR", _folder, None)
        places = read("MAX_CONCURRENT_REQUESTS", _positive_integer, 8)
        if count > 1 and not env.get("PROMETHEUS_MULTIPROC_DIR", "").strip():
            problems.append(
                f"PROMETHEUS_MULTIPROC_DIR: not set, expected a folder in which {count} workers "
                "(WEB_CONCURRENCY) add up their metrics"
            )
        if places < count:
            problems.append(
                f"MAX_CONCURRENT_REQUESTS: found {places}, expected one or more for each of {count} workers"
            )
        timeout = read("REQUEST_TIMEOUT_SECONDS", _positive_number, 30.0)
        settings = cls(
            port=read("PORT", _port, 8080),
            log_level=read("LOG_LEVEL", _log_level, "info"),
            request_timeout_seconds=timeout,
            # With a folder prometheus_client counts for several, also where there is one worker.
            workers=Workers(count, folder) if folder else None,
            max_concurrent_requests=places,
            max_request_bytes=read("MAX_REQUEST_BYTES", _positive_integer, 1024 * 1024),
            api_keys_file=read("API_KEYS_FILE", Path, None),
            traces_to=read("OTEL_EXPORTER_OTLP_ENDPOINT", _url, None),
            model_dir=read("MODEL_DIR", Path, Path("model")),
            # onnxruntime does not look at OMP_NUM_THREADS by itself; see model.py.
            threads=read("OMP_NUM_THREADS", _positive_integer, 1),
            # Before that, kept connections end with an answer that says so. The chart's grace period has 10 s to spare.
            drain_seconds=read("DRAIN_SECONDS", _positive_number, 5.0),
            # uvicorn's own variables: only its command line reads them, so a program that starts uvicorn must.
            # Without one, a request that arrived just before SIGTERM still gets all of its time.
            graceful_shutdown_seconds=read(
                "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN", _positive_integer, math.ceil(timeout) + 5
            ),
            # Longer than a proxy keeps its idle connections (60 s is common), else it writes into a closed one.
            keep_alive_seconds=read("UVICORN_TIMEOUT_KEEP_ALIVE", _positive_integer, 75),
        )
        if problems:
            raise SettingsError(problems)
        return settings


def _positive_integer(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) < 1:
        raise ValueError("a whole number, 1 or more")
    return int(text)


def _folder(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise ValueError("a folder that is there")
    return folder


def _positive_number(text: str) -> float:
    expected = ValueError("a number of seconds above 0")
    try:
        number = float(text)
    except ValueError:
        raise expected from None
    if not (math.isfinite(number) and number > 0):
        raise expected
    return number


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:6]) <= 65535:
        raise ValueError("a port number from 1 to 65535")
    return int(text)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("a collector's address, for example http://collector:4318")
    return text


def _log_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError("one of " + ", ".join(LOG_LEVELS))
    return text.lower()
