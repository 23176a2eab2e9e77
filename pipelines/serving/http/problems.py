"""Errors as RFC 9457 problem documents: what a client may see, and nothing else.

    {"type": "urn:deepsic:problem:limit-exceeded", "title": "Limit exceeded", "status": 413,
     "detail": "image of 9000x9000 has …", "instance": "urn:deepsic:request:5f0c…"}

The request's identity is in `instance`, in the `X-Request-Id` header and in the log, so a user
can report an error without our telling them where it happened. No trace, no path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from deepsic.errors import DeepsicError, InputError
from pipelines.serving.http.log import log

__all__ = [
    "PROBLEM_RESPONSES",
    "BusyError",
    "MissingClassifierError",
    "ProblemDocument",
    "TimeLimitError",
    "UnknownUploadError",
    "install_handlers",
    "problem_of",
    "problem_response",
]

MEDIA_TYPE = "application/problem+json"
HIDDEN = "The service failed; the operator finds the reason in the log under this request's id."


class BusyError(DeepsicError):
    """All queues are full; try again later."""

    http_status = 503
    title = "Busy"

    def __init__(self, message: str = "all codec replicas are busy and the queue is full") -> None:
        super().__init__(message)


class TimeLimitError(DeepsicError):
    """The work took longer than the service allows."""

    http_status = 504
    title = "Time limit exceeded"


class UnknownUploadError(DeepsicError):
    """A handle that names no upload: it has expired, or its process was restarted."""

    http_status = 404
    title = "Unknown upload"

    def __init__(self, message: str = "this upload has expired: send the file again") -> None:
        super().__init__(message)


class MissingClassifierError(InputError):
    """The service was started without a classifier, so it can't label or explain."""

    http_status = 501
    title = "No classifier"


def slug(title: str) -> str:
    """The last part of a problem's type.

    >>> slug("Limit exceeded")
    'limit-exceeded'
    """
    return "-".join(title.lower().split())


def problem_response(
    status: int,
    title: str,
    detail: str,
    request_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """One problem document as a response."""
    body = {
        "type": f"urn:deepsic:problem:{slug(title)}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": f"urn:deepsic:request:{request_id}",
        **(extra or {}),
    }
    text = json.dumps(body, ensure_ascii=False)
    return Response(text, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: Exception, request_id: str, retry_after_s: int = 2) -> Response:
    """The response for any exception; what isn't meant for the public is only logged."""
    if not isinstance(error, DeepsicError):
        log.error("failed", exc_info=error, extra={"fields": {"id": request_id}})
        return problem_response(500, "Internal error", HIDDEN, request_id)
    if error.http_status >= 500 and not isinstance(error, (BusyError, MissingClassifierError)):
        fields = {"id": request_id, "title": error.title, "detail": str(error)}
        log.error("failed", extra={"fields": fields})
    detail = str(error) if error.public else HIDDEN
    headers = {"Retry-After": str(retry_after_s)} if error.http_status == 503 else {}
    return problem_response(error.http_status, error.title, detail, request_id, headers=headers)


def request_id_of(request: Request) -> str:
    """The identity that the context middleware gave this request."""
    return str(request.scope.get("deepsic.request_id", "unknown"))


def install_handlers(app: FastAPI, retry_after_s: int) -> None:
    """Make every error of `app` a problem document."""

    @app.exception_handler(DeepsicError)
    async def deepsic_error(request: Request, error: DeepsicError) -> Response:
        return problem_of(error, request_id_of(request), retry_after_s)

    @app.exception_handler(RequestValidationError)
    async def bad_parameters(request: Request, error: RequestValidationError) -> Response:
        items = [
            {"parameter": ".".join(str(p) for p in item["loc"][1:]), "reason": item["msg"]}
            for item in error.errors()
        ]
        detail = "; ".join(f"{item['parameter']}: {item['reason']}" for item in items)
        return problem_response(
            400, "Bad request", detail, request_id_of(request), extra={"errors": items}
        )

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        return problem_of(error, request_id_of(request))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return problem_response(
            error.status_code,
            {404: "Not found", 405: "Method not allowed"}.get(error.status_code, "HTTP error"),
            str(error.detail),
            request_id_of(request),
            headers=error.headers,
        )


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 writes it."""

    model_config = ConfigDict(extra="allow")
    type: str = Field(examples=["urn:deepsic:problem:limit-exceeded"])
    title: str = Field(examples=["Limit exceeded"])
    status: int = Field(examples=[413])
    detail: str = Field(examples=["the body is larger than 20,000,000 bytes"])
    instance: str = Field(examples=["urn:deepsic:request:5f0c1be2a0e94f1c9a7c3d0b4f6a8e21"])


def _documented(description: str, **headers: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
    if headers:
        answer["headers"] = {
            name.replace("_", "-"): {"schema": {"type": "string"}, "description": text}
            for name, text in headers.items()
        }
    return answer


#: For FastAPI's `responses=`: what any endpoint that takes a body may answer besides success.
PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: _documented("A parameter is unknown, missing, out of range, or contradicts another"),
    401: _documented("The bearer token is missing or wrong", WWW_Authenticate="Bearer"),
    403: _documented("Another site's page made the request"),
    404: _documented("The upload that a handle names has expired"),
    408: _documented("The body came too slowly"),
    413: _documented("Body or image larger than the service takes"),
    415: _documented("Not an image, or of a kind that isn't taken"),
    422: _documented("A damaged .sic file, or one of an unknown version or model"),
    501: _documented("The service has no classifier"),
    503: _documented("Busy, starting or ending", Retry_After="Seconds"),
    504: _documented("The work took too long"),
}
