"""An alliance for benchmarks: a hub in its own process, members that joined it, keys for a bare peer."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from alliance import canonical, join_code
from alliance.names import GroupId, OperatorId, member_id
from alliance.v1 import membership_pb2
from bench.peers.certificate import self_signed
from hub.config import Home as HubHome
from hub.config import Settings as HubSettings
from hub.operator_client import OperatorClient, open_client
from hub.setup import initialise
from member_agent import enrolment
from member_agent.config import Home

GROUP = GroupId("groups/bench")


@contextmanager
def serving_hub(folder: Path, *, metrics_port: int = 0) -> Iterator[OperatorClient]:
    """A hub on ports of the system's choice, with one group; with its metrics where a port is given."""
    home = HubHome(path=folder / "hub")
    settings = HubSettings(
        server_address="127.0.0.1:0",
        server_enrolment_address="127.0.0.1:0",
        metrics_address=f"127.0.0.1:{metrics_port}" if metrics_port else "",
        membership_admission_cosigners=0,
        log_level="error",
    )
    initialise(home, settings, OperatorId("operators/bench"))
    process = subprocess.Popen(
        [sys.executable, "-m", "hub", "--home", str(home.path), "serve"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        client = open_client(home)
        client.call(membership_pb2.CreateGroupRequest(name=GROUP), membership_pb2.CreateGroupResponse)
        yield client
        client.close()
    finally:
        process.terminate()
        process.wait(timeout=20)


def invitation(operator: OperatorClient, name: str) -> join_code.JoinCode:
    """For a member of this name."""
    secret = hashlib.sha256(name.encode()).digest()
    invited = operator.call(
        membership_pb2.CreateInvitationRequest(
            member=f"members/{name}", role="MEMBER_ROLE_BRAND", secret_digest=canonical.sha256(secret)
        ),
        membership_pb2.CreateInvitationResponse,
    )
    return join_code.JoinCode(
        alliance=invited.alliance,
        address=invited.enrolment_address,
        member=member_id(f"members/{name}"),
        ca=x509.load_pem_x509_certificate(operator.roots),
        secret=secret,
    )


def member(folder: Path, operator: OperatorClient, name: str) -> Home:
    """An agent that joined, and is in the group."""
    home = Home(path=folder / name)
    enrolment.join(home, invitation(operator, name))
    operator.call(
        membership_pb2.AddGroupMemberRequest(group=GROUP, member=f"members/{name}"),
        membership_pb2.AddGroupMemberResponse,
    )
    return home


def hub_process(folder: Path) -> int:
    """The process id of the serving hub, as its lock file says."""
    return int((folder / "hub" / "hub.lock").read_text())


def write_peer_keys(folder: Path) -> None:
    """key.pem and chain.pem of a server of its own authority, and ca.pem, by which it knows the members."""
    key, chain = self_signed()
    written = {"key.pem": key, "chain.pem": chain, "ca.pem": (folder / "hub" / "ca" / "ca.pem").read_bytes()}
    for file, data in written.items():
        (folder / file).write_bytes(data)
