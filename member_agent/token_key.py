"""P-256 keys that a PKCS#11 token makes and never gives away: made, used and destroyed there, by their CKA_ID.

Every use opens the token, logs in, works and closes, under one lock: C_Initialize is the process's, a login too, and
tokens are unplugged. A PIN that was refused is not tried again by this process, since tokens lock themselves after a
few. A `TokenKey` is an elliptic curve key for `cryptography`, which signs requests with it as with its own.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.utils import Buffer

from alliance.errors import AllianceError, Corrupt, FailedPrecondition, NotAuthenticated, Unavailable
from member_agent.token_uri import FIELD, TokenUri

if TYPE_CHECKING:
    import pkcs11

T = TypeVar("T")
# An id is the owner's tag, then random: one agent finds its own keys among others' in the same token.
TAG_SIZE, ID_SIZE = 8, 16
MISSING = "CHANNEL_KEY_MISSING"
_LOCK = threading.RLock()
# Digests of (module, token, PIN) that a token refused.
_REFUSED: set[bytes] = set()


class TokenKey(ec.EllipticCurvePrivateKey):
    """A key by its id; whether it is there, its use says. Raises: as `TokenKey.sign`."""

    def __init__(self, uri: TokenUri, id: bytes) -> None:
        self.uri, self.id = uri, id

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """ECDSA over SHA-256, DER. Raises: Unavailable, NotAuthenticated, FailedPrecondition."""
        if not isinstance(signature_algorithm.algorithm, hashes.SHA256):
            raise ValueError("a channel key signs SHA-256 only")
        # Of the digest, since every token can do that; some cannot hash.
        digest = hashlib.sha256(data).digest()

        def work(session: pkcs11.Session) -> bytes:
            from pkcs11 import Mechanism

            return bytes(_private(session, self.uri, self.id).sign(digest, mechanism=Mechanism.ECDSA))

        raw = _opened(self.uri, work)
        half = len(raw) // 2
        return utils.encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Raises: as `sign`; Corrupt."""

        def work(session: pkcs11.Session) -> bytes:
            from pkcs11 import ObjectClass
            from pkcs11.util.ec import encode_ec_public_key

            found = session.get_key(object_class=ObjectClass.PUBLIC_KEY, id=self.id)
            return bytes(encode_ec_public_key(found))  # type: ignore[arg-type]  # because get_key returns any kind

        key = serialization.load_der_public_key(_opened(self.uri, work))
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise Corrupt("the token's key is not P-256", reason="KEYS_CORRUPT", remedy='run "alliance-agent renew"')
        return key

    @property
    def curve(self) -> ec.EllipticCurve:
        return ec.SECP256R1()

    @property
    def key_size(self) -> int:
        return 256

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        self._stays()

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        self._stays()

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> bytes:
        self._stays()

    def __copy__(self) -> TokenKey:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenKey:
        return self

    def _stays(self) -> NoReturn:
        raise ValueError("the key signs, and stays in its token")


def generate(uri: TokenUri, tag: bytes) -> TokenKey:
    """A new key, non-extractable and sensitive, whose id begins with `tag`. Raises: as `TokenKey.sign`."""
    id = tag + os.urandom(ID_SIZE - len(tag))

    def work(session: pkcs11.Session) -> None:
        from pkcs11 import Attribute, KeyType
        from pkcs11.util.ec import encode_named_curve_parameters

        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        closed = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
        session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(
            store=True, id=id, label=uri.object, private_template=closed
        )

    _opened(uri, work, writes=True)
    return TokenKey(uri, id)


def ids(uri: TokenUri, tag: bytes) -> list[bytes]:
    """Of the keys there whose ids begin with `tag`. Raises: as `TokenKey.sign`."""

    def work(session: pkcs11.Session) -> list[bytes]:
        from pkcs11 import Attribute, ObjectClass

        wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: uri.object}
        found = [bytes(one[Attribute.ID]) for one in session.get_objects(wanted)]
        return sorted(id for id in found if len(id) == ID_SIZE and id.startswith(tag))

    return _opened(uri, work)


def destroy(key: TokenKey) -> None:
    """Both halves; one that is gone already is no error. Raises: as `TokenKey.sign`."""

    def work(session: pkcs11.Session) -> None:
        from pkcs11 import Attribute

        for found in list(session.get_objects({Attribute.ID: key.id, Attribute.LABEL: key.uri.object})):
            found.destroy()

    _opened(key.uri, work, writes=True)


def require(key: TokenKey) -> None:
    """The token is there, opens, and has the key. Raises: as `TokenKey.sign`."""
    _opened(key.uri, lambda session: _private(session, key.uri, key.id))


def _private(session: pkcs11.Session, uri: TokenUri, id: bytes) -> Any:
    from pkcs11 import ObjectClass

    return session.get_key(object_class=ObjectClass.PRIVATE_KEY, id=id, label=uri.object)


def _opened(uri: TokenUri, work: Callable[[pkcs11.Session], T], *, writes: bool = False) -> T:
    """What `work` finds in the opened token."""
    with _LOCK, _explained(uri):
        import pkcs11

        module = _module(uri)
        try:
            token = _find(uri, module)
        except pkcs11.PKCS11Error:
            # Plugged in since the module looked, or out and in again. No session is open anywhere: all are closed
            # under the lock.
            module.reinitialize()
            token = _find(uri, module)
        try:
            return _logged_in(uri, token, work, writes=writes)
        except pkcs11.NoSuchKey:
            module.reinitialize()
            return _logged_in(uri, _find(uri, module), work, writes=writes)


def _find(uri: TokenUri, module: Any) -> pkcs11.Token:
    """The token, after a session without its PIN, which tells that it is really there."""
    token: pkcs11.Token = module.get_token(token_label=uri.token or None, token_serial=uri.serial.encode() or None)
    token.open().close()
    return token


def _logged_in(uri: TokenUri, token: pkcs11.Token, work: Callable[[pkcs11.Session], T], *, writes: bool) -> T:
    import pkcs11

    pin = uri.pin()
    tried = hashlib.sha256(repr((str(uri.module), token.label, token.serial, pin)).encode()).digest()
    if tried in _REFUSED:
        raise _wrong_pin(uri)
    try:
        opened = token.open(rw=writes, user_pin=pin)
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        _REFUSED.add(tried)
        raise _wrong_pin(uri) from error
    with opened as session:
        return work(session)


def _module(uri: TokenUri) -> Any:
    import pkcs11

    try:
        return pkcs11.lib(str(uri.module))
    except (pkcs11.PKCS11Error, OSError) as error:
        raise FailedPrecondition(
            f"{uri.module} cannot be loaded as a PKCS#11 module",
            reason="TOKEN_MODULE_MISSING",
            field=FIELD,
            remedy="install the token's driver, or mend module-path",
        ) from error


def _wrong_pin(uri: TokenUri) -> NotAuthenticated:
    return NotAuthenticated(
        f"the PIN does not open {uri}",
        reason="TOKEN_PIN_WRONG",
        remedy="put the right PIN where pin-source says, before you start again: a token locks itself after a few",
    )


@contextmanager
def _explained(uri: TokenUri) -> Iterator[None]:
    """Says what a token's error means; PKCS#11 has only codes."""
    try:
        import pkcs11
    except ImportError as error:
        raise FailedPrecondition(
            "python-pkcs11 is not installed", reason="PKCS11_MISSING", remedy="pip install python-pkcs11"
        ) from error
    try:
        yield
    except pkcs11.NoSuchKey as error:
        raise NotAuthenticated(
            f"the channel key is not in {uri}",
            reason=MISSING,
            remedy='put the right token in, or run "alliance-agent renew": it makes a new key, and proves itself by '
            "the member identity",
        ) from error
    except (pkcs11.NoSuchToken, pkcs11.TokenNotPresent, pkcs11.DeviceRemoved) as error:
        raise Unavailable(
            f"there is no {uri}", reason="TOKEN_ABSENT", field=FIELD, remedy="put it in, or mend the token's name"
        ) from error
    except pkcs11.MultipleTokensReturned as error:
        raise FailedPrecondition(
            f"there are several: {uri}", reason="TOKEN_AMBIGUOUS", field=FIELD, remedy="add serial=..."
        ) from error
    except (pkcs11.PinLocked, pkcs11.PinExpired, pkcs11.UserPinNotInitialized) as error:
        raise NotAuthenticated(
            f"{uri} accepts no PIN now ({type(error).__name__})",
            reason="TOKEN_LOCKED",
            remedy="unlock it, or set its user PIN, with its maker's tool",
        ) from error
    except pkcs11.PKCS11Error as error:
        raise Unavailable(
            f"{uri} failed: {type(error).__name__}", reason="TOKEN_FAILED", remedy="see the token's own log"
        ) from error


class Signer:
    """Signs TLS handshakes for gRPC, off its threads; `failure` is why the last one was not signed, if it was not."""

    def __init__(self, key: TokenKey) -> None:
        self._key = key
        self.failure: AllianceError | None = None

    def __call__(self, data: bytes, algorithm: object, done: Callable[[bytes | Exception], None]) -> Callable[[], None]:
        """gRPC's `CustomPrivateKeySign`: returns at once, `done` takes the signature or the error."""
        threading.Thread(target=self._sign, args=(bytes(data), done), name="token-sign", daemon=True).start()
        return lambda: None

    def _sign(self, data: bytes, done: Callable[[bytes | Exception], None]) -> None:
        try:
            signature = self._key.sign(data, ec.ECDSA(hashes.SHA256()))
        except AllianceError as error:
            self.failure = error
            done(error)
        except Exception as error:
            # gRPC waits for `done`: whatever it was, it is told.
            self.failure = Unavailable(f"the token failed: {type(error).__name__}", reason="TOKEN_FAILED")
            done(self.failure)
        else:
            self.failure = None
            done(signature)
