"""Group keys as this agent holds them: each epoch's secret wrapped under the home's data key."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Boolean, Column, ColumnElement, Integer, LargeBinary, String, Table, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from alliance import canonical
from alliance.errors import Corrupt, FailedPrecondition
from alliance.names import BankId, GroupId
from member_agent import keystore
from member_agent.database import LocalDatabase
from member_agent.state import metadata

group_key_table = Table(
    "group_key",
    metadata,
    Column("group_name", String, primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    # False from before an epoch of our own is proposed until the hub and the log have it.
    Column("confirmed", Boolean, nullable=False),
)
# The key of a link seals one secret, once.
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupKey:
    """An epoch's secret, and the keys derived from it per purpose."""

    group: GroupId
    epoch: int
    secret: bytes = field(repr=False)

    @property
    def commitment(self) -> bytes:
        return canonical.epoch_commitment(self.group, self.epoch, self.secret)

    def bank_key(self, bank: BankId, salt: bytes) -> bytes:
        """The AES-256 key of one batch; the salt is the batch's own."""
        return self._derive(canonical.encode("alliance/v1/key/bank-values", bank, self.epoch), salt)

    def text_key(self) -> bytes:
        """Keys the term hashes of every text bank of the group in this epoch, 32 bytes."""
        return self._derive(canonical.encode("alliance/v1/key/text-sketch", self.group, self.epoch), None)

    def feature_key(self, detector: str) -> bytes:
        """What a detector's features are hashed under, as long as it lives: it names the epoch. 32 bytes."""
        return self._derive(canonical.encode("alliance/v1/key/features", self.group, self.epoch, detector), None)

    def link(self, previous: GroupKey) -> bytes:
        """The epoch before, sealed to whoever holds this one: who joins later reads what is there."""
        return AESGCM(self._link_key()).encrypt(_NONCE, previous.secret, None)

    def previous(self, link: bytes) -> GroupKey:
        """Opens a link; the commitment in the log says whether it is the right secret. Raises: Corrupt."""
        try:
            secret = AESGCM(self._link_key()).decrypt(_NONCE, link, None)
        except (InvalidTag, ValueError) as error:
            raise Corrupt(
                f"the link from epoch {self.epoch} of {self.group} to the one before does not open",
                reason="LINK_INVALID",
                remedy="tell the alliance",
            ) from error
        return GroupKey(group=self.group, epoch=self.epoch - 1, secret=secret)

    def _link_key(self) -> bytes:
        return self._derive(canonical.encode("alliance/v1/key/previous-epoch", self.group, self.epoch), None)

    def _derive(self, info: bytes, salt: bytes | None) -> bytes:
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(self.secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is kept of an epoch beside its secret."""

    commitment: bytes
    confirmed: bool


class HeldKeys:
    def __init__(self, db: LocalDatabase, *, data_key: bytes) -> None:
        self._db = db
        self._data_key = data_key

    def get(self, group: GroupId, epoch: int) -> GroupKey:
        """Raises: FailedPrecondition."""
        with self._db.read() as tx:
            row = tx.execute(select(group_key_table.c.wrapped).where(*_row(group, epoch))).first()
        if row is None:
            raise FailedPrecondition(
                f"no key of {group}, epoch {epoch}",
                reason="GROUP_KEY_MISSING",
                remedy='wait until another member\'s agent is online ("alliance-agent run"), then sync',
            )
        secret = keystore.unwrap(self._data_key, bytes(row.wrapped), _context(group, epoch))
        return GroupKey(group=group, epoch=epoch, secret=secret)

    def epochs(self, group: GroupId) -> list[int]:
        """Those that the log has, ascending."""
        query = select(group_key_table.c.epoch).where(
            group_key_table.c.group_name == group, group_key_table.c.confirmed
        )
        with self._db.read() as tx:
            return list(tx.execute(query.order_by(group_key_table.c.epoch)).scalars())

    def known(self, group: GroupId, epoch: int) -> Known | None:
        with self._db.read() as tx:
            row = tx.execute(
                select(group_key_table.c.confirmed, group_key_table.c.commitment).where(*_row(group, epoch))
            ).first()
        return None if row is None else Known(commitment=bytes(row.commitment), confirmed=row.confirmed)

    def keep(self, key: GroupKey, *, confirmed: bool) -> None:
        wrapped = keystore.wrap(self._data_key, key.secret, _context(key.group, key.epoch))
        values = {"commitment": key.commitment, "wrapped": wrapped, "confirmed": confirmed}
        statement = insert(group_key_table).values(group_name=key.group, epoch=key.epoch, **values)
        with self._db.write() as tx:
            tx.execute(statement.on_conflict_do_update(index_elements=["group_name", "epoch"], set_=values))

    def confirm(self, group: GroupId, epoch: int) -> None:
        with self._db.write() as tx:
            tx.execute(update(group_key_table).where(*_row(group, epoch)).values(confirmed=True))

    def forget(self, group: GroupId, epoch: int) -> None:
        with self._db.write() as tx:
            tx.execute(delete(group_key_table).where(*_row(group, epoch)))


def _row(group: GroupId, epoch: int) -> tuple[ColumnElement[bool], ...]:
    return (group_key_table.c.group_name == group, group_key_table.c.epoch == epoch)


def _context(group: GroupId, epoch: int) -> bytes:
    return canonical.encode("alliance/v1/stored-group-key", group, epoch)
