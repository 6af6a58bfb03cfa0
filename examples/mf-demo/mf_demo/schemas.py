"""What goes in and what comes out, as types. To serve another model, start here: replace Wine by your input."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_BATCH = 256

# Numbers only ("13.2" and true are refused), finite ones, and none that a 32-bit float cannot hold:
# such a value would become infinite inside the model and come out as NaN.
Measurement = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1_000_000)]


class Wine(BaseModel):
    """Thirteen laboratory measurements of one bottle. The order is the model's order of features."""

    # A misspelt name is an error, not a silently missing measurement.
    model_config = ConfigDict(extra="forbid")

    alcohol: Measurement
    malic_acid: Measurement
    ash: Measurement
    alcalinity_of_ash: Measurement
    magnesium: Measurement
    total_phenols: Measurement
    flavanoids: Measurement
    nonflavanoid_phenols: Measurement
    proanthocyanins: Measurement
    color_intensity: Measurement
    hue: Measurement
    od280_od315_of_diluted_wines: Measurement
    proline: Measurement

    def row(self) -> list[float]:
        return [getattr(self, name) for name in FEATURES]


FEATURES = list(Wine.model_fields)

Batch = Annotated[list[Wine], Field(min_length=1, max_length=MAX_BATCH)]


def _one_is_a_batch_of_one(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class PredictRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[
        Batch,
        BeforeValidator(_one_is_a_batch_of_one, json_schema_input_type=Wine | Batch),
        Field(description=f"One wine, or a list of 1 to {MAX_BATCH}."),
    ]


class Prediction(BaseModel):
    label: str = Field(description="The most probable class.")
    probabilities: dict[str, float] = Field(description="The probability of each class; they add up to 1.")


class ModelIdentity(BaseModel):
    name: str
    version: str = Field(description="The first 12 hex digits of the model file's SHA-256.")


class PredictResponse(BaseModel):
    predictions: list[Prediction] = Field(description="One per input, in the order of the inputs.")
    model: ModelIdentity


class Ready(BaseModel):
    status: str
    model: ModelIdentity


class Alive(BaseModel):
    status: str


class InputProblem(BaseModel):
    where: str = Field(description="Path of the value in the body, for example inputs.0.alcohol.")
    what: str


class Problem(BaseModel):
    """The body of every answer that is not a success."""

    code: str = Field(description="Stable and meant for programs, for example too_many_requests.")
    message: str = Field(description="Meant for people.")
    request_id: str = Field(description="Also in the x-request-id header and on each log line of this request.")
    problems: list[InputProblem] | None = Field(default=None, description="With invalid_input: what is wrong where.")
