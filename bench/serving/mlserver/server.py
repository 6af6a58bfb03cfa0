"""The sample's model behind MLServer, which speaks the Open Inference Protocol: `mlserver start FOLDER`."""

import os
from pathlib import Path

import numpy as np
from mf_demo.model import Model
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class WineApi(MLModel):
    async def load(self) -> bool:
        self.model = Model.load(Path(os.environ["MODEL_DIR"]), threads=1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        predictions = self.model.predict(NumpyCodec.decode_input(payload.inputs[0]))
        probabilities = np.array([list(one.probabilities.values()) for one in predictions])
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("label", [one.label for one in predictions]),
                NumpyCodec.encode_output("probabilities", probabilities),
            ],
        )
