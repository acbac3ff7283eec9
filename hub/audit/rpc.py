"""AuditService: parse, call, render."""

from __future__ import annotations

from sqlalchemy import Connection

from alliance.cosignature import LAST_TIME
from alliance.errors import InvalidInput
from alliance.v1 import audit_pb2 as pb
from hub.audit.service import AuditService
from hub.audit.witnesses import Statement, WitnessService
from hub.runtime.caller import Caller
from hub.runtime.clock import timestamp
from hub.runtime.paging import page, page_request


class AuditRpc:
    def __init__(self, service: AuditService, witnesses: WitnessService) -> None:
        self._service, self._witnesses = service, witnesses

    def get_checkpoint(
        self, tx: Connection, caller: Caller, request: pb.GetCheckpointRequest
    ) -> pb.GetCheckpointResponse:
        head = self._service.head(tx)
        return pb.GetCheckpointResponse(
            checkpoint=head.note, tree_size=head.size, root_hash=head.root, log_key=str(self._service.note_key)
        )

    def list_leaves(self, tx: Connection, caller: Caller, request: pb.ListLeavesRequest) -> pb.ListLeavesResponse:
        asked = page_request(request.page_size, request.page_token)
        start = asked.after_number(request.start_index - 1) + 1
        found = self._service.leaves(tx, start=start, limit=asked.size + 1)
        shown = page(found, asked, lambda leaf: str(leaf.leaf_index))
        return pb.ListLeavesResponse(
            leaves=[
                pb.Leaf(index=leaf.leaf_index, data=leaf.data, integrate_time=timestamp(leaf.time))
                for leaf in shown.items
            ],
            next_page_token=shown.next_token,
        )

    def get_inclusion_proof(
        self, tx: Connection, caller: Caller, request: pb.GetInclusionProofRequest
    ) -> pb.GetInclusionProofResponse:
        proof = self._service.inclusion(tx, index=request.leaf_index, size=request.tree_size)
        return pb.GetInclusionProofResponse(hashes=proof)

    def get_consistency_proof(
        self, tx: Connection, caller: Caller, request: pb.GetConsistencyProofRequest
    ) -> pb.GetConsistencyProofResponse:
        proof = self._service.consistency(tx, first=request.first_tree_size, second=request.second_tree_size)
        return pb.GetConsistencyProofResponse(hashes=proof)

    def add_cosignature(
        self, tx: Connection, caller: Caller, request: pb.AddCosignatureRequest
    ) -> pb.AddCosignatureResponse:
        said = request.cosignature
        if not 0 <= said.cosign_time.seconds <= LAST_TIME:
            raise InvalidInput("no time of the years 1970 to 9999", reason="TIME_INVALID", field="cosign_time")
        statement = Statement(
            size=said.tree_size,
            root=said.root_hash,
            time=said.cosign_time.seconds,
            witness_key=said.witness_key,
            certificate=said.witness_certificate,
            signature=said.signature,
        )
        self._witnesses.add(tx, caller.member, statement)
        return pb.AddCosignatureResponse()

    def list_cosignatures(
        self, tx: Connection, caller: Caller, request: pb.ListCosignaturesRequest
    ) -> pb.ListCosignaturesResponse:
        asked = page_request(request.page_size, request.page_token)
        found = self._witnesses.newest(tx, after=asked.after, limit=asked.size + 1)
        shown = page(found, asked, lambda said: said.member)
        return pb.ListCosignaturesResponse(
            cosignatures=[
                pb.MemberCosignature(
                    member=said.member,
                    checkpoint=said.note,
                    witness_key=said.witness_key,
                    witness_certificate=said.certificate,
                )
                for said in shown.items
            ],
            next_page_token=shown.next_token,
        )

    def verify_log(self, tx: Connection, caller: Caller, request: pb.VerifyLogRequest) -> pb.VerifyLogResponse:
        size, root, pending = self._service.verify(tx)
        return pb.VerifyLogResponse(tree_size=size, root_hash=root, pending=pending)
