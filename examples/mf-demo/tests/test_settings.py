from __future__ import annotations

from pathlib import Path

import pytest

from mf_demo.settings import Settings, SettingsError, Workers


def test_without_variables_the_defaults_hold() -> None:
    settings = Settings.from_env({})
    assert (settings.port, settings.log_level, settings.api_keys_file) == (8080, "info", None)
    assert (settings.request_timeout_seconds, settings.graceful_shutdown_seconds) == (30, 35)


def test_every_variable_of_the_image_contract_is_read(tmp_path: Path) -> None:
    settings = Settings.from_env(
        {
            "PORT": "9000",
            "LOG_LEVEL": "WARNING",
            "REQUEST_TIMEOUT_SECONDS": "2.5",
            "MAX_CONCURRENT_REQUESTS": "3",
            "MAX_REQUEST_BYTES": "1000",
            "API_KEYS_FILE": "/keys",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector",
            "DRAIN_SECONDS": "2.5",
            "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": "40",
            "UVICORN_TIMEOUT_KEEP_ALIVE": "90",
            "OMP_NUM_THREADS": "2",
            "MODEL_DIR": "/model",
            "WEB_CONCURRENCY": "2",
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        }
    )
    assert settings == Settings(
        port=9000,
        log_level="warning",
        request_timeout_seconds=2.5,
        workers=Workers(2, tmp_path),
        max_concurrent_requests=3,
        max_request_bytes=1000,
        api_keys_file=Path("/keys"),
        traces_to="https://collector",
        model_dir=Path("/model"),
        threads=2,
        drain_seconds=2.5,
        graceful_shutdown_seconds=40,
        keep_alive_seconds=90,
    )


def test_an_empty_variable_counts_as_absent() -> None:
    assert Settings.from_env({"PORT": "", "API_KEYS_FILE": " "}) == Settings.from_env({})


def test_the_drain_lasts_longer_than_a_request_may() -> None:
    assert Settings.from_env({"REQUEST_TIMEOUT_SECONDS": "119.5"}).graceful_shutdown_seconds == 125


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "tcp://10.0.0.1:80"),
        ("PORT", "9" * 5000),
        ("LOG_LEVEL", "loud"),
        ("REQUEST_TIMEOUT_SECONDS", "0"),
        ("REQUEST_TIMEOUT_SECONDS", "nan"),
        ("REQUEST_TIMEOUT_SECONDS", "inf"),
        ("REQUEST_TIMEOUT_SECONDS", "30s"),
        ("MAX_CONCURRENT_REQUESTS", "-1"),
        ("MAX_CONCURRENT_REQUESTS", "1.5"),
        ("MAX_REQUEST_BYTES", "1Mi"),
        ("MAX_REQUEST_BYTES", "²"),
        ("OMP_NUM_THREADS", "0"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "auto"),
        ("PROMETHEUS_MULTIPROC_DIR", "/nowhere"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ],
)
def test_a_wrong_value_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: found .*, expected ") as caught:
        Settings.from_env({name: text})
    assert len(caught.value.problems) == 1


def test_workers_need_a_folder_for_their_metrics() -> None:
    with pytest.raises(SettingsError, match=r"^PROMETHEUS_MULTIPROC_DIR: not set, expected .* 2 workers"):
        Settings.from_env({"WEB_CONCURRENCY": "2"})


def test_each_worker_needs_a_place(tmp_path: Path) -> None:
    env = {"WEB_CONCURRENCY": "3", "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "MAX_CONCURRENT_REQUESTS": "2"}
    with pytest.raises(SettingsError, match=r"^MAX_CONCURRENT_REQUESTS: found 2, expected .* 3 workers$"):
        Settings.from_env(env)


def test_all_wrong_values_are_told_together() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"PORT": "x", "LOG_LEVEL": "x", "MAX_REQUEST_BYTES": "x"})
    assert len(caught.value.problems) == 3
