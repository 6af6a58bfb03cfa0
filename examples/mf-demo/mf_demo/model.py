"""The model: load it, prove that it answers, ask it. onnxruntime runs it; scikit-learn is not needed here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ValidationError

from .schemas import FEATURES, ModelIdentity, Prediction

if TYPE_CHECKING:
    import onnxruntime

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
    label: str
    probabilities: dict[str, float]


class Card(BaseModel):
    """The part of model.json that the server relies on."""

    name: str
    features: list[str]
    classes: list[str]
    sha256: str
    sample: Sample


class Model:
    def __init__(self, card: Card, session: onnxruntime.InferenceSession) -> None:
        self._card = card
        self._session = session
        self.identity = ModelIdentity(name=card.name, version=card.sha256[:12])

    @classmethod
    def load(cls, directory: Path, threads: int) -> Model:
        """Load the model and let it answer its sample; raise ModelError when anything about it is not right."""
        card = _read_card(directory / "model.json")
        session = _start_session(_read_model(directory / "model.onnx", card), directory / "model.onnx", threads)
        model = cls(card, session)
        model._answer_sample()
        return model

    def predict(self, rows: Sequence[Sequence[float]]) -> list[Prediction]:
        import numpy as np

        try:
            (probabilities,) = self._session.run(["probabilities"], {"input": np.asarray(rows, dtype=np.float32)})
        except Exception as error:  # onnxruntime raises types of its own, without a common base class
            raise ModelError(f"the model failed on {len(rows)} inputs: {_first_line(error)}") from error
        if probabilities.shape != (len(rows), len(self._card.classes)) or not np.isfinite(probabilities).all():
            raise ModelError(f"the model gave no valid probabilities for {len(rows)} inputs")
        return [
            Prediction(
                label=self._card.classes[int(row.argmax())],
                probabilities=dict(zip(self._card.classes, row.tolist(), strict=True)),
            )
            for row in probabilities
        ]

    def _answer_sample(self) -> None:
        sample = self._card.sample
        try:
            row = [sample.input[name] for name in FEATURES]
        except KeyError as error:
            raise ModelError(f"model.json: the sample input has no {error}; train again with train.py") from None
        (answer,) = self.predict([row])
        close = answer.probabilities.keys() == sample.probabilities.keys() and all(
            abs(answer.probabilities[name] - expected) <= SAMPLE_TOLERANCE
            for name, expected in sample.probabilities.items()
        )
        if answer.label != sample.label or not close:
            raise ModelError(
                f"the model answered its sample with {answer.label} {answer.probabilities}, "
                f"model.json expects {sample.label} {sample.probabilities}; train again with train.py"
            )


def _read_card(path: Path) -> Card:
    try:
        card = Card.model_validate_json(_read(path))
    except ValidationError as error:
        raise ModelError(
            f"{path} is not a model card ({error.error_count()} problems, first: {error.errors()[0]['msg']}); "
            "train again with train.py"
        ) from None
    if card.features != FEATURES:
        raise ModelError(
            f"{path}: the model was trained on the features {card.features}, "
            f"the API takes {FEATURES}: train again, or change Wine in schemas.py"
        )
    return card


def _read_model(path: Path, card: Card) -> bytes:
    content = _read(path)
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise ModelError(
            f"{path} is not the file that model.json describes (SHA-256 {found[:12]}…, expected {card.sha256[:12]}…): "
            "it is damaged, or from another training; train again with train.py"
        )
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read {path} ({error.strerror}); run train.py, or set MODEL_DIR to the folder it wrote"
        ) from None


def _start_session(content: bytes, path: Path, threads: int) -> onnxruntime.InferenceSession:
    # Since 1.29 the published wheels write an identifier to disk and report to their maker; read on import only.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # Imported here, in the background thread that loads the model, so that /livez need not wait for it.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Left alone, onnxruntime starts a thread for each core of the machine, whatever the pod may use of them.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads sleep; by default they spin, which eats the CPU limit.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # It writes its own lines to standard error, not as JSON; what matters also comes as an exception.
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # see predict
        raise ModelError(f"onnxruntime cannot load {path}: {_first_line(error)}; train again with train.py") from error
    inputs = [(i.name, i.shape[-1:]) for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]
    if inputs != [("input", [len(FEATURES)])] or "probabilities" not in outputs:
        raise ModelError(
            f"{path}: found inputs {inputs} and outputs {outputs}, "
            f"expected one input 'input' of {len(FEATURES)} columns and an output 'probabilities'"
        )
    return session


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
