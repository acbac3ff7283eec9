"""The policy between its wire form and its value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alliance.audience import ceiling
from alliance.errors import InvalidInput
from alliance.v1 import console_pb2 as pb
from hub.policy.model import FIELDS, Policy, Revision, TwoAdmins

_TWO_ADMINS: dict[int, TwoAdmins] = {
    pb.TWO_ADMINS_AUTO: TwoAdmins.AUTO,
    pb.TWO_ADMINS_ALWAYS: TwoAdmins.ALWAYS,
    pb.TWO_ADMINS_NEVER: TwoAdmins.NEVER,
}


def policy_message(one: Revision) -> pb.Policy:
    policy = one.policy
    return pb.Policy(
        etag=one.etag,
        revision=one.number,
        two_admins=f"TWO_ADMINS_{policy.two_admins.upper()}",
        least_quorum=policy.least_quorum,
        strictest_ceiling=f"TLP_{policy.strictest_ceiling.name}",
        invitation_seconds=policy.invitation_seconds,
        certificate_seconds=policy.certificate_seconds,
    )


def updated(before: Policy, request: pb.UpdatePolicyRequest) -> Policy:
    """The policy with those fields of the request that its mask names. Raises: InvalidInput."""
    paths = list(request.update_mask.paths)
    unknown = sorted(set(paths) - set(FIELDS))
    if unknown or not paths:
        raise InvalidInput(
            f"{unknown[0][:40]!r} is no setting of the policy" if unknown else "no field is named to be changed",
            reason="UPDATE_MASK",
            field="update_mask",
            remedy=f"name some of {', '.join(FIELDS)}",
        )
    values: dict[str, Any] = {}
    for path in paths:
        value = getattr(request.policy, path)
        if path == "two_admins":
            value = _two_admins(value)
        elif path == "strictest_ceiling":
            value = ceiling(_said(value, path), field=f"policy.{path}")
        values[path] = value
    return replace(before, **values)


def _two_admins(value: int) -> TwoAdmins:
    if value not in _TWO_ADMINS:
        raise InvalidInput(
            f"{value} says not when two admins are needed",
            field="policy.two_admins",
            remedy=f"use one of {', '.join(TwoAdmins)}",
        )
    return _TWO_ADMINS[value]


def _said(value: int, path: str) -> int:
    if not value:
        raise InvalidInput(f"{path} is named to be changed and not given", field=f"policy.{path}")
    return value
