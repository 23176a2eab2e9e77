"""An S3 store with habits that stores in the field have: redirects, folded names, cold objects."""

from __future__ import annotations

import ssl
import time
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tests.support.fault_proxy import Answer, FaultProxy
from tests.support.s3_servers import CREDENTIALS

__all__ = ["StrangeStore", "private_certificate"]

DENIED: Answer = (403, "AccessDenied", {})
COLD: Answer = (403, "InvalidObjectState", {})


class StrangeStore(FaultProxy):
    """A proxy before a server; each attribute is a habit, off until it is set. Also takes what an
    HTTP proxy takes."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, {})
        self.region: str | None = None
        """Requests signed for another region are sent away, as AWS does."""
        self.folds_unicode = False
        """Names become NFC."""
        self.folds_case = False
        """Names become lower case."""
        self.cold: tuple[str, ...] = ()
        """Keys (their ends) that can't be read until they are restored."""
        self.denied_after: int | None = None
        """Object requests after which rights are gone."""
        self.denied: tuple[str, ...] = ()
        """Keys (their ends) that may not be read."""
        self.listing_seconds = 0.0
        """What a page of a listing takes."""
        self.seconds = 0.0
        """What every request takes."""
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        """(method, path, headers in lower case) of all requests."""

    def answer(self, command: str, path: str, headers: Mapping[str, str]) -> Answer | None:
        """What the habits say to this request."""
        seen = {name.lower(): value for name, value in headers.items()}
        self.asked.append((command, path, seen))
        parts = urlsplit(path)
        listing = "list-type" in parts.query
        time.sleep(self.seconds + (self.listing_seconds if listing else 0.0))
        signed = f"/{self.region}/s3/" in seen.get("authorization", "")
        if self.region is not None and "s3/aws4" in seen.get("authorization", "") and not signed:
            where = {"x-amz-bucket-region": self.region}
            return (400 if command == "HEAD" else 301, "PermanentRedirect", where)
        key = unquote(parts.path)
        if command == "GET" and not listing:
            if key.endswith(self.cold) and self.cold:
                return COLD
            if key.endswith(self.denied) and self.denied:
                return DENIED
        if self.denied_after is not None and key.count("/") > 1:
            self.denied_after -= 1
            if self.denied_after < 0:
                return DENIED
        return None

    def rewrite(self, path: str) -> str:
        """The name that the store takes this one for."""
        parts = urlsplit(path)
        key = unquote(parts.path)
        if self.folds_unicode:
            key = unicodedata.normalize("NFC", key)
        if self.folds_case:
            key = key.lower()
        query = f"?{parts.query}" if parts.query else ""
        return (quote(key) if key != unquote(parts.path) else parts.path) + query

    def headers(
        self, command: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Mapping[str, str]:
        """Signed again for the name that was rewritten: servers check what is signed."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        kept = {
            n: v for n, v in headers.items() if n.lower() not in ("authorization", "x-amz-date")
        }
        kept["Host"] = self.upstream.netloc
        request = AWSRequest(command, self.upstream.geturl() + path, headers=kept, data=body)
        keys = Credentials(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
        S3SigV4Auth(keys, "s3", CREDENTIALS["AWS_DEFAULT_REGION"]).add_auth(request)
        return dict(request.headers.items())


def private_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """(a server's context for 127.0.0.1, the file of the authority that signed for it)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a private authority")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, private = folder / "authority.pem", folder / "key.pem"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    return context, authority
