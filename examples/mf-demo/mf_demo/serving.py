"""Holds the model while it loads, when it is ready and when it could not be loaded; asks it off the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from .metrics import Metrics
from .model import ModelError, Predictor
from .schemas import Prediction

log = structlog.stdlib.get_logger(__name__)


class ServedModel:
    """`predictor` is set once the model has answered; until then `status` and `reason` say why not."""

    def __init__(self, load: Callable[[], Predictor], threads: int, metrics: Metrics) -> None:
        self._load = load
        self._metrics = metrics
        # As many inferences at once as the pod has CPU threads; more would only slow each other down.
        # What waits for a thread is bounded by the concurrency limit, and for how long by the request time-out.
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="inference")
        self.predictor: Predictor | None = None
        self.status = "loading"
        self.reason = "the model is loading"

    async def load(self) -> None:
        """Load in a worker thread. After a failure the process stays, so that /readyz can tell the reason."""
        started = time.perf_counter()
        log.info("model loading")
        try:
            predictor = await asyncio.get_running_loop().run_in_executor(self._pool, self._load)
        except Exception as error:
            known = isinstance(error, ModelError)
            self.reason = str(error) if known else f"unexpected {type(error).__name__}, see the log"
            self.status = "failed"
            log.error("model not loaded, this server will not become ready", reason=self.reason, exc_info=not known)
            return
        seconds = time.perf_counter() - started
        self._metrics.model_is_ready(predictor.identity, seconds)
        self.predictor = predictor
        self.status, self.reason = "ready", ""
        log.info(
            "model ready",
            model=predictor.identity.name,
            version=predictor.identity.version,
            seconds=round(seconds, 3),
        )

    async def predict(self, predictor: Predictor, rows: Sequence[Sequence[float]]) -> list[Prediction]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._timed, predictor, rows)

    def _timed(self, predictor: Predictor, rows: Sequence[Sequence[float]]) -> list[Prediction]:
        with self._metrics.inference_seconds.time():
            return predictor.predict(rows)

    def close(self) -> None:
        # Does not wait: uvicorn has waited for every request already, as long as it may.
        self._pool.shutdown(wait=False, cancel_futures=True)
