"""The sample's model behind BentoML: `bentoml serve server:WineApi`, with MODEL_DIR in the environment."""

import os
from pathlib import Path

import bentoml
from mf_demo.model import Model
from mf_demo.schemas import Batch, PredictResponse, Wine


@bentoml.service(workers=1)
class WineApi:
    def __init__(self) -> None:
        self.model = Model.load(Path(os.environ["MODEL_DIR"]), threads=1)

    @bentoml.api(route="/predict")
    def predict(self, inputs: Wine | Batch) -> PredictResponse:
        wines = inputs if isinstance(inputs, list) else [inputs]
        predictions = self.model.predict([wine.row() for wine in wines])
        return PredictResponse(predictions=predictions, model=self.model.identity)
