from __future__ import annotations

from collections.abc import Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def samples(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return parsed(client.get("/metrics").text)


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_requests_predictions_and_the_model_are_counted(
    start: Callable[..., httpx.Client], wine: dict[str, float]
) -> None:
    client = start(max_concurrent_requests=5)
    client.post("/predict", json={"inputs": [wine, wine]})
    client.post("/predict", json={"inputs": []})
    found = samples(client)
    assert found[key("http_requests_total", method="POST", handler="/predict", status="200")] == 1
    assert found[key("http_requests_total", method="POST", handler="/predict", status="422")] == 1
    assert found[key("http_request_duration_seconds_count", method="POST", handler="/predict")] == 2
    assert found[key("ml_api_predictions_total", label="barbera")] == 2
    assert found[key("ml_api_inference_duration_seconds_count")] == 1
    assert found[key("ml_api_predict_in_flight_limit")] == 5
    assert found[key("ml_api_model_ready")] == 1
    assert found[key("ml_api_model_load_seconds")] > 0
    assert found[key("process_resident_memory_bytes")] > 0
    assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=")


def test_a_caller_cannot_make_up_time_series(start: Callable[..., httpx.Client]) -> None:
    client = start()
    client.get("/made-up-path")
    client.request("BREW", "/livez")
    labels = {value for _, labels in samples(client) for _, value in labels}
    assert "/made-up-path" not in labels
    assert "BREW" not in labels
    assert "other" in labels


def test_two_applications_in_one_process_do_not_share_numbers(
    start: Callable[..., httpx.Client], wine: dict[str, float]
) -> None:
    one, other = start(), start()
    one.post("/predict", json={"inputs": wine})
    assert key("ml_api_predictions_total", label="barbera") not in samples(other)
