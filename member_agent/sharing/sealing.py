"""Sealing a batch: AES-256-GCM under a key of its own, derived from the group's epoch and a random salt.

Layout: magic `ALSEAL01`, 32-byte salt, ciphertext and tag. Since every batch has its own key, the nonce is
constant and never repeats under one key. The bank, publisher, scheme, epoch and row count are associated
data: a batch opens only where it was published. Rows are padded to a multiple of 1 KiB before sealing.
"""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from alliance.canonical import batch_aad
from alliance.errors import Corrupt
from alliance.names import BankId, MemberId
from member_agent.sharing.held_keys import GroupKey

MAGIC = b"ALSEAL01"
SALT = 32
PAD = 1024
_NONCE = bytes(12)


def seal(plain: bytes, key: GroupKey, *, bank: BankId, publisher: MemberId, scheme: str, row_count: int) -> bytes:
    """The bytes that leave the member."""
    salt = os.urandom(SALT)
    padded = struct.pack("<Q", len(plain)) + plain
    padded += bytes(-len(padded) % PAD)
    aad = batch_aad(bank, publisher, scheme, key.epoch, row_count)
    return MAGIC + salt + AESGCM(key.bank_key(bank, salt)).encrypt(_NONCE, padded, aad)


def unseal(sealed: bytes, key: GroupKey, *, bank: BankId, publisher: MemberId, scheme: str, row_count: int) -> bytes:
    """The inverse of `seal`. Raises: Corrupt."""
    if not sealed.startswith(MAGIC):
        raise Corrupt("not a sealed batch", reason="BATCH_MALFORMED", remedy="tell its publisher")
    salt, ciphertext = sealed[len(MAGIC) : len(MAGIC) + SALT], sealed[len(MAGIC) + SALT :]
    aad = batch_aad(bank, publisher, scheme, key.epoch, row_count)
    try:
        padded = AESGCM(key.bank_key(bank, salt)).decrypt(_NONCE, ciphertext, aad)
    except InvalidTag as error:
        raise Corrupt("a batch does not open", reason="BATCH_UNOPENABLE", remedy="tell its publisher") from error
    size = int.from_bytes(padded[:8], "little")
    if size > len(padded) - 8:
        raise Corrupt("a batch's length is wrong", reason="BATCH_MALFORMED", remedy="tell its publisher")
    return padded[8 : 8 + size]
