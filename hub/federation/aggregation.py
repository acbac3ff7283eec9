"""What happens between two transactions: every update checked, then the strategy, one array at a time.

Runs in the runner's thread under the round's lease. Updates are read from their blobs array by array, so the
hub holds one update's array beside the sum, not every member's model.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from alliance import tensors
from alliance.errors import AllianceError, Corrupt
from alliance.names import Digest, MemberId
from alliance.tensors import Arrays, ArraySpec
from hub.blobs.files import BlobFiles
from hub.federation import validate
from hub.federation.flower import StrategyRound, Update
from hub.federation.model import Participant, ParticipantState, Spec
from hub.federation.service import Outcome, Work

log = structlog.get_logger()


def aggregate(work: Work, files: BlobFiles) -> Outcome:
    """Never raises for what members sent: a bad update is refused, and too few good ones fail the round."""
    spec = work.detector.spec
    slots = [p for p in work.round.participants if p.state is ParticipantState.REPORTED]
    good, refused = [], []
    try:
        model = _model(files, work.round.model_digest, spec)
        for node, slot in enumerate(slots):
            try:
                _check(files, slot, spec, model)
                good.append((node, slot))
            except AllianceError as error:
                refused.append((slot.member, f"{error.message} [{error.reason}]"))
                log.warning("update_refused", round=work.round.id, member=slot.member, reason=error.reason)
        if len(good) < work.round.plan.quorum:
            why = f"quorum missed: {len(good)} of {work.round.plan.quorum} updates could be used"
            return Outcome(refused=tuple(refused), failure=why)
        return _combine(work, files, model, good, tuple(refused))
    except AllianceError as error:
        return Outcome(refused=tuple(refused), failure=f"not aggregated: {error.message} [{error.reason}]")


def _combine(
    work: Work,
    files: BlobFiles,
    model: Arrays,
    good: list[tuple[int, Participant]],
    refused: tuple[tuple[MemberId, str], ...],
) -> Outcome:
    spec = work.detector.spec
    strategy = StrategyRound(
        spec.strategy,
        dict(spec.strategy_settings),
        number=work.round.number,
        nodes=[node for node, _ in good],
        state=_state(files, work.detector.state_digest),
    )
    updates = [Update(node=node, examples=slot.examples, read=_reader(files, slot, spec.arrays)) for node, slot in good]
    made = strategy.aggregate(model, spec.arrays, updates)
    if not all(np.isfinite(array).all() for array in made.arrays.values()):
        return Outcome(refused=refused, failure="the strategy gave NaN or infinity; its settings diverge")
    state = encode_state(made.state) if made.state else b""
    return Outcome(model=tensors.encode(made.arrays), state=state, refused=refused)


def _check(files: BlobFiles, slot: Participant, spec: Spec, model: Arrays) -> None:
    if spec.arrays:
        validate.update(_path(files, slot).open("rb"), spec, model)


def _reader(files: BlobFiles, slot: Participant, specs: tuple[ArraySpec, ...]) -> Any:
    places = tensors.places(specs)

    def read(name: str) -> NDArray[Any]:
        spec, offset = places[name]
        with _path(files, slot).open("rb") as file:
            return tensors.read_array(file, spec, offset)

    return read


def _path(files: BlobFiles, slot: Participant) -> Path:
    if slot.update_digest is None:
        raise Corrupt("the update is missing", reason="UPDATE_MISSING")
    return files.path(slot.update_digest)


def _model(files: BlobFiles, digest: Digest, spec: Spec) -> Arrays:
    """Views on the stored model, paged in as needed; nothing for a model without arrays."""
    if not spec.arrays:
        return {}
    with files.path(digest).open("rb") as file:
        return tensors.decode(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), spec.arrays)


def encode_state(state: Arrays) -> bytes:
    """A strategy's moments: names with "/" become names of arrays."""
    return tensors.encode({name.replace("/", "."): array for name, array in state.items()})


def decode_state(data: bytes) -> Arrays:
    """The inverse of `encode_state`."""
    specs = tensors.read_specs(data)
    return {name.replace(".", "/", 1): array for name, array in tensors.decode(data, specs).items()}


def _state(files: BlobFiles, digest: Digest | None) -> Arrays:
    return {} if digest is None else decode_state(files.read_all(digest))
