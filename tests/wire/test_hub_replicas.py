"""Two hubs over one PostgreSQL are one hub: one order, one log, and each tells of what happened at the other."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alliance import channel
from alliance.errors import FailedPrecondition, NotPermitted
from alliance.names import BankId
from alliance.v1 import audit_pb2, console_pb2, membership_pb2
from alliance.v1 import fingerprint_pb2 as pb
from tests.kit.alliance import alliance
from tests.kit.checks import recomputed_head
from tests.kit.databases import Databases
from tests.kit.hub import running_hub
from tests.kit.member import RawMember

pytestmark = pytest.mark.postgres


def publish(member: RawMember, bank: BankId, count: int) -> list[bytes]:
    return [member.publish(bank, bytes([n])).header.digest for n in range(count)]


def test_members_at_two_hubs_share_one_bank(tmp_path: Path, postgres_databases: Databases) -> None:
    url = postgres_databases.create()
    with (
        alliance(members=4, folder=tmp_path, url=url, fingerprints_segment_entries=4) as a,
        running_hub(tmp_path, url=url, fingerprints_segment_entries=4) as second,
    ):
        for member in a.members[2:]:
            member.reconnect(second.address)
        with ThreadPoolExecutor(4) as pool:
            work = [pool.submit(publish, member, a.bank, 8) for member in a.members]
            digests = [digest for future in work for digest in future.result()]
        found = a.members[3].entries(a.bank)
        assert recomputed_head(found) == recomputed_head(a.members[0].entries(a.bank))
        assert Counter(entry.batch.digest for entry in found) == Counter(digests)
        assert len(a.members[3].download(digests[0])) > 0  # uploaded at the other hub
        size = 0
        while size < 4 + len(found):
            size = second.admin.call(audit_pb2.VerifyLogRequest(), audit_pb2.VerifyLogResponse).tree_size


def test_a_watch_hears_of_the_other_hub(tmp_path: Path, postgres_databases: Databases) -> None:
    url = postgres_databases.create()
    with alliance(members=2, folder=tmp_path, url=url) as a, running_hub(tmp_path, url=url) as second:
        publisher, watcher = a.members
        watcher.reconnect(second.address)
        stream = channel.stream_out(watcher.channel, membership_pb2.WatchRequest(), membership_pb2.WatchResponse)
        publisher.publish(a.bank)
        wanted = membership_pb2.BankHint(bank=a.bank, head_seq=1)
        assert any(hint.bank == wanted for hint in stream)
        a.hub.suspend(watcher)
        with pytest.raises(NotPermitted):
            for _ in stream:
                pass
        with pytest.raises(NotPermitted):
            watcher.call(pb.ListBanksRequest(), pb.ListBanksResponse)


def test_a_policy_that_was_changed_at_one_hub_holds_at_the_other(tmp_path: Path, postgres_databases: Databases) -> None:
    url = postgres_databases.create()
    with alliance(members=1, folder=tmp_path, url=url) as a, running_hub(tmp_path, url=url) as second:
        expel = membership_pb2.ExpelMemberRequest(name=a.members[0].name, reason="why")
        a.hub.set_policy(two_admins=console_pb2.TWO_ADMINS_ALWAYS)
        with pytest.raises(FailedPrecondition) as caught:
            second.admin.call(expel, membership_pb2.ExpelMemberResponse)
        assert caught.value.reason == "APPROVAL_NEEDED"
        told = second.admin.call(console_pb2.GetPolicyRequest(), console_pb2.GetPolicyResponse).policy
        assert (told.revision, told.two_admins) == (1, console_pb2.TWO_ADMINS_ALWAYS)
