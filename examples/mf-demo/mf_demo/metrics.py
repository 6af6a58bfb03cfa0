"""What Prometheus reads at /metrics. HTTP metrics have the names that FastAPI exporters commonly use."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from .schemas import ModelIdentity

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """One registry per application, since tests start several. No multiprocess mode: one process per pod."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.requests = Counter(
            "http_requests", "Requests answered.", ["method", "handler", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "http_request_duration_seconds",
            "From the request's headers to the end of the answer.",
            ["method", "handler"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "ml_api_predict_in_flight", "POST /predict requests being answered.", registry=self.registry
        )
        self.in_flight_limit = Gauge(
            "ml_api_predict_in_flight_limit", "MAX_CONCURRENT_REQUESTS: more are refused.", registry=self.registry
        )
        self.predictions = Counter(
            "ml_api_predictions", "Inputs answered by the model.", ["label"], registry=self.registry
        )
        self.inference_seconds = Histogram(
            "ml_api_inference_duration_seconds",
            "Time inside the model, once per request.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.model_ready = Gauge(
            "ml_api_model_ready", "1 once the model has answered its sample.", registry=self.registry
        )
        self.model_load_seconds = Gauge(
            "ml_api_model_load_seconds", "Time from start to ready.", registry=self.registry
        )
        self.model_info = Gauge(
            "ml_api_model_info", "Always 1; tells what is served.", ["name", "version"], registry=self.registry
        )

    def model_is_ready(self, identity: ModelIdentity, seconds: float) -> None:
        self.model_load_seconds.set(seconds)
        self.model_info.labels(identity.name, identity.version).set(1)
        self.model_ready.set(1)

    def text(self) -> bytes:
        return generate_latest(self.registry)
