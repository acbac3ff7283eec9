"""Which of a detector's models members get, and from which the next round begins; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from alliance.errors import FailedPrecondition, NotFound
from alliance.names import Digest


class ReleaseMode(StrEnum):
    """What becomes of the model that a round made: its end releases it, or it is held until it is promoted."""

    AUTOMATIC = "automatic"
    BY_PROMOTION = "by_promotion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Versions are the numbers of the rounds that made them, 0 is the initial model.

    Attributes:
        newest: the newest that a round made.
        start: from which the next round begins.
        released: which members screen with; 0 where none is released.
    """

    mode: ReleaseMode = ReleaseMode.AUTOMATIC
    newest: int = 0
    start: int = 0
    released: int = 0

    def trained(self) -> Release:
        """After a round made another model."""
        made = self.newest + 1
        released = made if self.mode is ReleaseMode.AUTOMATIC else self.released
        return replace(self, newest=made, start=made, released=released)

    def promoted(self, version: int) -> Release:
        """With this version released.

        Training goes on from the newest model, unless that is what members are taken back from: behind the released
        model, or ahead of where training stands, a promotion moves training too.

        Raises: NotFound, FailedPrecondition where it is released already.
        """
        if not 0 <= version <= self.newest:
            raise NotFound(
                f"no version {version}, the newest is {self.newest}", reason="MODEL_UNKNOWN", field="version"
            )
        if version == self.released:
            raise FailedPrecondition(
                f"version {version} is released already" if version else "no version is released",
                reason="MODEL_RELEASED",
                field="version",
            )
        moves = version < self.released or version > self.start
        return replace(self, released=version, start=version if moves else self.start)


NOTHING = Release()


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a round made; `round` is its number among all rounds, None for the initial model. Time in microseconds."""

    version: int
    digest: Digest
    round: int | None
    trained_from: int
    create_time: int
