"""The model: load it, prove that it answers its sample, ask it. How its file is read and asked stands in runtime.py."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from .runtime import Ask, open_model
from .schemas import FEATURES, ModelIdentity, Prediction

# Relative, as another processor may round differently.
SAMPLE_TOLERANCE = 1e-4


class ModelError(Exception):
    """The model cannot answer. The text says what was found, where, and what to do."""


class Predictor(Protocol):
    """What the server needs of a model. Called from worker threads, several at once."""

    @property
    def identity(self) -> ModelIdentity: ...

    def predict(self, rows: Sequence[Sequence[float]]) -> list[Prediction]: ...


class Sample(BaseModel):
    input: dict[str, float]
    answer: dict[str, Any]


class Card(BaseModel):
    """model.json: which file the model is, what it takes, and one question with its answer."""

    name: str
    file: str
    features: list[str]
    classes: list[str]
    sha256: str
    sample: Sample


class Model:
    def __init__(self, card: Card, ask: Ask) -> None:
        self._ask = ask
        self.identity = ModelIdentity(name=card.name, version=card.sha256[:12])

    @classmethod
    def load(cls, directory: Path, threads: int) -> Model:
        """Load the model and let it answer its sample; raise ModelError when anything about it is not right."""
        card = _read_card(directory / "model.json")
        path = directory / card.file
        content = _read(path)
        found = hashlib.sha256(content).hexdigest()
        if found != card.sha256:
            raise ModelError(
                f"{path} is not the file that model.json describes (SHA-256 {found[:12]}…, expected "
                f"{card.sha256[:12]}…): it is damaged, or another model; take both files from one folder"
            )
        try:
            model = cls(card, open_model(content, card.classes, threads))
        except Exception as error:  # whatever a model's own code raises
            raise ModelError(f"{path} cannot be loaded: {_first_line(error)}") from error
        model._answer_sample(card.sample)
        return model

    def predict(self, rows: Sequence[Sequence[float]]) -> list[Prediction]:
        try:
            answers = self._ask(rows)
        except Exception as error:
            raise ModelError(f"the model failed on {len(rows)} inputs: {_first_line(error)}") from error
        if len(answers) != len(rows) or not all(_is_finite(answer) for answer in answers):
            raise ModelError(f"the model gave no valid answer to {len(rows)} inputs")
        return [Prediction(**answer) for answer in answers]

    def _answer_sample(self, sample: Sample) -> None:
        (answer,) = self.predict([[sample.input[name] for name in FEATURES]])
        given = answer.model_dump()
        if not _close(given, sample.answer):
            raise ModelError(f"the model answered its sample with {given}, model.json expects {sample.answer}")


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_finite(inner) for inner in value.values())
    return not isinstance(value, float) or math.isfinite(value)


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=SAMPLE_TOLERANCE, abs_tol=SAMPLE_TOLERANCE)
    return bool(one == other)


def _read_card(path: Path) -> Card:
    try:
        card = Card.model_validate_json(_read(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise ModelError(
            f"{path} is not a model card ({error.error_count()} problems, first: {first['loc']} {first['msg']})"
        ) from None
    if card.features != FEATURES or list(card.sample.input) != FEATURES:
        raise ModelError(f"{path}: the model takes {card.features}, the API {FEATURES}: change Row in schemas.py")
    return card


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path} ({error.strerror}); set MODEL_DIR to the model's folder") from None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
