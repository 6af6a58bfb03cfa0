"""Read the settings, serve until SIGTERM, finish what was begun, leave with 0."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import structlog

from .drain import DrainingConfig, DrainingServer, leave_after
from .keys import ApiKeys
from .logs import configure_logging
from .settings import Settings, SettingsError
from .workers import Supervisor

if TYPE_CHECKING:
    from fastapi import FastAPI

    from .model import Predictor

log = structlog.stdlib.get_logger(__name__)


def _app(settings: Settings, load_model: Callable[[], Predictor] | None, first: bool = True) -> FastAPI:
    """The application, in each worker its own. The supervisor has none: it would hold the model's libraries."""
    from .app import create_app

    configure_logging(settings.log_level)
    return create_app(settings, load_model, first)


def serve(load_model: Callable[[], Predictor] | None = None) -> int:
    """Serve until a signal comes; the return value is the exit code."""
    # uvicorn answers SIGTERM by draining, and then raises it again for whoever came before: for this handler,
    # without which a good end would look like a crash. Until uvicorn has its own in place, this one ends the start.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    configure_logging("info")
    try:
        settings = Settings.from_env(os.environ)
        configure_logging(settings.log_level)
        ApiKeys.load(settings.api_keys_file)
    except SettingsError as error:
        for problem in error.problems:
            log.error("cannot start", problem=problem)
        return 2
    config = DrainingConfig(
        settings.drain_seconds,
        app=partial(_app, settings, load_model),
        factory=True,
        host="0.0.0.0",
        port=settings.port,
        workers=settings.workers.count if settings.workers else 1,
        loop="uvloop",
        # Not httptools: it takes in headers of any size (200 MB from a caller without a key were tried), and it
        # loses the body of a request that offers an upgrade to HTTP/2, as Java's client does. h11 limits headers
        # to 64 KiB and costs 0.1 ms per request.
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.graceful_shutdown_seconds,
    )
    try:
        if settings.workers:
            return Supervisor(config, [config.bind_socket()], settings.workers).run()
        DrainingServer(config).run()
    except KeyboardInterrupt:
        pass
    return 0


def main(load_model: Callable[[], Predictor] | None = None) -> NoReturn:
    leave_after(lambda: serve(load_model))
