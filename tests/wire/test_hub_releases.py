"""Promotions as they are asked for over the wire: nothing is left to a default, and lists are read page by page."""

from __future__ import annotations

import pytest

from alliance.errors import AllianceError, InvalidInput
from alliance.v1 import federation_pb2 as pb
from tests.kit.alliance import Alliance
from tests.kit.federation import Trainee, create_detector, ended, plus, spec, trigger


def models(made: Alliance, detector: str, *, page: int) -> list[pb.Model]:
    found: list[pb.Model] = []
    token = ""
    while True:
        request = pb.ListModelsRequest(detector=detector, page_size=page, page_token=token)
        answer = made.hub.admin.call(request, pb.ListModelsResponse)
        found += answer.models
        token = answer.next_page_token
        if not token:
            return found


def test_what_is_left_out_promotes_nothing_and_changes_no_release(three: Alliance) -> None:
    """An absent version would read as 0, which withdraws the model; an absent release as automatic."""
    detector = create_detector(three.hub, three.group, spec(), *three.members)
    with pytest.raises(InvalidInput) as caught:
        three.hub.admin.call(pb.PromoteModelRequest(detector=detector), pb.PromoteModelResponse)
    assert caught.value.field == "version"
    for release in (pb.MODEL_RELEASE_UNSPECIFIED, 9):
        request = pb.SetModelReleaseRequest(detector=detector, release=release)  # type: ignore[arg-type]  # because 9 is none
        with pytest.raises(InvalidInput) as refused:
            three.hub.admin.call(request, pb.SetModelReleaseResponse)
        assert refused.value.field == "release"


def test_models_are_listed_page_by_page_and_members_get_the_released_one(three: Alliance) -> None:
    wanted = spec()
    detector = create_detector(three.hub, three.group, wanted, *three.members)
    for member in three.members:
        Trainee(member, wanted, plus(1.0))
    rounds = [ended(three.hub, trigger(three.hub, detector).name) for _ in range(2)]
    found = models(three, detector, page=1)
    assert found == models(three, detector, page=100)
    assert [(one.version, one.round, one.digest) for one in found[:2]] == [
        (done.number, done.name, done.result_digest) for done in reversed(rounds)
    ]
    assert [(one.version, one.released, one.next_start) for one in found] == [
        (2, True, True),
        (1, False, False),
        (0, False, False),
    ]

    promoted = pb.PromoteModelRequest(detector=detector, version=1)
    three.hub.admin.call(promoted, pb.PromoteModelResponse)
    member = three.members[0]
    released = member.call(pb.GetModelRequest(detector=detector), pb.GetModelResponse)
    assert (released.version, released.digest, released.round) == (1, rounds[0].result_digest, rounds[0].name)
    (seen,) = member.call(pb.ListDetectorsRequest(), pb.ListDetectorsResponse).detectors
    assert (seen.model_version, seen.model_digest, seen.newest_version) == (1, rounds[0].result_digest, 2)
    # Any version that was made may be fetched, also held; none that was not.
    asked = pb.GetModelRequest(detector=detector, version=2)
    assert member.call(asked, pb.GetModelResponse).digest == rounds[1].result_digest
    for version in (3, -1):
        with pytest.raises(AllianceError) as caught:
            member.call(pb.GetModelRequest(detector=detector, version=version), pb.GetModelResponse)
        assert caught.value.reason == "MODEL_UNKNOWN"
