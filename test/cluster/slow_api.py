"""The sample API's own server, with a model that is told how long to take and that says which pod it is; given to the sample's
image as its command. A magnesium above 1000 is 1000 and the milliseconds to take. BROKEN=1: it is ready, and predicts nothing."""

import os
import time
from pathlib import Path

from mf_demo.model import Model
from mf_demo.schemas import FEATURES
from mf_demo.server import main

MAGNESIUM = FEATURES.index("magnesium")


class SlowModel:
    def __init__(self):
        self._model = Model.load(Path(os.environ["MODEL_DIR"]), threads=1)
        self.identity = self._model.identity.model_copy(update={"name": os.environ["HOSTNAME"]})

    def predict(self, rows):
        if os.environ.get("BROKEN"):
            raise RuntimeError("this version predicts nothing")
        time.sleep(max(0, rows[0][MAGNESIUM] - 1000) / 1000)
        return self._model.predict(rows)


if __name__ == "__main__":
    main(load_model=SlowModel)
