"""A passphrase in the keyring of the operating system: GNOME, KDE and what else `keyring` knows.

A keyring is open while its user is logged in: it is for agents and operators at a desk, and a systemd credential is for
services. The library is the extra `keyring`, imported only where a setting names an entry.
"""

from __future__ import annotations

from alliance.errors import FailedPrecondition, InvalidInput

FIELD = "keys.keyring"


def check(entry: str, credential: str) -> None:
    """The setting `keys.keyring`, beside `keys.credential`. Raises: InvalidInput."""
    if entry:
        _parse(entry)
    if entry and credential:
        raise InvalidInput("beside keys.credential", field=FIELD, remedy="name one source of the passphrase")


def passphrase(entry: str) -> bytes:
    """The passphrase kept as `SERVICE/NAME`. Raises: FailedPrecondition, InvalidInput."""
    service, name = _parse(entry)
    try:
        import keyring
        from keyring.errors import KeyringError, NoKeyringError
    except ImportError as error:
        raise FailedPrecondition(
            "the keyring library is not installed",
            reason="KEYRING_MISSING",
            remedy="pip install keyring",
        ) from error
    try:
        found = keyring.get_password(service, name)
    except NoKeyringError as error:
        raise FailedPrecondition(
            "there is no keyring here: none runs in this session",
            reason="KEYRING_MISSING",
            remedy="log in where one runs; a service has none, and uses keys.credential",
        ) from error
    except KeyringError as error:
        raise FailedPrecondition(
            f"the keyring does not open ({type(error).__name__})", reason="KEYRING_LOCKED", remedy="unlock it"
        ) from error
    phrase = (found or "").strip()
    if not phrase:
        raise FailedPrecondition(
            f"the keyring has no {entry}",
            reason="PASSPHRASE_MISSING",
            remedy=f'run "keyring set {service} {name}" and give it the passphrase',
        )
    return phrase.encode()


def _parse(entry: str) -> tuple[str, str]:
    service, is_, name = entry.partition("/")
    if not (service and is_ and name):
        raise InvalidInput(f"{entry!r} is not SERVICE/NAME", field=FIELD, remedy="name the entry of the keyring")
    return service, name
