"""What the operator decides: one frozen object, made from the command line or from YAML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from deepsic import weights
from deepsic.errors import UsageError
from deepsic.limits import Limits
from pipelines.models import model_file, pinned

__all__ = ["TOKEN_VARIABLE", "ServeSettings", "settings_from"]

TOKEN_VARIABLE = "DEEPSIC_SERVE_TOKEN"
MIN_TOKEN_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Settings of the service; every field has a default that is safe on the open internet."""

    models: tuple[str, ...] = ("sic",)
    """Models offered, by shipped name, path or place on s3://; the first is the default."""
    classifier: str | None = "efficientnet-lite0"
    """Classifier that labels images and draws heat maps; None: files carry no labels."""
    refine_for: tuple[str, ...] = ()
    """Classifiers that a request may have its file refined for."""
    refine_s: float = 10.0
    """How long refinement may take of a request, seconds, about; what is reached then is sent."""
    device: str = "auto"
    """Where the codec runs: "auto", "cpu" or "cuda"."""

    max_body_bytes: int = 20_000_000
    """Largest request body, bytes; refused before anything is parsed."""
    max_pixels: int = 50_000_000
    """Largest image, width x height, read from its header before decoding."""
    max_buffered_bytes: int = 256_000_000
    """All request bodies that one ingress replica holds at once, bytes; beyond: 503."""
    body_timeout_s: float = 20.0
    """Time a client has to deliver its body, seconds; beyond: 408."""
    request_timeout_s: float = 60.0
    """Time for the whole request, seconds; beyond: 504."""
    retry_after_s: int = 2
    """What `Retry-After` says when the queue is full, seconds."""

    token_file: str | None = None
    """File with the bearer token; None: the environment variable DEEPSIC_SERVE_TOKEN, else open."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the API; none by default."""

    ingress_replicas: int = 1
    """Processes that speak HTTP (they do no heavy work)."""
    min_replicas: int = 1
    """Codec replicas at least."""
    max_replicas: int = 2
    """Codec replicas at most; Ray Serve scales between the two."""
    cpus_per_replica: float = 1.0
    """CPUs of a codec replica, and its torch threads."""
    gpus_per_replica: float = 0.0
    """GPUs of a codec replica; may be a fraction."""
    bulk_replicas: int = 1
    """Replicas at the lowest priority for work beyond `bulk_pixels`; 0: all replicas do all."""
    bulk_pixels: int = 1_000_000
    """Pixels that the codec goes over, times the passes that a search for a size takes."""
    max_batch: int = 2
    """Most images that a replica takes together."""
    batch_wait_s: float = 0.0
    """How long an image waits for company, seconds; those that come while others are in work go
    together in any case."""
    max_queued: int = 16
    """Requests of one client that may wait, for each ingress replica; beyond: 503."""
    drain_s: float = 65.0
    """How long a stopping replica may finish what it has, seconds; at least `request_timeout_s`."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks whose `X-Forwarded-For` says who the client is."""

    max_uploads_bytes: int = 256_000_000
    """Images that are kept for further requests, all together, bytes; the oldest go first."""
    upload_s: float = 900.0
    """How long an upload is kept after its last use, seconds."""
    log_file: str | None = None
    """Where each request's line goes (a file or a pipe); None: the replica's stderr, which Ray
    keeps."""

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("models is empty: name at least one, such as 'sic'")
        zero_is_fine = {"gpus_per_replica", "batch_wait_s", "bulk_replicas"}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and value < 0:
                raise UsageError(f"{field.name}={value} must not be negative")
            if value == 0 and field.name not in zero_is_fine:
                raise UsageError(f"{field.name}={value} must be positive")
        if self.min_replicas > self.max_replicas:
            raise UsageError(
                f"min_replicas={self.min_replicas} is more than max_replicas={self.max_replicas}"
            )

        if self.drain_s < self.request_timeout_s:
            raise UsageError(
                f"drain_s={self.drain_s:g} is less than request_timeout_s="
                f"{self.request_timeout_s:g}: requests in work would be cut off"
            )
        for network in self.trusted_proxies:
            try:
                ip_network(network)
            except ValueError as error:
                raise UsageError(f"trusted_proxies: {error}") from error

    def check(self) -> ServeSettings:
        """Find what would only fail in a replica: names of models and of the classifier, the token.

        Returns: the same, with models on s3:// pinned to what they are now, for every replica.

        Raises: `UsageError`, `UnknownModelError`, `InputError`.
        """
        self.token()
        for model in self.models:
            weights.read(model_file(model))
        networks = [*filter(None, (self.classifier,)), *self.refine_for]
        if networks:
            try:
                from deepsic.tasks import load_classifier
            except ImportError as error:
                raise UsageError(
                    f"{networks[0]!r} needs {error.name}: pip install 'deepsic[tasks]', or serve "
                    "without (--classifier none)"
                ) from error
            for name in networks:
                load_classifier(name)
        return replace(self, models=tuple(pinned(model) for model in self.models))

    @property
    def limits(self) -> Limits:
        """The library's limits as this service sets them."""
        return Limits(
            max_pixels=self.max_pixels,
            max_input_bytes=self.max_body_bytes,
            max_metadata_bytes=min(self.max_body_bytes, Limits.max_metadata_bytes),
        )

    @property
    def default_model(self) -> str:
        """Name of the model that requests get when they name none."""
        return Path(self.models[0]).stem

    def token(self) -> str | None:
        """The bearer token, or None for an open service.

        Raises: `UsageError` for a file that can't be read, or a token that can be guessed.
        """
        if self.token_file is not None:
            try:
                token = Path(self.token_file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"token_file can't be read: {error}") from error
        else:
            token = os.environ.get(TOKEN_VARIABLE, "").strip()
            if not token:
                return None
        if len(token) < MIN_TOKEN_LENGTH or not token.isascii():
            raise UsageError(
                f"the bearer token must be at least {MIN_TOKEN_LENGTH} ASCII characters; "
                "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        return token


def settings_from(arguments: Mapping[str, Any]) -> ServeSettings:
    """Settings from the `args` of a Serve config; lists become tuples.

    Raises: `UsageError` for a name that isn't a setting.
    """
    known = {field.name for field in fields(ServeSettings)}
    unknown = sorted(set(arguments) - known)
    if unknown:
        raise UsageError(
            f"unknown settings {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        )
    values: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in arguments.items()
    }
    try:
        return ServeSettings(**values)
    except TypeError as error:
        raise UsageError(f"a setting has the wrong type: {error}") from error
