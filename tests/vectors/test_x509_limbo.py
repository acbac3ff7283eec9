"""x509-limbo's certificate paths (C2SP, Apache-2.0): our check refuses all they refuse, and more on purpose.

The archive has servers' certificates for the web; ours are for members and one hub, from one CA, so some paths that
are good there are none of ours. `STRICTER` lists each with the reason, `OTHER_DEPTH` those that ask for a setting
we do not have: everything else must come out as the archive says.
"""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from alliance import chain
from alliance.errors import NotAuthenticated
from bench import data

WHEN = dt.datetime(2023, 12, 2, tzinfo=dt.UTC)
CONSTRAINS, DEPTH = "constrains names", "at most 2 is ours"
OTHER_USE, NO_USE, KEY = "for another use", "does not say what it is for", "is not P-256"
HASH, WILDCARD = "not signed over SHA-256", "names a wildcard"
STRICTER = {
    "pathlen::validation-ignores-pathlen-in-leaf": NO_USE,
    "pathlen::self-issued-certs-pathlen": DEPTH,
    "rfc5280::eku::ee-without-eku": NO_USE,
    "rfc5280::nc::permitted-dns-match": CONSTRAINS,
    "rfc5280::nc::permitted-dns-match-more": CONSTRAINS,
    "rfc5280::nc::permitted-ipv4-match": CONSTRAINS,
    "rfc5280::nc::permitted-ipv6-match": CONSTRAINS,
    "rfc5280::nc::permitted-dn-match": CONSTRAINS,
    "rfc5280::nc::permitted-self-issued": CONSTRAINS,
    "rfc5280::nc::permitted-different-constraint-type": CONSTRAINS,
    "rfc5280::nc::excluded-different-constraint-type": CONSTRAINS,
    "webpki::nc::permitted-dns-match-noncritical": CONSTRAINS,
    "webpki::san::leftmost-wildcard-san": WILDCARD,
    "webpki::cryptographydotio-chain": KEY,
    # Servers of 2023: RSA keys, keys for clients as well, roots signed over SHA-1 or SHA-384.
    "online::akamai.com": OTHER_USE,
    "online::bing.com": KEY,
    "online::fastly.com": KEY,
    "online::s3.amazonaws.com": KEY,
    "online::aws.amazon.com": KEY,
    "online::docs.python.org": KEY,
    "online::amazon.com": KEY,
    "online::facebook.com": OTHER_USE,
    "online::google.com": WILDCARD,
    "online::storage.googleapis.com": HASH,
    "online::apple.com": HASH,
    "online::cloudflare.com": OTHER_USE,
    "online::microsoft.com": KEY,
    "online::stackoverflow.com": OTHER_USE,
}
# Their callers allow no intermediate, or one; we always allow two.
OTHER_DEPTH = {"pathlen::max-chain-depth-0-exhausted", "pathlen::max-chain-depth-1-exhausted"}


@pytest.fixture(scope="module")
def cases() -> Iterator[dict[str, Any]]:
    folder = data.folder()
    archives = sorted((folder / "x509_limbo").glob("limbo-2*.json")) if folder else []
    if not archives:
        pytest.skip("the archive of certificate paths is not on this machine")
    with warnings.catch_warnings():
        # Certificates with bad serial numbers are among the cases.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield {case["id"]: case for case in json.loads(archives[0].read_text())["testcases"]}


def refusal(case: dict[str, Any]) -> str:
    """Why the path is refused, or nothing."""
    when = case["validation_time"]
    try:
        path = [case["peer_certificate"], *case["untrusted_intermediates"]]
        leaf_first = [x509.load_pem_x509_certificate(pem.encode()) for pem in path]
        roots = [x509.load_pem_x509_certificate(pem.encode()) for pem in case["trusted_certs"]]
        name, at = case["expected_peer_name"]["value"], dt.datetime.fromisoformat(when) if when else WHEN
        chain.verify_server(leaf_first, roots, name=name, at=at)
    except NotAuthenticated as error:
        return error.message
    except ValueError as error:
        return f"not a certificate: {error}"
    return ""


def test_what_the_archive_refuses_is_refused(cases: dict[str, Any]) -> None:
    refused = [one for one in cases.values() if one["expected_result"] == "FAILURE" and one["id"] not in OTHER_DEPTH]
    assert len(refused) == 92
    assert [one["id"] for one in refused if not refusal(one)] == []


def test_what_it_accepts_is_accepted_or_refused_for_a_reason_of_ours(cases: dict[str, Any]) -> None:
    accepted = [one for one in cases.values() if one["expected_result"] == "SUCCESS"]
    found = {one["id"]: why for one in accepted if (why := refusal(one))}
    assert found.keys() == STRICTER.keys()
    assert [name for name, why in found.items() if STRICTER[name] not in why] == []
    assert len(accepted) - len(found) == 13
    assert [name for name in OTHER_DEPTH if refusal(cases[name])] == []
