"""Of agents, certificates, authorities, actions, consents and hits, what is altered behind the log's back is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization

from alliance import anchors, tls
from hub.app import Services
from hub.pki import x509 as profile
from hub.runtime.clock import utc_now
from tests.kit.clock import ShiftedClock
from tests.kit.direct import ADMIN, write
from tests.kit.trust import ALLIANCE, Scene

# Of an authority that this alliance never had.
FORGED = profile.new_ca(ALLIANCE, tls.new_channel_key(), utc_now())


@pytest.fixture
def scene(services: Services, clock: ShiftedClock) -> Scene:
    return Scene(services, clock)


def test_what_nobody_touched_is_sound(scene: Scene) -> None:
    assert scene.findings() == []


SET = "UPDATE {} SET {} WHERE {}"
# What is altered, the table and key of what is found, and how the problem begins.
Case = tuple[Callable[[Scene], object], str, Callable[[Scene], str], str]


def changed(table: str, values: str, where: str, key: Callable[[Scene], str] | str, problem: str) -> Case:
    """A row of `table`, found under its own key; `{...}` in `where` names something of the scene."""
    found = key if callable(key) else lambda scene: key
    return (lambda scene: scene.alter(SET.format(table, values, where.format(scene=scene)))), table, found, problem


def certificate(values: str, subject: str, problem: str, *, newest: bool = True) -> Case:
    def key(scene: Scene) -> str:
        return scene.known[subject, newest]

    def alter(scene: Scene) -> None:
        scene.alter(SET.format("certificate", values, f"serial = '{key(scene)}'"))

    return alter, "certificate", key, problem


def authority(which: str, values: str, problem: str) -> Case:
    """Of the `first`, the one `made` after it or the `next`."""

    def key(scene: Scene) -> str:
        return str(getattr(scene, which).name)

    def alter(scene: Scene) -> None:
        other = scene.made if which == "first" else scene.first
        given = {"other": other.anchor, "flipped": flipped(getattr(scene, which).cross), "empty": b""}
        used = {name: value for name, value in given.items() if f":{name}" in values}
        scene.alter(SET.format("authority", values, f"name = '{key(scene)}'"), **used)

    return alter, "authority", key, problem


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if data else b""


CASES: dict[str, Case] = {
    "an identity in between": changed(
        "identity_change", "signing_key = former_signing_key", "number = 1", "members/gone 1", "its identity is"
    ),
    "an identity before": changed(
        "identity_change",
        "former_sealing_key = sealing_key",
        "number = 2",
        "members/gone 2",
        "its former identity is",
    ),
    "signature of a change": changed(
        "identity_change", "signature = former_signature", "number = 1", "members/gone 1", "it is not signed by both"
    ),
    "a change that is gone": (
        lambda s: s.alter("DELETE FROM identity_change WHERE number = 1"),
        "identity_change",
        lambda s: "members/gone 1",
        "is missing, leaf",
    ),
    "how many admit": changed("admission_policy", "cosigners = 1", "id = 1", "1", "its number of cosigners is 1, leaf"),
    "anchor of an authority": authority("made", "anchor = :other", "its anchor is"),
    "issuer of an authority": authority("made", "issuer = :other", "its issuer is authorities/"),
    "anchor of the first authority": authority("first", "anchor = :other", "its issuer is not signed by its anchor"),
    "what vouches for an authority": authority(
        "made", "cross_certificate = :flipped", "its cross certificate is wrong"
    ),
    "nothing vouches for an authority": authority(
        "next", "cross_certificate = :empty", "its cross certificate is wrong"
    ),
    "something vouches for the first": authority(
        "first", "cross_certificate = :other", "its cross certificate is wrong: nothing vouches for the first anchor"
    ),
    "an authority retired by nobody": authority("first", "phase = 'retired'", "its phase is retired, leaf"),
    "an authority back in office": authority("first", "phase = 'active'", "its phase is active, leaf"),
    "an authority out of office": authority("made", "phase = 'outgoing'", "its phase is outgoing, leaf"),
    "an authority in office too early": authority("next", "phase = 'active'", "its phase is active, leaf"),
    "when an authority took over": authority("made", "phase_time = 1", "its phase_time is 1, leaf"),
    "when an authority was announced": authority("next", "announce_time = 1", "its announce_time is 1, leaf"),
    "an authority that is gone": (
        lambda s: s.alter(f"DELETE FROM authority WHERE name = '{s.next.name}'"),
        "authority",
        lambda s: s.next.name,
        "is missing, leaf",
    ),
    "an authority nobody added": (
        lambda s: s.alter(
            "INSERT INTO authority SELECT :n, :c, :c, cross_certificate, sealed_key, 'announced', announce_time, "
            "phase_time, overlap FROM authority WHERE phase = 'announced'",
            n=anchors.name_of(FORGED),
            c=FORGED.public_bytes(serialization.Encoding.DER),
        ),
        "authority",
        lambda s: anchors.name_of(FORGED),
        "its anchor is",
    ),
    "method of an action": changed(
        "action", "method = 'alliance.v1.PkiService/RotateCa'", "id = 1", "actions/1", "its method is RotateCa, leaf"
    ),
    "request of an action": (
        lambda s: s.alter("UPDATE action SET request = :r WHERE id = 1", r=b"other"),
        "action",
        lambda s: "actions/1",
        "its request is",
    ),
    "state of an action": changed("action", "state = 'open'", "id = 2", "actions/2", "its state is open, leaf"),
    "an action approved by nobody": changed(
        "action", "state = 'approved'", "id = 3", "actions/3", "its state is approved, leaf"
    ),
    "proposer of an action": changed(
        "action", "proposer = 'operators/eve'", "id = 3", "actions/3", "its proposer is operators/eve, leaf"
    ),
    "decider of an action": changed(
        "action", "decider = 'operators/eve'", "id = 1", "actions/1", "its decider is operators/eve, leaf"
    ),
    "when an action was proposed": changed(
        "action", "propose_time = propose_time + 600000000", "id = 3", "actions/3", "its propose_time is"
    ),
    "when an action was decided": changed("action", "decide_time = 7", "id = 2", "actions/2", "its decide_time is 7"),
    "an action that is gone": (
        lambda s: s.alter("DELETE FROM action WHERE id = 2"),
        "action",
        lambda s: "actions/2",
        "is missing, leaf",
    ),
    "an action nobody proposed": (
        lambda s: s.alter(
            "INSERT INTO action (id, method, request, state, proposer, propose_time, decider, decide_time, response) "
            "VALUES (9, 'x', 'y', 'open', 'operators/admin', 1, '', 0, '')"
        ),
        "action",
        lambda s: "actions/9",
        "the log says nothing of it",
    ),
    "a consent that is gone": (
        lambda s: s.alter("DELETE FROM detector_consent WHERE member = 'members/acme'"),
        "detector_consent",
        lambda s: "detectors/d members/acme",
        "is missing, leaf",
    ),
    "a consent taken back": (
        lambda s: s.alter(
            "INSERT INTO detector_consent (detector, member, time) VALUES ('detectors/d', 'members/zoo', 1)"
        ),
        "detector_consent",
        lambda s: "detectors/d members/zoo",
        "the log says nothing of it",
    ),
    "time of a consent": changed(
        "detector_consent", "time = 1", "member = 'members/acme'", "detectors/d members/acme", "its time is 1"
    ),
    "reporter of a hit": changed(
        "fingerprint_hit",
        "reporter = 'members/acme'",
        "reporter = 'members/zoo'",
        lambda s: f"banks/shoes {s.batch.hex()} 2 members/acme",
        "the log knows no report of members/acme",
    ),
    "row of a hit": changed(
        "fingerprint_hit",
        '"row" = 3',
        '"row" = 2',
        lambda s: f"banks/shoes {s.batch.hex()} 3 members/zoo",
        "the bank has no such row",
    ),
    "time of a hit": changed(
        "fingerprint_hit",
        "time = 1",
        '"row" = 2',
        lambda s: f"banks/shoes {s.batch.hex()} 2 members/zoo",
        "the log knows no report of members/zoo at 1",
    ),
    "an agent revoked no more": changed(
        "agent",
        "revoke_time = NULL",
        "name = '{scene.second}'",
        lambda s: f"members/acme {s.second}",
        "is not revoked, leaf",
    ),
    "an agent revoked by nobody": changed(
        "agent",
        "revoke_time = 1",
        "member = 'members/zoo'",
        lambda s: f"members/zoo {s.zoo.peer.agent}",
        "is revoked, the log says nothing of that",
    ),
    "when an agent was revoked": changed(
        "agent",
        "revoke_time = 1",
        "name = '{scene.second}'",
        lambda s: f"members/acme {s.second}",
        "its revoke_time is",
    ),
    "when an agent came": changed(
        "agent",
        "create_time = 1",
        "name = '{scene.second}'",
        lambda s: f"members/acme {s.second}",
        "its create_time is",
    ),
    "until when an agent is certified": changed(
        "agent",
        "expire_time = expire_time + 9000000",
        "member = 'members/zoo'",
        lambda s: f"members/zoo {s.zoo.peer.agent}",
        "no certificate of it lasts until",
    ),
    "an agent nobody enrolled": (
        lambda s: s.alter(
            "INSERT INTO agent (member, name, create_time, expire_time) VALUES ('members/zoo', 'agents/ghost', 1, 1)"
        ),
        "agent",
        lambda s: "members/zoo agents/ghost",
        "the log says nothing of it",
    ),
    "an agent that is gone": (
        lambda s: s.alter(f"DELETE FROM agent WHERE name = '{s.second}'"),
        "agent",
        lambda s: f"members/acme {s.second}",
        "is missing, leaf",
    ),
    "a certificate of an expelled member": certificate("revoke_time = NULL", "members/gone", "is not revoked, leaf"),
    "a certificate of a revoked operator": certificate("revoke_time = NULL", "operators/eve", "is not revoked, leaf"),
    "a certificate of a revoked agent": certificate("revoke_time = NULL", "second", "is not revoked, leaf"),
    "a certificate revoked by nobody": certificate(
        "revoke_time = 1", "members/zoo", "is revoked, the log says nothing of that"
    ),
    "holder of a certificate": certificate(
        "subject = 'operators/admin'", "operators/dana", "the log knows no issue to operators/admin"
    ),
    "when a certificate was issued": certificate(
        "issue_time = 1", "members/zoo", "the log knows no issue to members/zoo agents/", newest=False
    ),
    "a certificate nobody was issued": (
        lambda s: s.alter(
            "INSERT INTO certificate (serial, subject, agent, not_after, issue_time) "
            f"VALUES ('abc', 'members/zoo', '{s.zoo.peer.agent}', {s.training.now}, {s.training.now})"
        ),
        "certificate",
        lambda s: "abc",
        "the log knows no issue to members/zoo agents/",
    ),
}


@pytest.mark.parametrize("table", sorted({table for _, table, _, _ in CASES.values()}))
def test_what_was_altered_is_named(table: str, scene: Scene) -> None:
    """Each by itself, and nothing else."""
    for name, (alter, of, key, problem) in CASES.items():
        if of == table:
            with scene.restored(table):
                alter(scene)
                found = scene.findings()
            assert [(one.table, one.key) for one in found] == [(table, key(scene))], (name, found)
            assert found[0].problem.startswith(problem), (name, found)
    assert scene.findings() == []


def test_a_retired_authority_that_is_trusted_again_is_named_and_so_is_what_it_issued(scene: Scene) -> None:
    retire = scene.services.rotation.retire
    write(scene.services, lambda tx: retire(tx, ADMIN.name, scene.first.name))
    assert scene.findings() == []
    scene.alter(SET.format("authority", "phase = 'outgoing'", f"name = '{scene.first.name}'"))
    found = scene.findings()
    assert (found[0].table, found[0].key) == ("authority", scene.first.name)
    assert found[0].problem.startswith("its phase is outgoing, leaf")
    # What it had issued was revoked because it was retired, which the store says no more.
    assert {one.table for one in found[1:]} == {"certificate"}
