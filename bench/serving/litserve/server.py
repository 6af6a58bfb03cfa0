"""The sample's model behind LitServe: `python server.py`, with PORT, MODEL_DIR and FAST_QUEUE in the environment."""

import os
from pathlib import Path

import litserve
from mf_demo.model import Model
from mf_demo.schemas import Prediction, PredictRequest, PredictResponse


class WineApi(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = Model.load(Path(os.environ["MODEL_DIR"]), threads=1)

    def decode_request(self, request: PredictRequest) -> list[list[float]]:
        return [wine.row() for wine in request.inputs]

    def predict(self, x: list[list[float]]) -> list[Prediction]:
        return self.model.predict(x)

    def encode_response(self, output: list[Prediction]) -> PredictResponse:
        return PredictResponse(predictions=output, model=self.model.identity)


if __name__ == "__main__":
    fast = bool(os.environ.get("FAST_QUEUE"))
    server = litserve.LitServer(WineApi(), accelerator="cpu", workers_per_device=1, fast_queue=fast)
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False)
