"""What Prometheus reads at /metrics. HTTP metrics have the names that FastAPI exporters commonly use."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from .schemas import ModelIdentity

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


_LEAST = ("process_start_time_seconds", "process_max_fds")


class _AllProcesses(Collector):
    """What ProcessCollector tells of one process, for the supervisor and its workers together.

    Pages that they share are in the memory of each. Processor time includes that of workers which ended: a counter that
    falls would look like one that began anew.
    """

    def collect(self) -> Iterable[Metric]:
        try:
            for _ in range(10):
                before = _family()
                metrics = self._collect(*before)
                # Else one has ended meanwhile, whose time is in no part of the sum, or in two.
                if _family() == before:
                    break
        except OSError:
            return []
        return metrics

    def _collect(self, pids: list[str], ended_ticks: int) -> list[Metric]:
        found: dict[str, list[Metric]] = defaultdict(list)
        for pid in pids:
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():
                found[metric.name].append(metric)
        for name, (metric, *others) in found.items():
            (sample,) = metric.samples
            values = [sample.value, *(other.samples[0].value for other in others)]
            value = min(values) if name in _LEAST else sum(values)
            if name == "process_cpu_seconds":
                value += ended_ticks / os.sysconf("SC_CLK_TCK")
            metric.samples = [sample._replace(value=value)]
        return [metric for metric, *_ in found.values()]


def _family() -> tuple[list[str], int]:
    """The supervisor of the worker that asks and its children, and the processor time of those that ended (proc(5))."""
    supervisor = str(os.getppid())
    folder = Path("/proc", supervisor)
    children = (folder / "task" / supervisor / "children").read_text().split()
    cutime, cstime = (folder / "stat").read_bytes().rpartition(b")")[2].split()[13:15]
    return [supervisor, *children], int(cutime) + int(cstime)


class Metrics:
    """One registry per application, since tests start several.

    With a folder, each worker writes its numbers there, and whichever of them is asked answers for all.
    prometheus_client writes them as soon as PROMETHEUS_MULTIPROC_DIR is set, so `folder` has to be the same.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.registry = CollectorRegistry()
        PlatformCollector(registry=self.registry)
        own: CollectorRegistry | None = self.registry
        if folder is None:
            ProcessCollector(registry=self.registry)
            GCCollector(registry=self.registry)
        else:
            MultiProcessCollector(self.registry, str(folder))
            self.registry.register(_AllProcesses())
            own = None
        self.requests = Counter("http_requests", "Requests answered.", ["method", "handler", "status"], registry=own)
        self.request_seconds = Histogram(
            "http_request_duration_seconds",
            "From the request's headers to the end of the answer.",
            ["method", "handler"],
            buckets=SECONDS,
            registry=own,
        )
        self.in_flight = Gauge(
            "ml_api_predict_in_flight",
            "POST /predict requests being answered.",
            multiprocess_mode="livesum",
            registry=own,
        )
        self.in_flight_limit = Gauge(
            "ml_api_predict_in_flight_limit",
            "Of MAX_CONCURRENT_REQUESTS; each worker refuses what is above its part.",
            multiprocess_mode="livesum",
            registry=own,
        )
        self.predictions = Counter("ml_api_predictions", "Inputs answered by the model.", ["label"], registry=own)
        self.inference_seconds = Histogram(
            "ml_api_inference_duration_seconds",
            "Time inside the model, once per request.",
            buckets=SECONDS,
            registry=own,
        )
        self.model_ready = Gauge(
            "ml_api_model_ready",
            "1 once the model has answered its sample, in every worker.",
            multiprocess_mode="livemin",
            registry=own,
        )
        self.model_load_seconds = Gauge(
            "ml_api_model_load_seconds", "Time from start to ready.", multiprocess_mode="livemax", registry=own
        )
        self.model_info = Gauge(
            "ml_api_model_info",
            "Always 1; tells what is served.",
            ["name", "version"],
            multiprocess_mode="livemax",
            registry=own,
        )

    def model_is_ready(self, identity: ModelIdentity, seconds: float) -> None:
        self.model_load_seconds.set(seconds)
        self.model_info.labels(identity.name, identity.version).set(1)
        self.model_ready.set(1)

    def text(self) -> bytes:
        return generate_latest(self.registry)
