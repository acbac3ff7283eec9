"""The key of this agent's connections: sealed in its own file, or in a PKCS#11 token. Who uses it need not know which.

`keys.pkcs11_uri` says where the next key is made; where the key in use is, `Secrets` says, so that a change of the
setting takes effect at the next renewal. A token's keys are this agent's by a tag from its data key.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from alliance import tls
from alliance.errors import AllianceError, Corrupt, NotAuthenticated
from member_agent import keystore, token_key, token_uri
from member_agent.config import Home, Settings
from member_agent.keystore import Secrets
from member_agent.locks import FileLock
from member_agent.token_key import Signer, TokenKey


def make(uri: str, data_key: bytes) -> ec.EllipticCurvePrivateKey:
    """A new key, in the token where a URI names one. Raises: AllianceError from the token."""
    if not uri:
        return tls.new_channel_key()
    return token_key.generate(token_uri.parse(uri), _tag(data_key))


def kept(held: Secrets, key: ec.EllipticCurvePrivateKey, chain: tuple[bytes, ...] = ()) -> Secrets:
    """The secrets with this key, or this key's name in its token, and its certificate."""
    if isinstance(key, TokenKey):
        return replace(held, channel_key=b"", token_key=key.id, chain=chain, pending=b"")
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return replace(held, channel_key=der, token_key=b"", chain=chain, pending=b"")


def of(held: Secrets, uri: str) -> ec.EllipticCurvePrivateKey:
    """The key in use. Raises: NotAuthenticated where it is in a token that the settings do not name, Corrupt."""
    if held.token_key:
        if not uri:
            raise NotAuthenticated(
                "the channel key is in a token, and keys.pkcs11_uri is empty",
                reason=token_key.MISSING,
                field=token_uri.FIELD,
                remedy='set it, or run "alliance-agent renew": it makes a new key, and proves itself by the member '
                "identity",
            )
        return TokenKey(token_uri.parse(uri), held.token_key)
    key = serialization.load_der_private_key(held.channel_key, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Corrupt("the channel key is not P-256", reason="KEYS_CORRUPT", remedy="restore keys.sealed from a backup")
    return key


def signer(key: ec.EllipticCurvePrivateKey) -> Signer | None:
    """What signs handshakes, where the key itself cannot be handed over."""
    return Signer(key) if isinstance(key, TokenKey) else None


def discard(key: ec.EllipticCurvePrivateKey) -> None:
    """Of a key that came to nothing: not left in the token, if the token lets it go."""
    if isinstance(key, TokenKey):
        with suppress(AllianceError):
            token_key.destroy(key)


def renewing(home: Home) -> FileLock:
    """Held from making a key until it is saved, so that nobody takes it for one of a renewal that was cut off."""
    return FileLock(home.renewing_lock, wait=60)


def settle(home: Home, current: Settings, held: Secrets) -> int:
    """When the key in use has worked: destroys this agent's other keys in the token. Returns how many.

    Raises: AllianceError from the token.
    """
    if not held.token_key:
        return 0
    uri, tag = token_uri.parse(current.keys_pkcs11_uri), held.token_key[: token_key.TAG_SIZE]
    if token_key.ids(uri, tag) == [held.token_key]:
        return 0
    with renewing(home):
        # Another process may have renewed since.
        newest = keystore.load(home.keys_file, home.passphrase(current))
        others = [id for id in token_key.ids(uri, tag) if id not in (held.token_key, newest.token_key)]
        for id in others:
            token_key.destroy(TokenKey(uri, id))
    return len(others)


def where(held: Secrets, current: Settings) -> str:
    """For people. Raises: InvalidInput."""
    if not held.token_key:
        return "in keys.sealed"
    return str(token_uri.parse(current.keys_pkcs11_uri)) if current.keys_pkcs11_uri else "in a token that is not named"


def _tag(data_key: bytes) -> bytes:
    return hashlib.sha256(b"alliance/v1/token-keys" + data_key).digest()[: token_key.TAG_SIZE]
