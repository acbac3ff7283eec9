"""The hub's settings: `hub.toml` in its home, then `ALLIANCE_HUB_*`; secrets are paths of files in the home."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from alliance import os_keyring, sealed_file, settings
from alliance.admission import check_cosigners
from alliance.audience import ceiling, tlp
from alliance.errors import FailedPrecondition, InvalidInput

FILE = "hub.toml"
ENV_PREFIX = "ALLIANCE_HUB"
LOG_LEVELS = ("debug", "info", "warning", "error")
STRICTEST = "fingerprints.strictest_ceiling"
TWO_ADMINS = ("auto", "always", "never")
SHORTEST_HOURS, LONGEST_HOURS = 1 / 3600, 366 * 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Addresses are "host:port"; port 0 lets the system choose. An empty metrics address serves none. Hours may be
    fractions; a path is relative to the home."""

    alliance_name: str = "alliance.example"
    server_address: str = "127.0.0.1:8443"
    server_enrolment_address: str = "127.0.0.1:8444"
    # What agents dial, where it differs from the bound address (behind a balancer).
    server_public_address: str = ""
    server_public_enrolment_address: str = ""
    # Names and addresses in the hub's certificate, separated by commas.
    server_names: str = "localhost,127.0.0.1"
    server_workers: int = 8
    server_certificate_hours: float = 24.0
    database_url: str = ""
    metrics_address: str = ""
    # The passphrase that opens the CA key and the log key: a file, or a systemd credential by its name, or an entry
    # SERVICE/NAME of the operating system's keyring.
    keys_passphrase_file: Path = Path("passphrase")
    keys_credential: str = ""
    keys_keyring: str = ""
    log_level: str = "info"
    membership_invitation_hours: int = 72
    # How many members sign another's admission; `init` fixes it in the log's first leaf. 0: an invitation suffices.
    membership_admission_cosigners: int = 2
    membership_certificate_hours: float = 24.0
    # How long what is known of a certificate outlives it.
    membership_certificate_record_days: int = 30
    # How long a new authority is announced before it issues, and the least time the old one is trusted after that.
    ca_overlap_hours: float = 72.0
    # These, and invitation_hours and certificate_hours, hold until the policy is changed (hub/policy). When two admins
    # are needed: auto (where there are two), always or never.
    approvals_two_admins: str = "auto"
    # Rounds with a lower quorum are not started.
    federation_least_quorum: int = 2
    # No bank is created that may hold a stricter label.
    fingerprints_strictest_ceiling: str = "amber_strict"
    # Per member or operator, at each hub process; enrolment by network address. 0 is no limit.
    limits_calls_per_second: float = 500.0
    limits_enrolment_calls_per_second: float = 20.0
    limits_streams: int = 200
    limits_megabytes_per_second: float = 200.0
    # What a member may have uploaded that is unfinished or not published, and how long it is kept.
    limits_pending_megabytes: int = 1024
    limits_pending_hours: float = 24.0
    fingerprints_segment_entries: int = 64
    fingerprints_segment_bytes: int = 8 << 20

    def validate(self) -> None:
        """Raises: InvalidInput naming the setting."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,252}", self.alliance_name):
            raise InvalidInput(
                f"{self.alliance_name!r} is not a trust domain name",
                field="alliance.name",
                remedy="use a lower-case DNS name, such as alliance.example",
            )
        for field, optional in (
            ("server_address", False),
            ("server_enrolment_address", False),
            ("server_public_address", True),
            ("server_public_enrolment_address", True),
            ("metrics_address", True),
        ):
            address = getattr(self, field)
            host, _, port = address.rpartition(":")
            if not (address == "" and optional) and not (host and port.isdecimal() and int(port) <= 65535):
                raise InvalidInput(f"{address!r} is not host:port", field=field.replace("_", ".", 1), remedy="mend it")
        os_keyring.check(self.keys_keyring, self.keys_credential)
        check_cosigners(self.membership_admission_cosigners, field="membership.admission_cosigners")
        if self.approvals_two_admins not in TWO_ADMINS:
            raise InvalidInput(
                f"{self.approvals_two_admins!r} is no policy",
                field="approvals.two_admins",
                remedy=f"use one of {', '.join(TWO_ADMINS)}",
            )
        ceiling(tlp(self.fingerprints_strictest_ceiling, field=STRICTEST), field=STRICTEST)
        if self.log_level not in LOG_LEVELS:
            raise InvalidInput(
                f"{self.log_level!r} is not a level", field="log.level", remedy=f"use one of {', '.join(LOG_LEVELS)}"
            )
        for field, least in (
            ("server_workers", 1),
            ("membership_invitation_hours", 1),
            ("federation_least_quorum", 2),
            ("fingerprints_segment_entries", 1),
            ("fingerprints_segment_bytes", 1),
            ("membership_certificate_record_days", 1),
        ):
            if getattr(self, field) < least:
                raise InvalidInput(f"must be at least {least}", field=field.replace("_", ".", 1), remedy="mend it")
        for field in (
            "limits_calls_per_second",
            "limits_enrolment_calls_per_second",
            "limits_streams",
            "limits_megabytes_per_second",
            "limits_pending_megabytes",
        ):
            if not 0 <= getattr(self, field) < float("inf"):
                raise InvalidInput("must not be negative", field=field.replace("_", ".", 1), remedy="0 is no limit")
        for field in (
            "server_certificate_hours",
            "membership_certificate_hours",
            "ca_overlap_hours",
            "limits_pending_hours",
        ):
            # Written so that "nan" fails too.
            if not SHORTEST_HOURS <= getattr(self, field) <= LONGEST_HOURS:
                raise InvalidInput(
                    "must be a second to a year", field=field.replace("_", ".", 1), remedy="give hours, 24 is usual"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a hub keeps its files."""

    path: Path

    @property
    def settings_file(self) -> Path:
        return self.path / FILE

    @property
    def database_file(self) -> Path:
        return self.path / "hub.db"

    @property
    def lock_file(self) -> Path:
        return self.path / "hub.lock"

    @property
    def ca(self) -> Path:
        return self.path / "ca"

    @property
    def blobs(self) -> Path:
        return self.path / "blobs"

    @property
    def operator(self) -> Path:
        return self.path / "operator"

    @property
    def log_key_file(self) -> Path:
        return self.path / "ca" / "log.key"

    def passphrase_file(self, loaded: Settings) -> Path:
        """Raises: FailedPrecondition where a systemd credential is named and none was passed."""
        return sealed_file.passphrase_file(self.path, loaded.keys_passphrase_file, loaded.keys_credential)

    def passphrase(self, loaded: Settings, *, create: bool = False) -> bytes:
        """What opens the keys; `create` makes a random one in its file. Raises: FailedPrecondition."""
        if loaded.keys_keyring:
            return os_keyring.passphrase(loaded.keys_keyring)
        return sealed_file.passphrase(self.passphrase_file(loaded), create=create)

    @property
    def addresses_file(self) -> Path:
        """Where `serve` writes the ports it bound, for port 0."""
        return self.path / "addresses.json"

    def load(self) -> tuple[Settings, dict[str, str]]:
        """Settings and their origins. Raises: FailedPrecondition where no hub was initialised."""
        if not self.settings_file.exists():
            raise FailedPrecondition(
                f"no hub in {self.path}", reason="NOT_INITIALISED", remedy='run "alliance-hub init" first'
            )
        loaded, origins = settings.load(Settings, self.settings_file, prefix=ENV_PREFIX)
        loaded.validate()
        return loaded, origins

    def database_url(self, loaded: Settings) -> str:
        return loaded.database_url or f"sqlite:///{self.database_file}"


def home_of(path: Path | None) -> Home:
    """`--home`, else `ALLIANCE_HUB_HOME`, else a folder of this user."""
    named = path or os.environ.get("ALLIANCE_HUB_HOME") or Path.home() / ".local" / "share" / "alliance-hub"
    return Home(path=Path(named).absolute())
