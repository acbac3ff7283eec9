"""GTINs, part numbers and prices as catalogues write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance.errors import InvalidInput
from member_agent.catalog.identifiers import canonical_mpn, check_digit, gtin14
from member_agent.catalog.prices import parse_price


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("4006381333931", "04006381333931"),  # GTIN-13
        ("036000291452", "00036000291452"),  # UPC-A
        ("36000291452", "00036000291452"),  # the same after a spreadsheet took its zero
        ("96385074", "00000096385074"),  # GTIN-8
        ("10614141000415", "10614141000415"),  # GTIN-14
        (" 4-006381-333931 ", "04006381333931"),
        ("4006381333931.0", "04006381333931"),  # through a float
    ],
)
def test_a_gtin_of_any_length_becomes_14_digits(written: str, expected: str) -> None:
    assert gtin14(written) == expected


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("8.13817E+11", "GTIN_DAMAGED"),
        ("8,13817e11", "GTIN_DAMAGED"),
        ("4006381333932", "GTIN_CHECK_DIGIT"),
        ("1234567", "GTIN_LENGTH"),
        ("123456789", "GTIN_LENGTH"),
        ("does not apply", "GTIN_MALFORMED"),
        ("0000000000000", "GTIN_MALFORMED"),
        ("٤٠٠٦٣٨١٣٣٣٩٣١", "GTIN_MALFORMED"),
    ],
)
def test_a_gtin_that_is_none_says_why(written: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        gtin14(written)
    assert caught.value.reason == reason


@given(st.text("0123456789", min_size=12, max_size=12), st.integers(0, 12), st.integers(1, 9))
def test_one_wrong_digit_never_passes(body: str, place: int, shift: int) -> None:
    digits = body + str(check_digit(body))
    wrong = digits[:place] + str((int(digits[place]) + shift) % 10) + digits[place + 1 :]
    with pytest.raises(InvalidInput):
        gtin14(wrong)


def test_part_numbers_written_differently_are_one() -> None:
    assert (
        canonical_mpn("ktc-d320/1g") == canonical_mpn("KTC D320 1G") == canonical_mpn("ＫＴＣ-D320.1G") == "KTCD3201G"
    )
    assert canonical_mpn(" -/. ") == ""
    assert canonical_mpn("x" * 71) == ""


@pytest.mark.parametrize(
    ("written", "amount", "currency"),
    [
        ("15.00 USD", "15.00", "USD"),
        ("EUR 9,99", "9.99", "EUR"),
        ("1.299,00 €", "1299.00", "EUR"),
        ("$1,299", "1299", "USD"),
        ("1,299.50", "1299.50", ""),
        ("1'299.50 chf", "1299.50", "CHF"),
        ("1 299,5", "1299.5", ""),
        ("1,234,567", "1234567", ""),
        ("0.0", "0.0", ""),
        ("399", "399", ""),
    ],
)
def test_a_price_is_read_as_people_write_it(written: str, amount: str, currency: str) -> None:
    price, sign = parse_price(written)
    assert (price, sign) == (Decimal(amount), currency)


def test_a_known_decimal_separator_decides() -> None:
    assert parse_price("1,299", decimal=",")[0] == Decimal("1.299")
    assert parse_price("1.299", decimal=",")[0] == Decimal("1299")


@pytest.mark.parametrize("written", ["call us", "12-15", "1,2.3,4", "-5", "9" * 50, "."])
def test_what_is_no_price_is_refused(written: str) -> None:
    with pytest.raises(InvalidInput, match="not a price"):
        parse_price(written)


@given(st.decimals(0, 10**9, places=2, allow_nan=False))
def test_both_conventions_give_the_same_amount(amount: Decimal) -> None:
    english = f"{amount:,.2f}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert parse_price(english)[0] == parse_price(german)[0] == amount
