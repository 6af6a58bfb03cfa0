"""The end of the server: callers on kept connections are told before their connection is closed."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import structlog
import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.stdlib.get_logger(__name__)


class _Farewell:
    """Adds `Connection: close` to every answer once `over` is set: the caller opens a new connection elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_farewell(message: Message) -> None:
            if self.over and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self.app(scope, receive, send_farewell)


class DrainingConfig(uvicorn.Config):
    """uvicorn's settings, and how long the drain may last."""

    def __init__(self, drain_seconds: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.drain_seconds = drain_seconds


class DrainingServer(uvicorn.Server):
    """uvicorn with a drain before its end.

    At SIGTERM uvicorn closes idle kept connections at once, and busy ones after their answer, without a word. What a
    caller has just sent on one of them is lost, and it cannot know whether it may ask again. This server goes on for
    `drain_seconds`, or until nobody is connected, and lets each answer say that its connection ends; what is closed
    then has been idle all the time. SIGINT, and a second SIGTERM, end it without the drain.
    """

    config: DrainingConfig

    def __init__(self, config: DrainingConfig) -> None:
        super().__init__(config)
        self._told_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.loaded_app = self._farewell = _Farewell(self.config.loaded_app)
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.started:
            # Nobody is connected, and the load of a model can be interrupted by nothing else.
            os._exit(0)
        if sig == signal.SIGTERM and self._told_at is None:
            self._told_at = time.monotonic()
            self._farewell.over = True
            return
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Asked ten times a second; whether it is time to end."""
        if await super().on_tick(counter):
            return True
        if self._told_at is None:
            return False
        if self.server_state.connections and time.monotonic() - self._told_at < self.config.drain_seconds:
            return False
        # One look at the sockets: a request that has come already is read, and its connection counts as busy.
        for _ in range(2):
            await asyncio.sleep(0)
        super().handle_exit(signal.SIGTERM, None)
        return True


def leave_after(run: Callable[[], int | None], crashed: int = 1) -> NoReturn:
    """Run, and end this process with what it answers, or with `crashed`."""
    try:
        code = run() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except Exception:
        log.critical("crashed", exc_info=True)
        code = crashed
    # Leave now: an inference that never ends would otherwise hold the process until Kubernetes kills it.
    # Every request has been answered or cut by uvicorn before this line.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
