"""Resource names (AIP-122): `members/acme`, `groups/footwear`, `banks/footwear-images`, `operators/dana`.

A name is checked once, where it enters; inside, a `MemberId` is a checked `members/...` string.
"""

from __future__ import annotations

import re
from typing import NewType

from alliance.errors import InvalidInput

MemberId = NewType("MemberId", str)
GroupId = NewType("GroupId", str)
BankId = NewType("BankId", str)
OperatorId = NewType("OperatorId", str)
AgentId = NewType("AgentId", str)
Digest = NewType("Digest", bytes)

DIGEST_SIZE = 32
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")


def _check(text: str, collection: str, field: str) -> str:
    prefix, slash, slug = text.partition("/")
    if prefix != collection or not slash or not _SLUG.match(slug):
        raise InvalidInput(
            f"{text[:80]!r} is not a name of the form {collection}/NAME",
            reason="NAME_MALFORMED",
            field=field,
            remedy="use lower-case letters, digits and hyphens, at most 63",
        )
    return text


def member_id(text: str, *, field: str = "member") -> MemberId:
    """Parses `members/NAME`. Raises: InvalidInput."""
    return MemberId(_check(text, "members", field))


def group_id(text: str, *, field: str = "group") -> GroupId:
    """Parses `groups/NAME`. Raises: InvalidInput."""
    return GroupId(_check(text, "groups", field))


def bank_id(text: str, *, field: str = "bank") -> BankId:
    """Parses `banks/NAME`. Raises: InvalidInput."""
    return BankId(_check(text, "banks", field))


def operator_id(text: str, *, field: str = "operator") -> OperatorId:
    """Parses `operators/NAME`. Raises: InvalidInput."""
    return OperatorId(_check(text, "operators", field))


def agent_id(text: str, *, field: str = "agent") -> AgentId:
    """Parses `agents/NAME`. Raises: InvalidInput."""
    return AgentId(_check(text, "agents", field))


def qualified(collection: str, text: str) -> str:
    """`acme` or `members/acme` as typed by a person, to `members/acme`; checked by the parser that follows."""
    return text if "/" in text else f"{collection}/{text}"


def slug(name: str) -> str:
    """The last segment of a checked name: `acme` of `members/acme`."""
    return name.partition("/")[2]


def digest(raw: bytes, *, field: str = "digest") -> Digest:
    """Checks a SHA-256 digest. Raises: InvalidInput."""
    if len(raw) != DIGEST_SIZE:
        raise InvalidInput(f"a digest has {DIGEST_SIZE} bytes, got {len(raw)}", field=field)
    return Digest(raw)
