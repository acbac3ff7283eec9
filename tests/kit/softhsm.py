"""A real PKCS#11 token in software, SoftHSM's, in a folder of its own: to be made, used, unplugged and put in again.

Promise: nothing outside the folder is read or written. SoftHSM finds its tokens by `SOFTHSM2_CONF`, which is set for
this process and those a test starts, and reads it when it is first used: labels are random, so that a token of another
test is never taken for this one's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from alliance.errors import Unavailable

_MISSING = 'no SoftHSM on this machine: run "make services" as root, or install softhsm2'
_PLACES = ("usr/lib/softhsm", "usr/lib/*/softhsm", "usr/lib64/softhsm", "usr/lib64/pkcs11", "usr/local/lib/softhsm")
PIN, OTHER_PIN = "271828", "161803"


def find() -> tuple[Path, str] | None:
    """The module and the tool that makes tokens."""
    modules = [found for place in _PLACES for found in Path("/").glob(f"{place}/libsofthsm2.so")]
    tool = shutil.which("softhsm2-util")
    return (modules[0], tool) if modules and tool else None


class SoftToken:
    """A token in `folder`, with the user PIN `PIN` in `pin_file`."""

    def __init__(self, folder: Path, module: Path, tool: str) -> None:
        self.folder, self.module = folder, module
        self.pin_file, self.label = folder / "pin", f"acme's {uuid.uuid4().hex[:8]}"
        self._tokens, self._away = folder / "tokens", folder / "away"
        self._tokens.mkdir(parents=True)
        configuration = folder / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {self._tokens}\nobjectstore.backend = file\n")
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        self._own_pin = PIN
        self.set_pin(PIN)
        made = subprocess.run(
            [tool, "--init-token", "--free", "--label", self.label, "--pin", PIN, "--so-pin", OTHER_PIN],
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise Unavailable(f"softhsm2-util made no token: {made.stderr}", reason="SOFTHSM_FAILED")

    @property
    def uri(self) -> str:
        where = f"module-path={self.module}&pin-source=file:{quote(str(self.pin_file))}"
        return f"pkcs11:token={quote(self.label)};object=channel?{where}"

    def set_pin(self, pin: str) -> None:
        """What the agent reads; the token's own PIN stays."""
        self.pin_file.write_text(pin + "\n")
        self.pin_file.chmod(0o600)

    def change_own_pin(self, pin: str) -> None:
        """The token's, not what the agent reads."""
        with self._session() as session:
            session.set_pin(self._own_pin, pin)
        self._own_pin = pin

    def unplug(self) -> None:
        """For processes that look for it from now on."""
        self._tokens.rename(self._away)
        self._tokens.mkdir()

    def plug_in(self) -> None:
        self._tokens.rmdir()
        self._away.rename(self._tokens)

    def private_keys(self) -> list[dict[str, Any]]:
        """The private keys in it, by what the token says of them; their values, if it gives any."""
        import pkcs11
        from pkcs11 import Attribute, ObjectClass

        asked = (
            Attribute.ID,
            Attribute.LABEL,
            Attribute.EXTRACTABLE,
            Attribute.NEVER_EXTRACTABLE,
            Attribute.SENSITIVE,
            Attribute.ALWAYS_SENSITIVE,
            Attribute.LOCAL,
        )
        with self._session() as session:
            found = []
            for one in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}):
                said = {attribute.name: one[attribute] for attribute in asked}
                try:
                    said["VALUE"] = one[Attribute.VALUE]
                except pkcs11.AttributeSensitive:
                    said["VALUE"] = None
                found.append(said)
            return found

    def delete_keys(self) -> None:
        """What another owner of the token may do."""
        with self._session() as session:
            for one in list(session.get_objects()):
                one.destroy()

    def _session(self) -> Any:
        import pkcs11

        module = pkcs11.lib(str(self.module))
        # It reads its configuration and its tokens when it starts.
        module.reinitialize()
        return module.get_token(token_label=self.label).open(user_pin=self._own_pin, rw=True)


@pytest.fixture
def soft_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    """One token of this test's own; skips, with the reason, where SoftHSM is not installed."""
    found = find()
    if found is None:
        pytest.skip(_MISSING)
    # Put back in the end, whatever a token sets.
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    return SoftToken(tmp_path / "token", *found)
