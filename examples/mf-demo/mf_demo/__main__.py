"""`python -m mf_demo`: read the settings, serve until SIGTERM, finish what was begun, leave with 0."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import structlog
import uvicorn

from .app import create_app
from .drain import DrainingServer
from .logs import configure_logging
from .model import Predictor
from .settings import Settings, SettingsError

log = structlog.stdlib.get_logger(__name__)


def serve(load_model: Callable[[], Predictor] | None = None) -> int:
    """Serve until a signal comes; the return value is the exit code."""
    # uvicorn answers SIGTERM by draining, and then raises it again for whoever came before: for this handler,
    # without which a good end would look like a crash. Until uvicorn has its own in place, this one ends the start.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    configure_logging("info")
    try:
        settings = Settings.from_env(os.environ)
        configure_logging(settings.log_level)
        app = create_app(settings, load_model)
    except SettingsError as error:
        for problem in error.problems:
            log.error("cannot start", problem=problem)
        return 2
    server = DrainingServer(
        uvicorn.Config(
            app,
            host="0.0.0.0",
            port=settings.port,
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
        ),
        settings.drain_seconds,
    )
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def main(load_model: Callable[[], Predictor] | None = None) -> NoReturn:
    try:
        code = serve(load_model)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except Exception:
        log.critical("crashed", exc_info=True)
        code = 1
    # Leave now: an inference that never ends would otherwise hold the process until Kubernetes kills it.
    # Every request has been answered or cut by uvicorn before this line.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
