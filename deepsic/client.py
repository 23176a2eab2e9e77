"""A client of the service, with the verbs of `Codec`.

    with deepsic.Client("http://localhost:8000") as client:
        blob = client.encode("photo.jpg", quality=50)
        for label in client.labels(blob):          # sends the first bytes of the file only
            print(label.name, label.probability)
        image = client.decode(blob)                # PIL image

Needs httpx (`pip install 'deepsic[client]'`) and nothing else heavy: no torch, no model files.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deepsic import errors
from deepsic.bitstream.facts import SicFile, read_file
from deepsic.bitstream.header import PREFIX_BYTES
from deepsic.bitstream.semantics import Label
from deepsic.errors import DeepsicError, StorageError, UsageError
from deepsic.labels import TOP
from deepsic.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    import httpx
    from PIL import Image

    from deepsic.image_io.load import ImageSource

__all__ = ["Client", "ServiceError", "error_of", "image_file", "label_of", "read"]

#: Enough for the header and labels of nearly every file; `labels` sends more if it isn't.
FIRST_BYTES = 256
#: How often a request is sent at most, and the shortest pause before it is sent again, seconds.
ATTEMPTS = 4
PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
PROBLEM = "application/problem+json"
_MODES_OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class ServiceError(StorageError):
    """The service can't be reached, is busy, or failed; trying again later may help."""

    title = "Service failed"
    public = True


#: Problem titles that stand for an error of ours, so that callers catch the same classes as with
#: `Codec`.
KINDS: dict[str, type[DeepsicError]] = {
    kind.title: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, DeepsicError) and kind is not DeepsicError
}


class Client:
    """One service, over a pool of connections; threads may share it.

    Args:
        url: where the service is, such as "https://codec.example.org".
        token: its bearer token, if it wants one.
        timeout_s: time for one request, seconds.
        attempts: how often a request is sent while the service is busy or the connection breaks;
            all requests are safe to repeat. 1: never again.

    Raises: `UsageError` if httpx isn't installed.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        attempts: int = ATTEMPTS,
    ) -> None:
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise UsageError("deepsic.Client needs httpx; pip install 'deepsic[client]'") from error
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._attempts = max(1, attempts)
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def encode(
        self,
        image: ImageSource,
        quality: int | None = None,
        *,
        bpp: float | None = None,
        max_bytes: int | None = None,
        model: str | None = None,
        tune: str | None = None,
        labels: bool = True,
        refine_for: Sequence[str] = (),
    ) -> bytes:
        """An image as a `.sic` file.

        Args:
            image: as `Codec.encode` takes it; files are sent as they are.
            quality: 1 to 100; 50 if neither `bpp` nor `max_bytes` is given.
            bpp: bits a pixel to aim at, header included.
            max_bytes: what the file must stay below.
            model: one of `models()`; None: the service's default.
            tune: "psnr" or "ssim", as `Codec.load` takes it, of models that are tuned for it.
            labels: let the service's classifier put labels into the file.
            refine_for: networks of those that the service names; the file is fitted to them.

        Raises: as `Codec.encode`, and `ServiceError`.
        """
        wanted = {
            "quality": quality, "bpp": bpp, "max_bytes": max_bytes, "model": model, "tune": tune,
        }  # fmt: skip
        query: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
        if not labels:
            query["labels"] = "false"
        if refine_for:
            query["refine_for"] = list(refine_for)
        return self._post("encode", image_file(image), query).content

    def decode(self, blob: SicFile) -> Image.Image:
        """A `.sic` file as a PIL image; EXIF, ICC profile and XMP are in its `info`.

        Raises: as `Codec.decode`, and `ServiceError`.
        """
        from PIL import Image

        answer = self._post("decode", read(blob), {}, {"Accept": "image/png"})
        image = Image.open(io.BytesIO(answer.content), formats=("PNG",))
        image.load()
        return image

    def labels(self, blob: SicFile, top: int = TOP) -> list[Label]:
        """What a file shows, most probable first; only its first bytes travel.

        Raises: as `Codec.labels`, and `ServiceError`.
        """
        data = read(blob)
        try:
            reply = self._post("labels", data[:FIRST_BYTES], {"top": top}).json()
        except errors.CorruptFileError:
            if len(data) <= FIRST_BYTES:
                raise
            reply = self._post("labels", data, {"top": top}).json()
        if reply["source"] == "none":  # none are stored: the model has to see the whole file
            reply = self._post("labels", data, {"top": top, "look": True}).json()
        return [label_of(item) for item in reply["labels"]]

    def info(self, blob: SicFile) -> dict[str, Any]:
        """A file's header and labels, as the service reports them."""
        reply: dict[str, Any] = self._post("info", read(blob)[:PREFIX_BYTES], {}).json()
        return reply

    def models(self) -> dict[str, Any]:
        """Models, classifier and limits of the service."""
        reply: dict[str, Any] = self._send("GET", "/v1/models").json()
        return reply

    def _post(
        self,
        verb: str,
        body: bytes,
        query: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        given = {"Content-Type": "application/octet-stream", **(headers or {})}
        return self._send("POST", f"/v1/{verb}", content=body, params=dict(query), headers=given)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        import httpx

        attempt = 0
        while True:
            attempt += 1
            last = attempt >= self._attempts
            pause = PAUSE_S * 2 ** (attempt - 1)
            try:
                answer = self._http.request(method, path, **options)
            except httpx.HTTPError as error:
                if last or isinstance(error, httpx.TimeoutException):
                    raise ServiceError(f"no answer from {self._http.base_url}: {error}") from error
            else:
                if answer.is_success:
                    return answer
                if last or not _passing(answer, attempt):
                    raise error_of(answer)
                pause = max(pause, _retry_after(answer))
            time.sleep(min(pause, LONGEST_PAUSE_S))


def _passing(answer: httpx.Response, attempt: int) -> bool:
    """Whether the same request may succeed later: the service is busy, or a part of it died."""
    # An image that takes too long, or a machine that was lost with it: the second time shows.
    if answer.status_code == 504 and attempt == 1:
        return True
    # What isn't a problem document was said by something in front of the service.
    ours = answer.headers.get("content-type", "").startswith(PROBLEM)
    return answer.status_code == 503 or (answer.status_code >= 500 and not ours)


def _retry_after(answer: httpx.Response) -> float:
    """What `Retry-After` asks for, seconds."""
    seconds = answer.headers.get("retry-after", "")
    return float(seconds) if seconds.isdecimal() else 0.0


def error_of(answer: httpx.Response) -> DeepsicError:
    """The error that a problem document stands for."""
    try:
        reply = answer.json()
        title, detail = str(reply["title"]), str(reply["detail"])
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"the service answered {answer.status_code}")
    kind = KINDS.get(title)
    if kind is not None:
        return kind(detail)
    if answer.status_code in (408, 429) or answer.status_code >= 500:
        return ServiceError(f"{title}: {detail} ({reply.get('instance', 'no request id')})")
    return UsageError(f"{title}: {detail}")


def label_of(item: Mapping[str, Any]) -> Label:
    """A label from its JSON."""
    box = item.get("box")
    corners = None if box is None else (box[0], box[1], box[2], box[3])
    own = item.get("label_set", "")
    return Label(item["name"], item["wnid"], item["probability"], corners, own)


def read(file: SicFile) -> bytes:
    """Bytes as they are, or a file's. Raises `UsageError`, `InputError`, `LimitError`."""
    return read_file(file, DEFAULT_LIMITS)


def image_file(image: ImageSource) -> bytes:
    """An image as a file that the service reads; what isn't one travels as PNG, without loss."""
    picture: Any = image
    is_file = isinstance(image, (bytes, bytearray, memoryview, str, os.PathLike))
    if is_file or hasattr(image, "read"):
        return read(picture)
    if getattr(picture, "mode", None) not in _MODES_OF_PNG:  # an array, a tensor, CMYK and so on
        from deepsic.image_io.load import load_image, to_pil

        picture = to_pil(load_image(image))
    from deepsic.image_io.metadata import metadata_of, save_options

    out = io.BytesIO()
    kept = save_options(metadata_of(picture), "PNG")
    picture.save(out, "PNG", compress_level=1, **kept)
    return out.getvalue()
