"""What happens between two transactions: every update checked and the strategy applied, one block of values at a time.

Runs in the runner's thread under the round's lease. Updates and model are read from their blobs block by block and the
new model goes to its own as it is made, so the hub holds a few blocks, however large the model and however many the
members; beside them, for strategies that have any, their new moments. Checks and strategy share one reading: where a
check fails in the middle, the rest is only checked, and the strategy starts again without the updates that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from alliance import tensors
from alliance.errors import AllianceError, Corrupt
from alliance.names import Digest, MemberId
from alliance.tensors import Arrays, Piece
from hub.blobs.files import BlobFiles, Making
from hub.blobs.model import StoredBlob
from hub.federation import moments, validate
from hub.federation.flower import Aggregate, StrategyRound, Update
from hub.federation.model import Participant, ParticipantState
from hub.federation.submitted import Model, Submitted
from hub.federation.work import Outcome, Work

log = structlog.get_logger()
T = TypeVar("T")
R = TypeVar("R")
# Values in a block: many enough for Flower's own work on each not to count, few enough for memory not to.
BLOCK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """A slot that reported; `node` is its number in the roster."""

    node: int
    participant: Participant
    update: Submitted


def aggregate(work: Work, files: BlobFiles) -> Outcome:
    """Never raises for what members sent: a bad update is refused, and too few good ones fail the round."""
    refused: list[tuple[MemberId, str]] = []
    try:
        with ExitStack() as stack:
            model = Model(stack.enter_context(files.open(work.round.model_digest)))
            slots = _slots(work, files, model, stack)
            while True:
                refused += [_refusal(work, s.participant, s.update.problem) for s in slots if s.update.problem]
                slots = [slot for slot in slots if not slot.update.problem]
                if len(slots) < work.round.plan.quorum:
                    why = f"quorum missed: {len(slots)} of {work.round.plan.quorum} updates could be used"
                    return Outcome(refused=tuple(refused), failure=why)
                outcome = _combine(work, files, model, slots)
                if outcome is not None:
                    return replace(outcome, refused=tuple(refused))
    except AllianceError as error:
        return Outcome(refused=tuple(refused), failure=f"not aggregated: {error.message} [{error.reason}]")


def _slots(work: Work, files: BlobFiles, model: Model, stack: ExitStack) -> list[_Slot]:
    """Those that reported. Raises: Unavailable, where the hub has lost what it acknowledged."""
    found, spec = [], work.detector.spec
    for node, one in enumerate(p for p in work.round.participants if p.state is ParticipantState.REPORTED):
        file = stack.enter_context(files.open(_digest(one))) if spec.arrays else None
        found.append(_Slot(node=node, participant=one, update=Submitted(file, spec, model)))
    return found


def _combine(work: Work, files: BlobFiles, model: Model, slots: Sequence[_Slot]) -> Outcome | None:
    """None where an update turned out bad: its `problem` says how."""
    specs, digest = work.detector.spec.arrays, work.detector.state_digest
    if not specs:
        # Members are asked for figures alone.
        return Outcome(model=StoredBlob(work.round.model_digest, tensors.encoded_size(specs)))
    with ExitStack() as stack:
        before = moments.Reader(None if digest is None else stack.enter_context(files.open(digest)), specs)
        after = moments.Writer(specs, f"{work.detector.id}/{work.round.id}")
        making = stack.enter_context(files.make())
        making.append(tensors.head(specs))
        usable = True
        for group, made in _one_ahead(partial(_block, work, model, before, slots), tensors.pieces(specs, BLOCK)):
            usable = usable and made is not None
            if usable and made is not None:
                _append(making, group, made.arrays)
                after.add(group, made.state)
        for slot in slots:
            slot.update.finish()
        if any(slot.update.problem for slot in slots):
            return None
        if not usable:
            return Outcome(failure="the strategy gave NaN or infinity; its settings diverge")
        making.append(bytes(tensors.encoded_size(specs) - making.size))
        return Outcome(model=making.finish(), state=_stored(files, after) if after.any else None)


def _one_ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Each item with what comes of it; the next is worked on, in a thread of its own, while this one is used."""
    with ThreadPoolExecutor(1) as pool:
        begun: tuple[T, Future[R]] | None = None
        for item in items:
            before, begun = begun, (item, pool.submit(work, item))
            if before is not None:
                yield before[0], before[1].result()
        if begun is not None:
            yield begun[0], begun[1].result()


def _block(
    work: Work, model: Model, before: moments.Reader, slots: Sequence[_Slot], group: tuple[Piece, ...]
) -> Aggregate | None:
    """What the strategy makes of these pieces; None where it is of no use. Every update's pieces are checked."""
    # NumPy keeps this for each thread.
    with np.errstate(all="ignore"):
        made = None
        if not any(slot.update.problem for slot in slots):
            made = _aggregated(work, model, slots, group, before.read(group))
        for slot in slots:
            slot.update.see(group)
        model.forget(group)
        good = made is not None and all(map(validate.finite, made.arrays.values()))
        return made if good else None


def _aggregated(work: Work, model: Model, slots: Sequence[_Slot], group: Sequence[Piece], state: Arrays) -> Aggregate:
    spec, pieces = work.detector.spec, {piece.spec.name: piece for piece in group}
    strategy = StrategyRound(
        spec.strategy,
        dict(spec.strategy_settings),
        number=work.round.number,
        nodes=[slot.node for slot in slots],
        state=state,
    )
    updates = [
        Update(node=s.node, examples=s.participant.examples, read=partial(_read, s.update, pieces)) for s in slots
    ]
    return strategy.aggregate(lambda name: model.read(pieces[name]), [piece.spec for piece in group], updates)


def _read(update: Submitted, pieces: Mapping[str, Piece], name: str) -> NDArray[Any]:
    return update.read(pieces[name])


def _append(making: Making, group: Sequence[Piece], arrays: Arrays) -> None:
    for piece in group:
        making.append(bytes(piece.offset - making.size))
        little = np.dtype(piece.spec.dtype).newbyteorder("<")
        making.append(arrays[piece.spec.name].astype(little, copy=False).view(np.uint8).data)


def _stored(files: BlobFiles, state: moments.Writer) -> StoredBlob:
    with files.make() as making:
        state.write(making.append)
        return making.finish()


def _digest(slot: Participant) -> Digest:
    if slot.update_digest is None:
        raise Corrupt("the update is missing", reason="UPDATE_MISSING")
    return slot.update_digest


def _refusal(work: Work, slot: Participant, error: AllianceError) -> tuple[MemberId, str]:
    log.warning("update_refused", round=work.round.id, member=slot.member, reason=error.reason)
    return slot.member, f"{error.message} [{error.reason}]"
