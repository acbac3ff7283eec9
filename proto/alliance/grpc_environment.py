"""What gRPC takes from the environment only, once, when it is first imported: TLS 1.3 or nothing, and a quiet log.

gRPC has no option for the least version of TLS, but one for the cipher suites of TLS 1.2; those of TLS 1.3 are not
up for choice. With nothing but an RSA suite left, and P-256 certificates on every side (`alliance.tls`), a
handshake below TLS 1.3 finds no cipher, whichever end we are.
"""

from __future__ import annotations

import os


def prepare() -> None:
    """Call in an entry point, before anything imports gRPC."""
    os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES128-GCM-SHA256"
    # Its lines about broken handshakes would break up the JSON lines of `alliance.log`, and our errors say as much.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
