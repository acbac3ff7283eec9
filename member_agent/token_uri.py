"""Where a token is and what opens it: a `pkcs11:` URI (RFC 7512) with the module's path and the PIN's source.

`pkcs11:token=LABEL;object=NAME?module-path=/PATH&pin-source=file:/PATH`; `serial` may stand for or beside `token`,
`credential:NAME` for a file is a systemd credential. The PIN is never in the URI, since settings and command lines
are read by others; it is read anew whenever the token is opened.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from alliance.errors import FailedPrecondition, InvalidInput
from alliance.sealed_file import CREDENTIALS

SCHEME = "pkcs11:"
FIELD = "keys.pkcs11_uri"
EXAMPLE = "pkcs11:token=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/alliance/pin"
DEFAULT_OBJECT = "alliance-agent"
_PATH = ("token", "serial", "object")
_QUERY = ("module-path", "pin-source")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUri:
    """`token` and `serial` are empty where the URI does not say them; `object` is the label of the keys made."""

    token: str
    serial: str
    object: str
    module: Path
    pin_source: str

    def pin(self) -> str:
        """Raises: FailedPrecondition for a PIN that is not there, or that others may read."""
        file = self.pin_file()
        try:
            if not self.credential and file.stat().st_mode & 0o077:
                raise FailedPrecondition(
                    f"the PIN file {file.name} is readable by others",
                    reason="TOKEN_PIN_EXPOSED",
                    remedy=f"chmod 600 {file}",
                )
            text = file.read_text().strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise _no_pin(
                f"cannot read the token's PIN from {file.name}", f"mend pin-source in {FIELD}, or the file"
            ) from error
        if not text:
            raise _no_pin(f"the PIN file {file.name} is empty", "write the token's user PIN into it")
        return text

    @property
    def credential(self) -> str:
        """The name of the systemd credential that holds the PIN, if one does."""
        return self.pin_source.removeprefix("credential:") if self.pin_source.startswith("credential:") else ""

    def pin_file(self) -> Path:
        """Where the PIN is. Raises: FailedPrecondition where a credential is named and systemd passed none."""
        if not self.credential:
            return Path(unquote(self.pin_source.removeprefix("file:").removeprefix("//")))
        folder = os.environ.get(CREDENTIALS)
        if not folder:
            raise _no_pin(
                f"no systemd credential {self.credential}: {CREDENTIALS} is not set",
                f"start it as a service with LoadCredentialEncrypted={self.credential}",
            )
        return Path(folder) / self.credential

    def __str__(self) -> str:
        """For people: neither paths nor where the PIN is."""
        return f"token {self.token or self.serial}, object {self.object}"


def parse(text: str) -> TokenUri:
    """Raises: InvalidInput naming `keys.pkcs11_uri`; what is not understood is refused, not passed over."""
    if not text.startswith(SCHEME):
        raise _wrong(f"a PKCS#11 URI begins with {SCHEME}")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    said = _attributes(path, ";", _PATH) | _attributes(query, "&", _QUERY)
    if not said.get("token") and not said.get("serial"):
        raise _wrong("it names no token")
    module = Path(unquote(said.get("module-path", "")))
    if not module.is_absolute():
        raise _wrong("module-path must be the whole path of the token's PKCS#11 library")
    source = said.get("pin-source", "")
    if not re.fullmatch(r"file:(//)?/[^/].*|credential:[A-Za-z0-9_.-]+", source):
        raise _wrong("pin-source must be file:/PATH, or credential:NAME for a systemd credential")
    return TokenUri(
        token=unquote(said.get("token", "")),
        serial=unquote(said.get("serial", "")),
        object=unquote(said.get("object", "")) or DEFAULT_OBJECT,
        module=module,
        pin_source=source,
    )


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else ():
        name, is_, value = part.partition("=")
        if name == "pin-value":
            raise _wrong("a PIN does not belong into a URI, where others read it; use pin-source")
        if name not in known or not is_ or name in found:
            # Without its value, which may be a secret in the wrong place.
            raise _wrong(f"{name[:40]!r} is not understood, or said twice; known are {', '.join(known)}")
        found[name] = value
    return found


def _wrong(what: str) -> InvalidInput:
    return InvalidInput(what, reason="TOKEN_URI_INVALID", field=FIELD, remedy=f"write it like {EXAMPLE}")


def _no_pin(what: str, remedy: str) -> FailedPrecondition:
    return FailedPrecondition(what, reason="TOKEN_PIN_MISSING", remedy=remedy)
