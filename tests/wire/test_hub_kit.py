"""The kit's alliance is a real one: what its members exchange crosses mutual TLS and opens at the other end."""

from __future__ import annotations

from tests.kit.alliance import alliance


def test_a_whole_alliance_in_one_line() -> None:
    with alliance(members=3) as a:
        secret = a.members[0].secrets[a.group, 1]
        sealed = a.members[1].publish(a.bank, b"counterfeit", rows=2)
        assert a.members[2].open_epoch(a.group) == secret
        [entry] = a.members[2].entries(a.bank)
        assert (entry.seq, entry.batch.publisher) == (1, a.members[1].name)
        assert a.members[2].download(entry.batch.digest) == sealed.data
