"""The endpoints, and how the parts are put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from .guard import OPEN_PATHS, PREDICT_PATH, Limits, RequestLog, RequireKey, problem_response
from .keys import ApiKeys
from .metrics import Metrics
from .model import Model, Predictor
from .schemas import Alive, InputProblem, PredictRequest, PredictResponse, Problem, Ready
from .serving import ServedModel
from .settings import Settings

log = structlog.stdlib.get_logger(__name__)

OPENAPI_PATH = "/openapi.json"
DOCS_PATH = "/docs"
MAX_PROBLEMS = 20

_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}

# Every status that POST /predict can answer besides 200 and 422; FastAPI knows nothing of what guard.py answers.
PREDICT_ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is not readable as JSON text (its encoding, nesting or digits)."},
    401: {"model": Problem, "description": "No key, or one that is not accepted."},
    408: {"model": Problem, "description": "The body arrived too slowly."},
    413: {"model": Problem, "description": "The body is larger than MAX_REQUEST_BYTES."},
    422: {"model": Problem, "description": "The body is not what the schema asks for; `problems` says where."},
    429: {
        "model": Problem,
        "description": "MAX_CONCURRENT_REQUESTS are being answered already.",
        "headers": _RETRY_AFTER,
    },
    500: {"model": Problem, "description": "The server failed."},
    503: {"model": Problem, "description": "The model is not loaded (yet).", "headers": _RETRY_AFTER},
    504: {"model": Problem, "description": "No answer within REQUEST_TIMEOUT_SECONDS."},
}


def create_app(settings: Settings, load_model: Callable[[], Predictor] | None = None) -> FastAPI:
    """Build the application. Raises SettingsError when the key file gives no key. Tests pass a model of their own."""
    metrics = Metrics()
    keys = ApiKeys.load(settings.api_keys_file)
    served = ServedModel(
        load_model or (lambda: Model.load(settings.model_dir, settings.threads)), settings.threads, metrics
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if keys.required:
            log.info("API keys read", count=len(keys), file=str(settings.api_keys_file))
        else:
            log.warning("API_KEYS_FILE is not set: everyone who reaches this port may ask")
        # Not awaited: the server listens at once, /livez answers, /readyz says "loading".
        loading = asyncio.create_task(served.load())
        yield
        loading.cancel()
        served.close()

    app = FastAPI(
        title="mf-demo",
        description="Tells which of three wines is in the bottle. A sample Python ML API.",
        lifespan=lifespan,
        middleware=[
            Middleware(
                RequestLog,
                metrics=metrics,
                handlers=OPEN_PATHS | {PREDICT_PATH, OPENAPI_PATH, DOCS_PATH},
            ),
            Middleware(RequireKey, keys=keys),
            Middleware(
                Limits,
                max_bytes=settings.max_request_bytes,
                timeout_seconds=settings.request_timeout_seconds,
                max_concurrent=settings.max_concurrent_requests,
                metrics=metrics,
            ),
        ],
        # A redirect would be one more answer to document, and drops the body in many clients.
        redirect_slashes=False,
        openapi_url=OPENAPI_PATH,
        docs_url=DOCS_PATH,
        redoc_url=None,
    )
    app.exception_handler(RequestValidationError)(_invalid_input)
    app.exception_handler(HTTPException)(_http_problem)
    # RequireKey does the checking; this only tells the schema about it.
    bearer = HTTPBearer(auto_error=False, description="A line of API_KEYS_FILE.")

    @app.post(PREDICT_PATH, dependencies=[Security(bearer)] if keys.required else [], responses=PREDICT_ANSWERS)
    async def predict(body: PredictRequest) -> PredictResponse:
        """Classify one wine or a batch."""
        predictor = served.predictor
        if predictor is None:
            raise HTTPException(503, served.reason, {"retry-after": "5"})
        predictions = await served.predict(predictor, [wine.row() for wine in body.inputs])
        for prediction in predictions:
            metrics.predictions.labels(prediction.label).inc()
        return PredictResponse(predictions=predictions, model=predictor.identity)

    @app.get("/livez")
    async def livez() -> Alive:
        """Whether the process answers at all. Looks at nothing else, so a slow model never gets the pod killed."""
        return Alive(status="alive")

    @app.get("/readyz", responses={503: {"model": Problem, "description": "The model has not answered (yet)."}})
    async def readyz() -> Ready:
        """Whether the model has answered its sample."""
        if served.predictor is None:
            raise HTTPException(503, f"{served.status}: {served.reason}")
        return Ready(status="ready", model=served.predictor.identity)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def read_metrics() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


async def _invalid_input(_: Request, error: RequestValidationError) -> Response:
    errors = error.errors()
    # FastAPI's own answer repeats the input: that sends data into logs, and a NaN in it becomes a 500.
    problems = [InputProblem(where=_where(problem["loc"]), what=problem["msg"]) for problem in errors[:MAX_PROBLEMS]]
    hidden = len(errors) - len(problems)
    message = "the body is not what the schema asks for" + (f" (and {hidden} more problems)" if hidden else "")
    return problem_response(422, "invalid_input", message, problems=problems)


def _where(location: tuple[int | str, ...]) -> str:
    # Parts can be names that the caller made up: shorten them, and keep what is no valid text out of the answer.
    parts = [str(part)[:64].encode("utf-8", "replace").decode() for part in location]
    return ".".join(parts[1:] if parts[:1] == ["body"] else parts) or "body"


async def _http_problem(_: Request, error: HTTPException) -> Response:
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return problem_response(error.status_code, code, error.detail, error.headers)
