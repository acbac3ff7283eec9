"""Names are checked where they enter, and only there; versions and schemes too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance import names, release, schemes
from alliance.errors import FailedPrecondition, InvalidInput

PARSERS: dict[str, Callable[[str], str]] = {
    "members": names.member_id,
    "groups": names.group_id,
    "banks": names.bank_id,
    "operators": names.operator_id,
    "agents": names.agent_id,
}
SLUGS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(st.sampled_from(sorted(PARSERS)), SLUGS)
def test_a_good_name_is_itself(collection: str, slug: str) -> None:
    name = PARSERS[collection](f"{collection}/{slug}")
    assert (name, names.slug(name)) == (f"{collection}/{slug}", slug)
    assert names.qualified(collection, slug) == names.qualified(collection, name) == name


@pytest.mark.parametrize("collection", sorted(PARSERS))
@pytest.mark.parametrize(
    "slug", ["", "-a", "a-", "A", "a_b", "a b", "a/b", "a.b", "ä", "a\n", "a\0", "..", "٣", "a" * 64]
)
def test_a_bad_name_is_refused(collection: str, slug: str) -> None:
    for text in (f"{collection}/{slug}", f"others/{slug}", slug):
        with pytest.raises(InvalidInput) as caught:
            PARSERS[collection](text)
        assert caught.value.reason == "NAME_MALFORMED"


def test_a_refusal_is_short_however_long_the_name() -> None:
    with pytest.raises(InvalidInput) as caught:
        names.member_id("x" * 1_000_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_digest_has_32_bytes(size: int) -> None:
    assert names.digest(bytes(32)) == bytes(32)
    with pytest.raises(InvalidInput):
        names.digest(bytes(size))


@pytest.mark.parametrize(
    "version", ["", "1", "1.2", "v1.2.3", "1.2.3 ", "1.2.3-rc1", "1.2.3.4", "999999.0.0", "-1.0.0"]
)
def test_a_version_has_three_numbers(version: str) -> None:
    with pytest.raises(InvalidInput):
        release.parse(version)


@pytest.mark.parametrize(
    ("client", "minimum", "served"),
    [("1.2.3", "1.2.3", True), ("1.10.0", "1.9.9", True), ("2.0.0", "1.9.9", True), ("1.9.9", "1.10.0", False)],
)
def test_versions_compare_by_number(client: str, minimum: str, *, served: bool) -> None:
    if served:
        release.require_supported(client, minimum)
        return
    with pytest.raises(FailedPrecondition) as caught:
        release.require_supported(client, minimum)
    assert caught.value.reason == "CLIENT_TOO_OLD"


def test_this_version_serves_itself() -> None:
    release.require_supported(release.VERSION)


def test_schemes_are_known_by_their_id() -> None:
    assert {schemes.scheme(scheme.id) for scheme in (schemes.PDQ, schemes.TERMS)} == set(schemes.SCHEMES.values())
    with pytest.raises(InvalidInput) as caught:
        schemes.scheme("md5")
    assert (caught.value.reason, caught.value.remedy) == ("SCHEME_UNKNOWN", "use one of pdq-256, terms-v1")
