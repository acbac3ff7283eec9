"""Prices as people and exports write them: `15.00 USD`, `EUR 9,99`, `1.299,00 €`, `$1,299`. Pure and local."""

from __future__ import annotations

import re
from decimal import Decimal

from alliance.errors import InvalidInput

_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}
_PRICE = re.compile(r"(?P<before>[A-Za-z]{3}|[$€£¥₹])?\s*(?P<number>\d[\d.,'\s]*)\s*(?P<after>[A-Za-z]{3}|[$€£¥₹])?\Z")
_GROUPED = re.compile(r"\d+\Z|\d{1,3}(?P<mark>[.,])\d{2,3}(?:(?P=mark)\d{2,3})*\Z")
_LIMIT = 40


def parse_price(text: str, *, decimal: str = "") -> tuple[Decimal, str]:
    """Parses an amount and its currency ("" where none is written).

    Args:
        decimal: "." or "," where the source's convention is known. Otherwise the later of the two separators is the
            decimal one, and one that stands alone is, unless it is a comma before exactly three digits.

    Raises:
        InvalidInput: PRICE_UNREADABLE.
    """
    match = _PRICE.match(text.strip()[:_LIMIT])
    if match is None or len(text.strip()) > _LIMIT:
        raise InvalidInput(f"{text[:40]!r} is not a price", reason="PRICE_UNREADABLE", field="price")
    number = "".join(match["number"].split()).replace("'", "")
    point = decimal or _decimal_separator(number)
    whole, _, fraction = number.partition(point) if point else (number, "", "")
    if not _GROUPED.match(whole) or not (fraction.isdigit() or not fraction):
        raise InvalidInput(f"{text[:40]!r} is not a price", reason="PRICE_UNREADABLE", field="price")
    sign = match["before"] or match["after"] or ""
    digits = whole.replace(",", "").replace(".", "")
    return Decimal(f"{digits}.{fraction or 0}"), _SYMBOLS.get(sign, sign.upper())


def _decimal_separator(number: str) -> str:
    last = max(number.rfind("."), number.rfind(","))
    if last < 0:
        return ""
    both = "." in number and "," in number
    repeated = number.count(number[last]) > 1
    if both:
        return "" if repeated else number[last]
    return "" if repeated or (len(number) - last - 1 == 3 and number[last] == ",") else number[last]
