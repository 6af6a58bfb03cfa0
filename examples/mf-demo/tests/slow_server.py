"""The server with a model that loads in LOAD_SECONDS and answers in PREDICT_SECONDS, or fails with FAILS_WITH as its
words; run as a process by tests."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from mf_demo.model import Model
from mf_demo.schemas import Prediction
from mf_demo.server import main


class SlowModel:
    def __init__(self) -> None:
        time.sleep(float(os.environ.get("LOAD_SECONDS", "0")))
        self._model = Model.load(Path(os.environ["MODEL_DIR"]), threads=1)
        self.identity = self._model.identity

    def predict(self, rows: Sequence[Sequence[float]]) -> list[Prediction]:
        time.sleep(float(os.environ.get("PREDICT_SECONDS", "0")))
        if words := os.environ.get("FAILS_WITH"):
            raise ValueError(words)
        return self._model.predict(rows)


if __name__ == "__main__":
    main(load_model=SlowModel)
