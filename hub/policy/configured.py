"""The policy that the hub's settings say, and those settings as a policy from the database has them."""

from __future__ import annotations

from collections.abc import Mapping

from alliance.audience import tlp
from hub.config import Settings
from hub.policy.model import Policy, TwoAdmins

# The setting of each field.
SETTING_OF: Mapping[str, str] = {
    "two_admins": "approvals_two_admins",
    "least_quorum": "federation_least_quorum",
    "strictest_ceiling": "fingerprints_strictest_ceiling",
    "invitation_seconds": "membership_invitation_hours",
    "certificate_seconds": "membership_certificate_hours",
}


def configured(settings: Settings) -> Policy:
    """What holds until the first change. Raises: InvalidInput."""
    return Policy(
        two_admins=TwoAdmins(settings.approvals_two_admins),
        least_quorum=settings.federation_least_quorum,
        strictest_ceiling=tlp(settings.fingerprints_strictest_ceiling, field="fingerprints.strictest_ceiling"),
        invitation_seconds=settings.membership_invitation_hours * 3600,
        certificate_seconds=max(1, round(settings.membership_certificate_hours * 3600)),
    )


def in_settings(policy: Policy) -> dict[str, object]:
    """Setting to value, in the settings' units."""
    values: dict[str, object] = {
        "two_admins": policy.two_admins.value,
        "least_quorum": policy.least_quorum,
        "strictest_ceiling": policy.strictest_ceiling.label,
        "invitation_seconds": policy.invitation_seconds / 3600,
        "certificate_seconds": policy.certificate_seconds / 3600,
    }
    return {SETTING_OF[field]: value for field, value in values.items()}
