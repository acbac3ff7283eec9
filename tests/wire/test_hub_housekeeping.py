"""What only grows is forgotten in time: uploads that were never published, what is known of certificates long ended.

Housekeeping runs every ten minutes, and once more when a hub stops.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text

from alliance import canonical, channel
from alliance.errors import LimitExceeded
from alliance.v1 import blob_pb2, enrolment_pb2
from tests.kit.alliance import Alliance, alliance
from tests.kit.clock import ShiftedClock
from tests.kit.hub import RunningHub
from tests.kit.member import CHUNK, RawMember


def head(data: bytes) -> blob_pb2.UploadHeader:
    return blob_pb2.UploadHeader(digest=canonical.sha256(data), size=len(data))


def subjects(hub: RunningHub) -> list[str]:
    """Whose certificates the hub knows."""
    with hub.services.db.read() as tx:
        return [row.subject for row in tx.execute(text("SELECT subject FROM certificate ORDER BY subject"))]


def explained(hub: RunningHub, member: RawMember, clock: ShiftedClock) -> str:
    """What the hub says of the member's certificate."""
    now = Timestamp()
    now.FromMicroseconds(int(clock().timestamp() * 1e6))
    request = member.explain_request(hub.settings.alliance_name, time=now)
    answer = channel.call(hub.open_enrolment_channel(), request, enrolment_pb2.ExplainCertificateResponse)
    return enrolment_pb2.CertificateState.Name(answer.state).removeprefix("CERTIFICATE_STATE_")


def test_a_certificate_is_known_for_a_month_after_its_end_and_explained_ever_after(
    hub: RunningHub, clock: ShiftedClock
) -> None:
    acme, zoo = hub.enrol("acme"), hub.enrol("zoo")
    hub.expel(zoo)
    clock.advance(days=30)
    hub.hub._housekeep()
    assert subjects(hub) == ["members/acme", "members/zoo", "operators/admin"]
    clock.advance(days=1, seconds=1)
    hub.hub._housekeep()
    assert subjects(hub) == ["operators/admin"]
    assert explained(hub, acme, clock) == "EXPIRED"
    assert explained(hub, zoo, clock) == "MEMBER_EXPELLED"


def test_uploads_that_came_to_nothing_are_forgotten_after_a_day(three: Alliance, clock: ShiftedClock) -> None:
    acme, files = three.members[0], three.hub.services.blobs.files
    left, unpublished, published = (os.urandom(100) for _ in range(3))
    acme.upload_parts(head(left), [left[:60]])
    acme.upload(unpublished)
    sealed = acme.publish(three.bank, published)
    clock.advance(hours=23)
    three.hub.hub._housekeep()
    assert files.part_size(acme.name, canonical.sha256(left)) == 60
    assert files.path(canonical.sha256(unpublished)).exists()
    clock.advance(hours=1, seconds=1)
    three.hub.hub._housekeep()
    assert files.part_size(acme.name, canonical.sha256(left)) == 0
    assert not files.path(canonical.sha256(unpublished)).exists()
    assert files.path(canonical.sha256(sealed.data)).exists()


def test_a_member_has_so_much_pending_and_no_more(tmp_path: Path) -> None:
    """Of a part counts what is here, while it is open what it will be; a small file counts as a MiB."""
    with alliance(members=2, folder=tmp_path, limits_pending_megabytes=4) as made:
        acme, zoo = made.members
        part, sealed = os.urandom(2 * CHUNK), acme.seal(made.bank, os.urandom(2 * CHUNK - 100))
        acme.upload_parts(head(part), [part[:CHUNK]])
        acme.upload(b"small")
        with pytest.raises(LimitExceeded, match="4 MiB") as refused:
            acme.upload(os.urandom(2 * CHUNK + 1))
        assert refused.value.reason == "UPLOADS_PENDING"
        assert "limits.pending_megabytes" in refused.value.remedy
        assert zoo.upload(os.urandom(4 * CHUNK)).complete
        assert acme.upload(sealed.data).complete
        with pytest.raises(LimitExceeded):
            acme.upload(part, offset=CHUNK)
        acme.publish_sealed(sealed)
        assert acme.upload(part, offset=CHUNK).complete
