"""Several processes behind one port (WEB_CONCURRENCY): uvicorn's supervisor, which replaces a killed worker."""

from __future__ import annotations

import signal
import socket
import time
from collections import deque
from functools import partial
from itertools import chain

import structlog
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess

from .drain import DrainingConfig, DrainingServer, leave_after
from .settings import Workers

log = structlog.stdlib.get_logger(__name__)

# More deaths than that are no accident: Kubernetes can tell and wait, as a supervisor inside the pod cannot.
_REPLACED_AT_MOST = 5
_WITHIN_SECONDS = 600


class _Worker(multiprocess.Process):
    """The first of them listens at once, so that somebody tells how the load of the model goes."""

    def __init__(self, config: DrainingConfig, sockets: list[socket.socket], workers: Workers, first: bool) -> None:
        super().__init__(config, sockets)
        self._workers = workers
        self.first = first

    def start(self) -> None:
        super().start()
        # The child has its own; while this one is open, its death would not be seen by who waits for an answer.
        self.child_conn.close()

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app = partial(self.config.app, first=self.first)
        self._server = DrainingServer(self.config)
        # A worker that ends by itself would do so again: with this code the supervisor ends all.
        leave_after(lambda: super(_Worker, self).target(sockets), crashed=STARTUP_FAILURE)

    def is_alive(self, timeout: float = 5) -> bool:
        # Not asked, as uvicorn would: the load of a large model may hold Python's lock for longer than any time-out.
        return self.process.is_alive()

    def join(self) -> None:
        super().join()
        mark_process_dead(self.pid, str(self._workers.metrics_dir))


class Supervisor(multiprocess.Multiprocess):
    """At SIGTERM each worker drains by itself; this process ends after the last one."""

    processes: list[_Worker]

    def __init__(self, config: DrainingConfig, sockets: list[socket.socket], workers: Workers) -> None:
        super().__init__(config, sockets)
        self._workers = workers
        self._replaced: deque[float] = deque(maxlen=_REPLACED_AT_MOST)
        self._failed = False
        # uvicorn has no setting for the class of its workers.
        multiprocess.Process = self._worker
        # A container that is started again finds what its predecessor left.
        kinds = ("counter", "gauge", "histogram", "summary")
        for left in chain.from_iterable(workers.metrics_dir.glob(f"{kind}_*.db") for kind in kinds):
            left.unlink()

    def _worker(self, config: DrainingConfig, sockets: list[socket.socket]) -> _Worker:
        if len(self.processes) == self.processes_num:
            self._count_replacement()
        living = [worker for worker in self.processes if worker.is_alive()]
        first = not any(worker.first or worker.is_ready() for worker in living)
        if first:
            self._workers.first_is_ready.unlink(missing_ok=True)
        return _Worker(config, sockets, self._workers, first)

    def _count_replacement(self) -> None:
        now = time.monotonic()
        if len(self._replaced) == _REPLACED_AT_MOST and now - self._replaced[0] < _WITHIN_SECONDS:
            log.error("workers die again and again, this server ends", deaths=_REPLACED_AT_MOST + 1)
            self._failed = True
            self.should_exit.set()
        self._replaced.append(now)

    def run(self) -> int:
        """The exit code."""
        super().run()
        return int(self._failed or any(worker.exitcode == STARTUP_FAILURE for worker in self.processes))

    def terminate_all(self) -> None:
        super().terminate_all()
        # A second one ends the workers' drain.
        signal.signal(signal.SIGTERM, lambda *_: super(Supervisor, self).terminate_all())
        # Else whoever comes after the last worker has gone waits, instead of being refused.
        for bound in self.sockets:
            bound.close()

    # A terminal that was closed. What uvicorn does at SIGHUP, SIGTTIN and SIGTTOU is Kubernetes' business.
    handle_hup = multiprocess.Multiprocess.handle_term
    handle_ttin = handle_ttou = None
