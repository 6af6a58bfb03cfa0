"""The endpoints, and how the parts are put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from .tracing import Traces

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


def create_app(settings: Settings, load_model: Callable[[], Predictor] | None = None, first: bool = True) -> FastAPI:
    """Build the application. Raises SettingsError when the key file gives no key. Tests pass a model of their own.

    The first worker listens while its model loads, for whoever asks how that goes, any other one once both have it.
    So a pod that is ready answers with one, whichever worker is asked, also while another one is replaced.
    """
    workers = settings.workers
    metrics = Metrics(workers.metrics_dir if workers else None)
    keys = ApiKeys.load(settings.api_keys_file)
    # Each worker takes its part: none of them knows how many the others are answering.
    places = settings.max_concurrent_requests // (workers.count if workers else 1)
    served = ServedModel(
        load_model or (lambda: Model.load(settings.model_dir, settings.threads)), settings.threads, metrics
    )

    async def load() -> None:
        await served.load()
        if workers and first and served.predictor is not None:
            workers.first_is_ready.touch()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if keys.required:
            log.info("API keys read", count=len(keys), file=str(settings.api_keys_file))
        else:
            log.warning("API_KEYS_FILE is not set: everyone who reaches this port may ask")
        # Not awaited: the server listens at once, /livez answers, /readyz says "loading".
        loading = asyncio.create_task(load())
        if workers and not first:
            await loading
            # A model that cannot be loaded is told by the log and by ml_api_model_ready.
            while served.predictor is None or not workers.first_is_ready.exists():  # noqa: ASYNC110, another process
                await asyncio.sleep(0.1)
        metrics.in_flight_limit.set(places)
        yield
        loading.cancel()
        served.close()
        if traces is not None:
            await traces.close()

    handlers = OPEN_PATHS | {PREDICT_PATH, OPENAPI_PATH, DOCS_PATH}
    app = FastAPI(
        title="mf-demo",
        description="Tells which of three wines is in the bottle. A sample Python ML API.",
        lifespan=lifespan,
        middleware=[
            Middleware(RequestLog, metrics=metrics, handlers=handlers),
            Middleware(RequireKey, keys=keys),
            Middleware(
                Limits,
                max_bytes=settings.max_request_bytes,
                timeout_seconds=settings.request_timeout_seconds,
                max_concurrent=places,
                metrics=metrics,
            ),
        ],
        # A redirect would be one more answer to document, and drops the body in many clients.
        redirect_slashes=False,
        # FastAPI's own would tell paths and query strings; see tracing.py.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        openapi_url=OPENAPI_PATH,
        docs_url=DOCS_PATH,
        redoc_url=None,
    )
    traces = _traces(app, handlers) if settings.traces_to else None
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
        rows = [wine.row() for wine in body.inputs]
        with traces.inference(len(rows)) if traces else nullcontext():
            predictions = await served.predict(predictor, rows)
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


def _traces(app: FastAPI, handlers: frozenset[str]) -> Traces:
    from .tracing import Trace, Traces

    traces = Traces(app.title)
    # Outermost, so that the request's log line has the trace's id.
    app.add_middleware(Trace, traces=traces, handlers=handlers)
    return traces


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
