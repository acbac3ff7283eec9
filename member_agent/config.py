"""The agent's settings and home: `agent.toml`, then `ALLIANCE_AGENT_*`; one folder holds all it keeps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from alliance import os_keyring, sealed_file, settings
from alliance.errors import FailedPrecondition, InvalidInput
from member_agent import token_uri

FILE = "agent.toml"
ENV_PREFIX = "ALLIANCE_AGENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`hub_*` are written by `join` or `recover`; the rest is the member's choice.

    `hub_proxy` is "http://host:port" of an HTTP CONNECT proxy, empty for the environment's. Limits of 0 are
    none: `limits_cpus` processors, `limits_memory_mb` MiB of private memory.
    """

    hub_address: str = ""
    hub_enrolment_address: str = ""
    hub_alliance: str = ""
    hub_member: str = ""
    hub_agent: str = ""
    hub_role: str = ""
    hub_log_key: str = ""
    hub_proxy: str = ""
    keys_passphrase_file: Path = Path("passphrase")
    keys_credential: str = ""
    keys_keyring: str = ""
    keys_pkcs11_uri: str = ""
    keys_rotate_days: int = 30
    limits_cpus: int = 0
    limits_memory_mb: int = 4096
    sync_seconds: int = 60
    log_level: str = "info"

    def validate(self) -> None:
        """Raises: InvalidInput naming the setting."""
        if self.hub_proxy and not self.hub_proxy.startswith("http://"):
            raise InvalidInput(
                f"{self.hub_proxy!r} is not http://host:port", field="hub.proxy", remedy="mend it, or leave it empty"
            )
        os_keyring.check(self.keys_keyring, self.keys_credential)
        if self.keys_pkcs11_uri:
            token_uri.parse(self.keys_pkcs11_uri)
        if self.keys_rotate_days < 0:
            raise InvalidInput("must not be negative", field="keys.rotate_days", remedy="use 0 for never")
        for field in ("limits_cpus", "limits_memory_mb"):
            if getattr(self, field) < 0:
                raise InvalidInput(
                    "must not be negative", field=field.replace("_", ".", 1), remedy="use 0 for no limit"
                )
        if self.sync_seconds < 1:
            raise InvalidInput("must be at least 1", field="sync.seconds", remedy="mend it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where an agent keeps its files; all of it is the member's own."""

    path: Path

    @property
    def settings_file(self) -> Path:
        return self.path / FILE

    @property
    def ca_file(self) -> Path:
        return self.path / "ca.pem"

    @property
    def keys_file(self) -> Path:
        return self.path / "keys.sealed"

    @property
    def pending_join_file(self) -> Path:
        return self.path / "join.sealed"

    @property
    def changing_file(self) -> Path:
        """The new identity, sealed, from before the hub is told until every key is wrapped to it."""
        return self.path / "identity.sealed"

    @property
    def leaving_file(self) -> Path:
        """Stands from before the hub was asked to let this member go."""
        return self.path / "leaving"

    @property
    def state_file(self) -> Path:
        """Outbox, group keys, what was published, the audit mirror."""
        return self.path / "agent.db"

    @property
    def banks_file(self) -> Path:
        """The sealed banks as synced; can be fetched again."""
        return self.path / "banks.db"

    @property
    def parts(self) -> Path:
        """Downloads not yet complete."""
        return self.path / "parts"

    @property
    def models(self) -> Path:
        """Released models of detectors; can be fetched again."""
        return self.path / "models"

    @property
    def ledger_file(self) -> Path:
        return self.path / "ledger.db"

    @property
    def evidence(self) -> Path:
        """What the hub showed and said when an alarm stopped this agent."""
        return self.path / "evidence"

    @property
    def daemon_lock(self) -> Path:
        return self.path / "run.lock"

    @property
    def outbox_lock(self) -> Path:
        return self.path / "outbox.lock"

    @property
    def renewing_lock(self) -> Path:
        return self.path / "renewing.lock"

    @property
    def sync_lock(self) -> Path:
        return self.path / "sync.lock"

    def passphrase_file(self, loaded: Settings) -> Path:
        """Raises: FailedPrecondition where a systemd credential is named and none was passed."""
        return sealed_file.passphrase_file(self.path, loaded.keys_passphrase_file, loaded.keys_credential)

    def passphrase(self, loaded: Settings, *, create: bool = False) -> bytes:
        """What opens the keys; `create` makes a random one in its file. Raises: FailedPrecondition."""
        if loaded.keys_keyring:
            return os_keyring.passphrase(loaded.keys_keyring)
        return sealed_file.passphrase(self.passphrase_file(loaded), create=create)

    def load(self) -> tuple[Settings, dict[str, str]]:
        """Settings and their origins. Raises: FailedPrecondition where no agent has joined."""
        if not self.settings_file.exists():
            raise FailedPrecondition(
                f"no agent has joined from {self.path}", reason="NOT_JOINED", remedy='run "alliance-agent join" first'
            )
        loaded, origins = settings.load(Settings, self.settings_file, prefix=ENV_PREFIX)
        loaded.validate()
        return loaded, origins


def home_of(path: Path | None) -> Home:
    """`--home`, else `ALLIANCE_AGENT_HOME`, else a folder of this user."""
    named = path or os.environ.get("ALLIANCE_AGENT_HOME") or Path.home() / ".local" / "share" / "alliance-agent"
    return Home(path=Path(named))
