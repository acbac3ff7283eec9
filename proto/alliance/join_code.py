"""The one paste-able code of an invitation: where to enrol, which CA to trust, as whom, and the secret.

The code carries the CA certificate itself, so the very first connection is verified and no "trust on
first use" step exists. It is a bearer secret: read from standard input or a file, never from argv.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from alliance.chain import UNREADABLE
from alliance.errors import InvalidInput
from alliance.names import MemberId, member_id

PREFIX = "alliance1_"
SECRET_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinCode:
    """`address` is the enrolment listener, "host:port"."""

    alliance: str
    address: str
    member: MemberId
    ca: x509.Certificate
    secret: bytes = field(repr=False)

    def encode(self) -> str:
        """One line of URL-safe characters, with a checksum against broken copies."""
        body = json.dumps(
            {
                "a": self.alliance,
                "h": self.address,
                "m": self.member,
                "c": base64.b64encode(self.ca.public_bytes(serialization.Encoding.DER)).decode(),
                "s": base64.b64encode(self.secret).decode(),
            },
            separators=(",", ":"),
        ).encode()
        return PREFIX + base64.urlsafe_b64encode(body + _checksum(body)).decode().rstrip("=")


def parse(text: str) -> JoinCode:
    """Raises: InvalidInput, without echoing the code."""
    code = "".join(text.split())
    if not code.startswith(PREFIX):
        raise _malformed(f"a join code starts with {PREFIX}")
    packed = code.removeprefix(PREFIX)
    try:
        raw = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        body, checksum = raw[:-4], raw[-4:]
        if checksum != _checksum(body):
            raise _malformed("the join code is incomplete or has a typing error")
        parts = json.loads(body)
        secret = base64.b64decode(parts["s"], validate=True)
        if len(secret) != SECRET_SIZE:
            raise _malformed("the join code's secret has the wrong size")
        return JoinCode(
            alliance=str(parts["a"]),
            address=str(parts["h"]),
            member=member_id(str(parts["m"])),
            ca=x509.load_der_x509_certificate(base64.b64decode(parts["c"], validate=True)),
            secret=secret,
        )
    except (binascii.Error, KeyError, *UNREADABLE) as error:
        raise _malformed("the join code cannot be read") from error


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:4]


def _malformed(message: str) -> InvalidInput:
    return InvalidInput(
        message, reason="JOIN_CODE_MALFORMED", field="code", remedy="copy the whole code from the invitation"
    )
