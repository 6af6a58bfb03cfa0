from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mf_demo.model import Model
from mf_demo.schemas import FEATURES
from train import CLASSES, fit, load_data, train
from train import answer as answer_of


def test_two_trainings_give_equal_predictions(card: dict[str, Any], tmp_path: Path) -> None:
    train(tmp_path)
    rows, _, _ = load_data()
    first = answer_of((card["dir"] / "model.onnx").read_bytes(), rows)
    second = answer_of((tmp_path / "model.onnx").read_bytes(), rows)
    np.testing.assert_array_equal(first, second)


def test_two_trainings_write_equal_files(card: dict[str, Any], tmp_path: Path) -> None:
    train(tmp_path)
    for name in ("model.onnx", "model.json"):
        assert (tmp_path / name).read_bytes() == (card["dir"] / name).read_bytes(), name


def test_the_model_is_good_enough_to_be_a_demo(card: dict[str, Any]) -> None:
    assert card["metrics"]["accuracy"] > 0.9


def test_the_card_fits_the_api(card: dict[str, Any]) -> None:
    written = json.loads((card["dir"] / "model.json").read_text(encoding="utf-8"))
    assert written == {name: value for name, value in card.items() if name != "dir"}
    assert written["features"] == FEATURES
    assert list(written["sample"]["input"]) == FEATURES
    assert written["classes"] == CLASSES


def test_the_exported_model_tells_the_same_wines_as_scikit_learn(model_dir: Path) -> None:
    rows, labels, _ = load_data()
    served = [prediction.label for prediction in Model.load(model_dir, threads=2).predict(rows.tolist())]
    assert np.mean([CLASSES[label] == name for label, name in zip(labels, served, strict=True)]) > 0.95
    # Trained on all rows this time: another model, so only a rough agreement is asked for.
    assert np.mean(np.array(CLASSES)[fit(rows, labels).predict(rows)] == served) > 0.95
