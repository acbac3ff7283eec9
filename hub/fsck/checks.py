"""Each table of the store against what the log says of its rows; a difference is a `Finding`, never an exception."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from google.protobuf.message import DecodeError
from sqlalchemy import Connection, Row

from alliance import canonical, entries
from alliance.audience import Audience, Tlp
from alliance.errors import AllianceError
from alliance.names import Digest, GroupId, MemberId
from alliance.v1 import fingerprint_pb2
from hub.fsck.findings import Finding, Said, absent, by, compare, in_words, key_of, rows, unexplained
from hub.fsck.history import History
from hub.membership.enrolment import verify
from hub.membership.identities import digest_of
from hub.membership.model import Identity


def members(tx: Connection, said: History) -> Iterator[Finding]:
    """Roles, standings and identities."""
    seen = set()
    for row in rows(tx, "member"):
        seen.add(row.name)
        yield from compare("member", row.name, "role", row.role, said.roles.get(row.name))
        if row.signing_key is None:
            identity = None
        else:
            identity = canonical.identity_digest(bytes(row.signing_key), bytes(row.sealing_key))
        if identity is not None or row.name in said.identities:
            yield from compare("member", row.name, "identity", identity, said.identities.get(row.name))
        standing = said.standings.get(row.name, Said("invited", -1))
        if row.standing != standing.value:
            yield Finding(
                table="member",
                key=row.name,
                problem=f"is {row.standing}, {by(standing)} says {in_words(standing.value)}",
            )
    yield from absent("member", set(said.roles) - seen, said.roles)


def operators(tx: Connection, said: History) -> Iterator[Finding]:
    seen = set()
    for row in rows(tx, "operator"):
        seen.add(row.name)
        yield from compare("operator", row.name, "role", row.role, said.operators.get(row.name))
    yield from absent("operator", set(said.operators) - seen, said.operators)


def groups(tx: Connection, said: History) -> Iterator[Finding]:
    """Groups, and who is in them."""
    names = {row.name for row in rows(tx, "sharing_group")}
    yield from unexplained("sharing_group", names - set(said.groups))
    yield from absent("sharing_group", set(said.groups) - names, said.groups)
    pairs = {(row.group_name, row.member) for row in rows(tx, "sharing_group_member")}
    yield from unexplained("sharing_group_member", pairs - set(said.group_members))
    yield from absent("sharing_group_member", set(said.group_members) - pairs, said.group_members)


def admissions(tx: Connection, said: History, alliance: str) -> Iterator[Finding]:
    """The signatures that admit."""
    known = {row.name: row for row in rows(tx, "member")}
    seen = set()
    for row in rows(tx, "admission"):
        seen.add((row.member, row.signer))
        member = known[row.member]
        identity = Digest(said.admitted_as.get((row.member, row.signer), b""))
        signed = canonical.admission_bytes(alliance, MemberId(row.member), member.role, identity)
        digest = canonical.admission_digest(signed, bytes(row.signature))
        key = key_of((row.member, row.signer))
        yield from compare("admission", key, "signature", digest, said.admissions.get((row.member, row.signer)))
    yield from absent("admission", set(said.admissions) - seen, said.admissions)


def identity_changes(tx: Connection, said: History, alliance: str) -> Iterator[Finding]:
    """Each step from one identity of a member to the next, and that both have signed it."""
    seen = set()
    for row in rows(tx, "identity_change"):
        key, listed = (row.member, row.number), said.all_identities.get(row.member, [])
        seen.add(key)
        if not 1 <= row.number < len(listed):
            yield Finding(table="identity_change", key=key_of(key), problem="the log says nothing of it")
            continue
        former = Identity(signing_key=bytes(row.former_signing_key), sealing_key=bytes(row.former_sealing_key))
        identity = Identity(signing_key=bytes(row.signing_key), sealing_key=bytes(row.sealing_key))
        steps = (("former identity", former, listed[row.number - 1]), ("identity", identity, listed[row.number]))
        wrong = [
            found
            for what, of, leaf in steps
            for found in compare("identity_change", key_of(key), what, digest_of(of), leaf)
        ]
        yield from wrong
        signed = canonical.identity_change_bytes(alliance, row.member, digest_of(former), digest_of(identity))
        try:
            verify(former, signed, bytes(row.former_signature))
            verify(identity, signed, bytes(row.signature))
        except (ValueError, InvalidSignature, UnsupportedAlgorithm):
            if not wrong:
                yield Finding(table="identity_change", key=key_of(key), problem="it is not signed by both identities")
    made = {(member, n): leaf for member, listed in said.all_identities.items() for n, leaf in enumerate(listed) if n}
    yield from absent("identity_change", set(made) - seen, made)


def admission_policy(tx: Connection, said: History) -> Iterator[Finding]:
    """How many admit: the log's first leaf, or none where the alliance is older than admissions."""
    for row in rows(tx, "admission_policy"):
        yield from compare("admission_policy", str(row.id), "number of cosigners", str(row.cosigners), said.cosigners)


def epochs(tx: Connection, said: History) -> Iterator[Finding]:
    """Commitments to keys, and the keys sealed to members."""
    seen, sealed = set(), set()
    for row in rows(tx, "key_epoch"):
        key = (row.group_name, row.epoch)
        seen.add(key)
        yield from compare("key_epoch", key_of(key), "commitment", bytes(row.commitment), said.epochs.get(key))
        if key in said.epochs and row.creator != said.epoch_creators[key]:
            yield Finding(
                table="key_epoch",
                key=key_of(key),
                problem=f"is by {row.creator}, {by(said.epochs[key])} says {said.epoch_creators[key]}",
            )
    yield from absent("key_epoch", set(said.epochs) - seen, said.epochs)
    for row in rows(tx, "key_wrap"):
        wrap = (GroupId(row.group_name), row.epoch, row.recipient)
        sealed.add(wrap)
        yield from compare(
            "key_wrap", key_of(wrap), "sealed key", canonical.sha256(bytes(row.sealed)), said.wraps.get(wrap)
        )
    yield from absent("key_wrap", set(said.wraps) - sealed, said.wraps)


def banks(tx: Connection, said: History) -> Iterator[Finding]:
    """Banks, their entries one by one, and the chain over them."""
    heads, counts = {}, dict.fromkeys(said.entries, 0)
    for row in rows(tx, "bank"):
        heads[row.name] = (row.head_seq, bytes(row.head_digest))
        audience = Audience(group=GroupId(row.group_name), ceiling=Tlp(row.tlp)).detail()
        yield from compare("bank", row.name, "audience", audience, said.banks.get(row.name))
    yield from absent("bank", set(said.banks) - set(heads), said.banks)
    bank, chain, seq = "", bytes(canonical.CHAIN_START), 0
    ends: dict[str, tuple[int, bytes]] = {name: (0, bytes(canonical.CHAIN_START)) for name in heads}
    for row in rows(tx, "bank_entry"):
        if row.bank != bank:
            bank, chain, seq = row.bank, bytes(canonical.CHAIN_START), 0
        key, problem, digest = key_of((row.bank, row.seq)), "", b""
        try:
            entry = fingerprint_pb2.BankEntry.FromString(bytes(row.body))
            digest = _signed(entry)
            chain = entries.chain(chain, entry)
            problem = _columns(row, entry) or ("" if bytes(entry.chain_digest) == chain else "its chain digest differs")
        except (DecodeError, AllianceError) as error:
            problem = f"cannot be read: {error}"
        listed = said.entries.get(row.bank, [])
        while seq + 1 < row.seq:
            seq += 1
            yield Finding(table="bank_entry", key=key_of((row.bank, seq)), problem=_missing(listed, seq))
        seq = row.seq
        if digest:
            found = listed[seq - 1] if seq <= len(listed) else None
            yield from compare("bank_entry", key, "signed content", digest, found)
        if problem:
            yield Finding(table="bank_entry", key=key, problem=problem)
        ends[bank], counts[bank] = (seq, chain), seq
    for name, listed in said.entries.items():
        for lost in range(counts.get(name, 0) + 1, len(listed) + 1):
            yield Finding(table="bank_entry", key=key_of((name, lost)), problem=_missing(listed, lost))
    for name, head in heads.items():
        if head != ends[name]:
            yield Finding(table="bank", key=name, problem="its head is not that of its entries")


def federation(tx: Connection, said: History) -> Iterator[Finding]:
    """Results of rounds, members' updates."""
    for row in rows(tx, "round"):
        key = f"rounds/{row.id}"
        result = bytes(row.result_digest or b"")
        if row.state == "released" or key in said.results:
            yield from compare("round", key, "result", result, said.results.get(key))
    for row in rows(tx, "round_participant"):
        found = said.updates.get((f"rounds/{row.round}", row.member))
        if found is not None:
            key = key_of((f"rounds/{row.round}", row.member))
            yield from compare("round_participant", key, "update", bytes(row.update_digest or b""), found)


def blobs(tx: Connection, read: Callable[[bytes], Iterator[bytes] | None]) -> Iterator[Finding]:
    """The bytes on disk against the digests they are stored under. `read` raises OSError; None: discarded meanwhile."""
    for row in rows(tx, "blob"):
        digest, size, found = bytes(row.digest), 0, hashlib.sha256()
        try:
            chunks = read(digest)
            if chunks is None:
                continue
            for chunk in chunks:
                size += len(chunk)
                found.update(chunk)
        except OSError as error:
            yield Finding(table="blob", key=digest.hex(), problem=f"its file cannot be read: {error.strerror}")
            continue
        if size != row.size:
            yield Finding(table="blob", key=digest.hex(), problem=f"its file has {size} bytes, not {row.size}")
        elif found.digest() != digest:
            yield Finding(table="blob", key=digest.hex(), problem=f"its file has the digest {found.hexdigest()}")


def _signed(entry: fingerprint_pb2.BankEntry) -> bytes:
    """The digest that the log has of an entry."""
    if entry.HasField("batch"):
        return canonical.sha256(entries.batch_bytes(entry.batch))
    return canonical.sha256(entries.tombstone_bytes(entry.tombstone))


def _columns(row: Row[Any], entry: fingerprint_pb2.BankEntry) -> str:
    """What stands beside the body must be what it says."""
    batch = entry.batch if entry.HasField("batch") else None
    beside: dict[str, tuple[object, object]] = {
        "seq": (row.seq, entry.seq),
        "publisher": (row.publisher, batch.publisher if batch else entry.tombstone.publisher),
        "batch_digest": (bytes(row.batch_digest) if row.batch_digest else None, bytes(batch.digest) if batch else None),
        "row_count": (row.row_count, batch.row_count if batch else 0),
        "size": (row.size, batch.size if batch else 0),
    }
    wrong = [name for name, (stored, told) in beside.items() if stored != told]
    return f"its {', '.join(wrong)} is not what its body says" if wrong else ""


def _missing(listed: list[Said], seq: int) -> str:
    return f"is missing, {by(listed[seq - 1])} says it was made" if seq <= len(listed) else "is missing"
