"""Several workers: one server to whoever asks it, scrapes it or ends it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn
from prometheus_client.multiprocess import MultiProcessCollector

from mf_demo.app import create_app
from mf_demo.model import Model
from mf_demo.settings import Settings

from .conftest import Process, eventually
from .test_metrics import key, parsed

Launch = Callable[..., Process]
SLOW = "tests.slow_server"
PREDICTED = key("http_requests_total", method="POST", handler="/predict", status="200")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def ask(process: Process, wine: dict[str, float]) -> int:
    """The status of an answer, on a connection of its own: any of the workers may take it."""
    return httpx.post(f"{process.url}/predict", json={"inputs": wine}, timeout=10, verify=False).status_code


def samples(process: Process) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return parsed(process.get("/metrics").text)


def workers(process: Process) -> list[int]:
    """The process ids of the workers that count already, living or dead."""
    return [int(file.stem.rpartition("_")[2]) for file in process.metrics_dir.glob("histogram_*.db")]


def all_ready(process: Process, count: int = 2) -> None:
    """Until so many workers have their model, dead ones not counted."""

    def ready() -> bool:
        living = list(process.metrics_dir.glob("gauge_livemin_*.db"))
        return len(living) == count and samples(process)[key("ml_api_model_ready")] == 1

    eventually(lambda: process.answers("/readyz") and ready(), 20)


def value(process: Process, kind: str, pid: int, name: str) -> float:
    """What one worker has counted."""
    metrics = MultiProcessCollector.merge([str(process.metrics_dir / f"{kind}_{pid}.db")])
    return next((sample.value for metric in metrics for sample in metric.samples if sample.name == name), 0)


def kill(process: Process, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not (process.metrics_dir / f"gauge_livesum_{pid}.db").exists())


def test_every_request_is_counted_once_whichever_worker_is_asked(launch: Launch, wine: dict[str, float]) -> None:
    process = launch(workers=2, MAX_CONCURRENT_REQUESTS=5)
    all_ready(process)
    sent = 0
    while sent < 40 or not all(
        value(process, "histogram", pid, "ml_api_inference_duration_seconds_count") for pid in workers(process)
    ):
        assert ask(process, wine) == 200
        sent += 1
        assert sent < 1000, "one worker answers all"
    for _ in range(10):
        found = samples(process)
        assert found[PREDICTED] == sent
        assert found[key("http_request_duration_seconds_count", method="POST", handler="/predict")] == sent
        assert found[key("ml_api_inference_duration_seconds_count")] == sent
        assert found[key("ml_api_predictions_total", label="barbera")] == sent
        assert found[key("ml_api_predict_in_flight")] == 0
        assert found[key("ml_api_predict_in_flight_limit")] == 4, "two for each of two workers"
        assert [value for (name, _), value in found.items() if name == "ml_api_model_info"] == [1]
        assert found[key("ml_api_model_load_seconds")] > 0


def test_memory_and_processor_time_are_those_of_all_processes(launch: Launch) -> None:
    process = launch(workers=2)
    all_ready(process)
    pids = [process._process.pid, *process.children()]
    memory = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * os.sysconf("SC_PAGESIZE")
    found = samples(process)
    assert found[key("process_resident_memory_bytes")] == pytest.approx(memory, rel=0.1)
    before = found[key("process_cpu_seconds_total")]
    assert before > 0.2, "starting two workers takes more than that"
    kill(process, workers(process)[0])
    # At once: the next one has not yet used as much as the one that died.
    assert samples(process)[key("process_cpu_seconds_total")] >= before, "the time of the dead one is not forgotten"
    all_ready(process)
    assert samples(process)[key("process_cpu_seconds_total")] > before


def test_a_worker_that_dies_is_replaced_and_nobody_is_sent_to_one_without_a_model(
    launch: Launch, wine: dict[str, float]
) -> None:
    # A thread for each request: the replacement has to load for longer than all of them take.
    slow = {"LOAD_SECONDS": 6, "PREDICT_SECONDS": 3, "OMP_NUM_THREADS": 8}
    process = launch(SLOW, workers=2, MAX_CONCURRENT_REQUESTS=64, **slow)
    all_ready(process)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, process, wine) for _ in range(8)]

        def under_way() -> dict[int, float]:
            return {pid: value(process, "gauge_livesum", pid, "ml_api_predict_in_flight") for pid in workers(process)}

        eventually(lambda: sum(under_way().values()) == 8)
        victim = max(under_way(), key=under_way().__getitem__)
        assert under_way()[victim] > 0
        os.kill(victim, signal.SIGKILL)
        lost = [future for future in asked if future.exception()]
    assert lost, "those that the dead one had"
    eventually(lambda: samples(process)[key("ml_api_predict_in_flight")] == 0)
    assert samples(process)[key("ml_api_predict_in_flight_limit")] == 32, "the new one takes no requests yet"
    before = samples(process)
    statuses = []
    while process.messages().count("model ready") < 3:
        assert len(statuses) < 100, "it was not replaced"
        statuses.append(ask(process, wine))
    assert set(statuses) == {200}
    all_ready(process)
    after = samples(process)
    # The dead one may have had all of them: then nobody has counted an answer before.
    assert after[PREDICTED] >= before.get(PREDICTED, 0) + len(statuses)
    assert after[key("ml_api_predict_in_flight_limit")] == 64
    assert process.answers("/readyz")
    process.terminate()
    assert process.wait() == 0


def test_the_first_worker_that_dies_while_it_loads_is_replaced_by_one_that_listens(launch: Launch) -> None:
    process = launch(SLOW, workers=2, LOAD_SECONDS=4)
    eventually(lambda: process.answers("/livez") and len(workers(process)) == 2, 20)
    kill(process, min(workers(process), key=started_at))
    eventually(lambda: process.answers("/livez"), 10)
    assert process.get("/readyz").status_code == 503
    all_ready(process)


def test_workers_that_die_again_and_again_end_the_server(launch: Launch) -> None:
    process = launch(SLOW, workers=2, LOAD_SECONDS=60)
    for deaths in range(1, 7):
        eventually(lambda expected=deaths + 1: len(workers(process)) == expected, 20)
        kill(process, max(set(workers(process)) & set(process.children()), key=started_at))
    assert process.wait(20) == 1
    assert process.messages().count("workers die again and again, this server ends") == 1


def started_at(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])


def test_while_the_models_load_the_first_worker_says_so(launch: Launch) -> None:
    process = launch(SLOW, workers=2, LOAD_SECONDS=2)
    eventually(lambda: process.answers("/livez"), 10)
    assert process.get("/readyz").status_code == 503
    assert samples(process)[key("ml_api_model_ready")] == 0
    all_ready(process)


def test_another_worker_listens_only_once_the_first_has_its_model(model_dir: Path, tmp_path: Path) -> None:
    env = {"WEB_CONCURRENCY": "2", "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "MODEL_DIR": str(model_dir)}
    settings = Settings.from_env(env)
    loaded = threading.Event()

    def load() -> Model:
        loaded.set()
        return Model.load(model_dir, threads=1)

    app = create_app(settings, load, first=False)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, http="h11", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert loaded.wait(10)
        time.sleep(1)
        assert not server.started
        settings.workers.first_is_ready.touch()
        eventually(lambda: server.started)
    finally:
        settings.workers.first_is_ready.touch()
        server.should_exit = True
        thread.join(10)


def test_sigterm_while_the_models_load_ends_all(launch: Launch) -> None:
    process = launch(SLOW, workers=3, LOAD_SECONDS=60)
    eventually(lambda: process.answers("/livez") and process.messages().count("model loading") == 3, 20)
    process.terminate()
    assert process.wait(5) == 0


def test_a_model_that_cannot_be_loaded_is_told_by_readyz(launch: Launch, tmp_path: Path) -> None:
    process = launch(workers=2, MODEL_DIR=tmp_path / "nothing")
    eventually(lambda: process.messages().count("model not loaded, this server will not become ready") == 2, 20)
    answer = process.get("/readyz")
    assert answer.status_code == 503
    assert "nothing" in answer.json()["message"]
    process.terminate()
    assert process.wait(5) == 0


def test_a_worker_that_ends_by_itself_ends_all(launch: Launch, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key\n", encoding="utf-8")
    process = launch(workers=2, API_KEYS_FILE=keys)
    all_ready(process)
    keys.write_text("", encoding="utf-8")
    kill(process, workers(process)[0])
    assert process.wait(20) == 1
    (crashed,) = [line for line in process.lines() if line["message"] == "crashed"]
    assert "holds no key" in crashed["exception"]


def test_what_a_container_before_has_left_is_forgotten_and_no_other_file(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "gauge_livesum_4242.db").write_bytes(b"left over")
    (tmp_path / "counter_4242.db").write_bytes(b"left over")
    (tmp_path / "first-worker-is-ready").touch()
    (tmp_path / "somebodys.db").write_bytes(b"not ours")
    process = launch(SLOW, WEB_CONCURRENCY=2, PROMETHEUS_MULTIPROC_DIR=tmp_path, LOAD_SECONDS=1)
    eventually(lambda: process.answers("/livez"), 20)
    assert not (tmp_path / "first-worker-is-ready").exists()
    assert (tmp_path / "somebodys.db").exists()
    (tmp_path / "somebodys.db").unlink()
    all_ready(process)
    assert samples(process)[key("ml_api_predict_in_flight")] == 0


def test_a_burst_is_answered_or_refused(launch: Launch, wine: dict[str, float]) -> None:
    process = launch(SLOW, workers=2, PREDICT_SECONDS=0.2, MAX_CONCURRENT_REQUESTS=4)
    all_ready(process)
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: ask(process, wine), range(16)))
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 2, "each worker has two places"
