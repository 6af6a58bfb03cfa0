from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest

from mf_demo.model import Model, ModelError

from .conftest import FakeModel, Process, eventually

Start = Callable[..., httpx.Client]


def test_while_the_model_loads_the_process_is_alive_but_not_ready(start: Start, wine: dict[str, float]) -> None:
    loaded = threading.Event()

    def slowly() -> FakeModel:
        loaded.wait(10)
        model = FakeModel()
        model.go.set()
        return model

    client = start(load_model=slowly, ready=False)
    try:
        assert client.get("/livez").json() == {"status": "alive"}
        response = client.get("/readyz")
        assert (response.status_code, response.json()["message"]) == (503, "loading: the model is loading")
        refused = client.post("/predict", json={"inputs": wine})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    finally:
        loaded.set()
    eventually(lambda: client.get("/readyz").status_code == 200)
    assert client.post("/predict", json={"inputs": wine}).status_code == 200


def test_ready_says_which_model_answers(client: httpx.Client, card: dict[str, Any]) -> None:
    assert client.get("/readyz").json() == {
        "status": "ready",
        "model": {"name": "wine", "version": card["sha256"][:12]},
    }


@pytest.fixture
def broken(model_dir: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the model, to be damaged."""
    copy = tmp_path / "broken"
    shutil.copytree(model_dir, copy)
    yield copy


def _rewrite_card(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    change(card)
    path.write_text(json.dumps(card), encoding="utf-8")


def _replace_model(folder: Path, content: bytes) -> None:
    """With a card that vouches for it: so the file is tried, not refused for its hash."""
    (folder / "model.onnx").write_bytes(content)
    _rewrite_card(folder, lambda card: card.update(sha256=hashlib.sha256(content).hexdigest()))


def _remove_model(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def _remove_card(folder: Path) -> None:
    (folder / "model.json").unlink()


def _flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)


def _cut_the_card(folder: Path) -> None:
    path = folder / "model.json"
    path.write_bytes(path.read_bytes()[:100])


def _not_onnx(folder: Path) -> None:
    _replace_model(folder, b"not a model")


def _empty_model(folder: Path) -> None:
    _replace_model(folder, b"")


def _other_weights(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "coefficients":
                del attribute.floats[:]
                attribute.floats.extend([0.0] * 39)
    _replace_model(folder, model.SerializeToString())


def _other_output(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    del model.graph.output[1]
    _replace_model(folder, model.SerializeToString())


def _other_features(folder: Path) -> None:
    _rewrite_card(folder, lambda card: card["features"].reverse())


def _other_classes(folder: Path) -> None:
    _rewrite_card(folder, lambda card: card["classes"].pop())


def _sample_without_a_feature(folder: Path) -> None:
    _rewrite_card(folder, lambda card: card["sample"]["input"].pop("hue"))


BROKEN = {
    _remove_model: "cannot read .*model.onnx .No such file",
    _remove_card: "cannot read .*model.json .No such file",
    _flip_a_bit: "is not the file that model.json describes",
    _cut_the_card: "is not a model card",
    _not_onnx: "onnxruntime cannot load",
    _empty_model: "onnxruntime cannot load",
    _other_weights: "answered its sample with",
    _other_output: "an output 'probabilities'",
    _other_features: "was trained on the features",
    _other_classes: "no valid probabilities",
    _sample_without_a_feature: "sample input has no 'hue'",
}


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__.strip("_"))
def test_a_broken_model_is_refused_with_its_reason(broken: Path, damage: Callable[[Path], None]) -> None:
    damage(broken)
    with pytest.raises(ModelError, match=BROKEN[damage]):
        Model.load(broken, threads=1)


@pytest.mark.parametrize("damage", [_remove_model, _flip_a_bit, _not_onnx], ids=lambda damage: damage.__name__)
def test_with_a_broken_model_the_server_lives_and_says_why_it_is_not_ready(
    start: Start, broken: Path, damage: Callable[[Path], None], wine: dict[str, float]
) -> None:
    damage(broken)
    client = start(load_model=lambda: Model.load(broken, threads=1), ready=False)
    eventually(lambda: client.get("/readyz").json()["message"].startswith("failed: "))
    assert client.get("/readyz").status_code == 503
    assert str(broken) in client.get("/readyz").json()["message"]
    assert client.get("/livez").status_code == 200
    assert client.post("/predict", json={"inputs": wine}).status_code == 503
    assert "ml_api_model_ready 0.0" in client.get("/metrics").text


def test_a_crash_while_loading_is_told_by_its_type_only(start: Start) -> None:
    def crash() -> FakeModel:
        raise RuntimeError("password=hunter2")

    client = start(load_model=crash, ready=False)
    eventually(lambda: "unexpected RuntimeError" in client.get("/readyz").json()["message"])
    assert "hunter2" not in client.get("/readyz").text


def test_a_missing_model_is_one_clear_log_line(launch: Callable[..., Process], tmp_path: Path) -> None:
    process = launch(MODEL_DIR=tmp_path / "nowhere")
    eventually(lambda: process.answers("/readyz", 503) and "failed" in process.get("/readyz").text)
    (line,) = [line for line in process.lines() if line["level"] == "error"]
    assert line["message"] == "model not loaded, this server will not become ready"
    assert f"cannot read {tmp_path}/nowhere/model.json" in line["reason"]
    assert "exception" not in line
