"""The end of the server: callers on kept connections are told before their connection is closed."""

from __future__ import annotations

import asyncio
import signal
import time
from types import FrameType

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _Farewell:
    """Adds `Connection: close` to every answer once `over` is set, so that the caller opens a new connection elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_farewell(message: Message) -> None:
            if self.over and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self.app(scope, receive, send_farewell)


class DrainingServer(uvicorn.Server):
    """uvicorn with a drain before its end.

    At SIGTERM uvicorn closes idle kept connections at once, and busy ones after their answer, without a word. What a caller
    has just sent on one of them is lost, and it cannot know whether it may ask again. This server goes on for
    `drain_seconds`, or until nobody is connected, and lets each answer say that its connection ends; what is closed then
    has been idle all the time. SIGINT, and a second SIGTERM, end it without the drain.
    """

    def __init__(self, config: uvicorn.Config, drain_seconds: float) -> None:
        self._farewell = config.app = _Farewell(config.app)
        self._drain_seconds = drain_seconds
        self._told_at: float | None = None
        super().__init__(config)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
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
        if self.server_state.connections and time.monotonic() - self._told_at < self._drain_seconds:
            return False
        # One look at the sockets: a request that has come already is read, and its connection counts as busy.
        for _ in range(2):
            await asyncio.sleep(0)
        super().handle_exit(signal.SIGTERM, None)
        return True
