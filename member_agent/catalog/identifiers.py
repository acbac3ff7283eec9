"""Product identifiers in one spelling each, so that equal things compare equal.

GTIN-8, -12, -13 and -14 become GTIN-14 by zeros on the left, which leaves the check digit valid (GS1 General
Specifications, 7.9). Spreadsheets damage these numbers in two ways: 8.13817E+11 has lost digits for good and is
refused; an 11-digit number is a UPC that lost its leading zero, which is put back when the check digit agrees.
Pure; what is parsed here stays local.
"""

from __future__ import annotations

import re
import unicodedata

from alliance.errors import InvalidInput

_LENGTHS = frozenset({8, 12, 13, 14})
_LOST_ZERO_LENGTH = 11
_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?[eE]\+?\d+\Z")
_DECIMAL_TAIL = re.compile(r"\.0+\Z")
_MPN_LIMIT = 70
"""Google Merchant's limit for an MPN; anything longer is a description in the wrong column."""


def check_digit(digits: str) -> int:
    """GS1 mod-10 check digit of the digits before it."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return -total % 10


def gtin14(text: str) -> str:
    """Parses a GTIN of any length as 14 digits. Spaces and hyphens are ignored.

    Raises:
        InvalidInput: GTIN_DAMAGED (scientific notation), GTIN_MALFORMED, GTIN_LENGTH or GTIN_CHECK_DIGIT.
    """
    digits = _DECIMAL_TAIL.sub("", text.strip()).replace(" ", "").replace("-", "")
    if _SCIENTIFIC.match(digits):
        raise InvalidInput(
            f"{text!r} was shortened by a spreadsheet, its digits are lost",
            reason="GTIN_DAMAGED",
            field="gtin",
            remedy="export the column as text",
        )
    if not digits.isascii() or not digits.isdigit() or not digits.strip("0"):
        raise InvalidInput(f"{text[:40]!r} is not a GTIN", reason="GTIN_MALFORMED", field="gtin")
    if len(digits) not in _LENGTHS and len(digits) != _LOST_ZERO_LENGTH:
        raise InvalidInput(
            f"a GTIN has 8, 12, 13 or 14 digits, {text[:40]!r} has {len(digits)}",
            reason="GTIN_LENGTH",
            field="gtin",
        )
    if check_digit(digits[:-1]) != int(digits[-1]):
        raise InvalidInput(f"the check digit of {text[:40]!r} is wrong", reason="GTIN_CHECK_DIGIT", field="gtin")
    return digits.zfill(14)


def canonical_mpn(text: str) -> str:
    """A manufacturer's part number without the ways of writing it: `ktc-d320/1g` and `KTC D320 1G` are one.

    Returns "" for a text without letters or digits and for one too long to be a part number.
    """
    folded = unicodedata.normalize("NFKC", text).upper()
    mpn = "".join(character for character in folded if character.isalnum())
    return mpn if len(mpn) <= _MPN_LIMIT else ""
