"""Text sketches: what counts as the same text, what the bytes promise, and what other keys see."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance.errors import AllianceError, Corrupt, InvalidInput
from member_agent.fingerprinting.text import (
    MAX_TERMS,
    Sketcher,
    TextItem,
    TextSketch,
    columns,
    sketch,
    sketch_many,
)
from member_agent.fingerprinting.text_normalise import fold, unleet, words

KEY = bytes(range(32))
CAMERA = TextItem(title="Canon PowerShot SD-1100 IS, 8 MP", brand="Canon", model="SD1100IS")
titles = st.text(max_size=60) | st.text(alphabet="abn1ke0- ./SD", max_size=40)
items = st.builds(TextItem, title=titles, brand=st.text(max_size=10), model=st.text(max_size=10))


def title(text: str) -> TextSketch:
    return sketch(TextItem(title=text), key=KEY)


def cosine(left: TextSketch, right: TextSketch) -> float:
    """Of the published weights alone, without rarity."""
    shared, at_left, at_right = np.intersect1d(left.terms, right.terms, return_indices=True)
    if not len(shared):
        return 0.0
    wide = [each.weights.astype(float) for each in (left, right)]
    product = float(wide[0][at_left] @ wide[1][at_right])
    return product / float(np.linalg.norm(wide[0]) * np.linalg.norm(wide[1]))


@pytest.mark.parametrize(
    "disguise",
    [
        "NIKE AIR MAX 90",
        "ＮＩＫＥ Ａｉｒ Ｍａｘ ９０",
        "Nіkе Аіr Мах 90",  # Cyrillic
        "ΝΙΚΕ ΑΙR ΜΑΧ 90",  # Greek
        "ɴɪᴋᴇ ᴀɪʀ ᴍᴀx 90",
        "𝐍𝐢𝐤𝐞 𝓐𝓲𝓻 𝔐𝔞𝔵 90",
        "Ni\u200bke A\u00adir M\ufeffax 90",
        "Ñike Áir Mäx 90",
        "nike   air\u00a0max 90!",
        "★ Nike Air Max 90 ★ 🔥",
        "N1ke A1r M4x 90",
    ],
)
def test_a_disguised_title_is_the_same_text(disguise: str) -> None:
    assert cosine(title("nike air max 90"), title(disguise)) == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("disguise", ["Nіkе Аіr Мах 90", "ＮＩＫＥ Ａｉｒ Ｍａｘ ９０", "Ni\u200bke Air Max 90"])
def test_look_alike_letters_leave_no_trace(disguise: str) -> None:
    assert title(disguise) == title("nike air max 90")


@pytest.mark.parametrize("spelling", ["SD-1100 IS", "sd1100is", "SD 1100 IS", "S.D.1100.IS"])
def test_model_numbers_match_whatever_splits_them(spelling: str) -> None:
    alike = cosine(title("sd1100 is"), title(spelling))
    assert alike > 0.25
    assert alike > 1.5 * cosine(title("sd1300 is"), title(spelling))


@pytest.mark.parametrize(
    ("word", "read"),
    [("n1ke", "nike"), ("g00gle", "google"), ("c4n0n", "canon"), ("sd1100is", "sd1100is"), ("mp3", "mp3")],
)
def test_leet_is_read_between_letters_only(word: str, read: str) -> None:
    assert unleet(word) == read


def test_words_come_whole_and_joined() -> None:
    assert words("canon sd-1100 is, (8 mp)") == (["canon", "sd", "1100", "is", "8", "mp"], ["sd1100"])
    assert words("苹果手机iphone 15") == (["苹果手机", "iphone", "15"], [])


@given(st.text())
def test_folding_again_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_scripts_without_spaces_match_by_pairs_of_characters() -> None:
    phone = title("苹果手机壳")
    assert cosine(phone, title("新款苹果手机")) > 0.3
    assert cosine(phone, title("运动鞋男款")) == 0


@given(st.lists(items, max_size=8))
def test_a_sketch_does_not_depend_on_its_batch(batch: list[TextItem]) -> None:
    assert sketch_many(batch, key=KEY) == [sketch(item, key=KEY) for item in batch]


def test_a_warm_sketcher_gives_what_a_cold_one_gives() -> None:
    sketcher = Sketcher(key=KEY)
    assert sketcher.sketch_many([CAMERA]) == sketcher.sketch_many([CAMERA]) == [sketch(CAMERA, key=KEY)]


@given(items)
def test_bytes_come_back_as_the_sketch(item: TextItem) -> None:
    made = sketch(item, key=KEY)
    if len(made):
        assert TextSketch.decode(made.encode()) == made
        assert len(made.encode()) == 2 + 5 * len(made)


def test_the_bytes_of_the_scheme_never_change() -> None:
    """Members of different releases must agree; a change here needs a new scheme."""
    made = sketch_many([CAMERA, TextItem(title="苹果 Ｎ1ке ½ SD-1100")], key=KEY)
    digest = hashlib.sha256(b"".join(each.encode() for each in made)).hexdigest()
    assert digest == "81d92bb764c0fffa735e812d0f2e5b29e76ee127e351b0061806cd1aed2fe00a"


def test_another_key_gives_unrelated_terms() -> None:
    ours, theirs = sketch(CAMERA, key=KEY), sketch(CAMERA, key=bytes(32))
    assert len(ours) == len(theirs)
    assert not set(ours.terms.tolist()) & set(theirs.terms.tolist())


def test_the_model_number_weighs_most() -> None:
    plain = title("canon camera sd1100is")
    assert plain.weights.max() > 1.9 * np.median(plain.weights)
    assert sketch(CAMERA, key=KEY).weights.max() > plain.weights.max()


def test_a_long_text_keeps_its_heaviest_terms_in_any_order() -> None:
    spoken = [f"word{'abcdefghij'[at % 10] * 3}{'klmnopqrst'[at // 10] * 3}" for at in range(40)]
    long = title(" ".join([*spoken, "ZX-81-SINCLAIR"]))
    assert len(long) == MAX_TERMS
    short = title("ZX-81-SINCLAIR")
    heaviest = set(short.terms[short.weights == short.weights.max()].tolist())
    assert heaviest <= set(long.terms.tolist())
    assert cosine(long, title(" ".join([*reversed(spoken), "ZX-81-SINCLAIR"]))) > 0.6


@pytest.mark.parametrize("empty", ["", "  ", "★ — !", "\u200b"])
def test_a_text_without_letters_is_not_published(empty: str) -> None:
    made = title(empty)
    assert len(made) == 0
    with pytest.raises(InvalidInput, match="no letter or digit") as caught:
        made.encode()
    assert caught.value.field == "title"


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidInput, match="32"):
        Sketcher(key=bytes(length))


@given(items, st.data())
def test_damaged_bytes_never_pass_for_what_they_were(item: TextItem, data: st.DataObject) -> None:
    made = sketch(item, key=KEY)
    if not len(made):
        return
    good = made.encode()
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = bytearray(good)
    damaged[at] ^= data.draw(st.integers(1, 255))
    try:
        read = TextSketch.decode(bytes(damaged))
    except AllianceError:
        return
    assert read != made
    assert read.encode() == bytes(damaged)


@given(st.binary(max_size=40))
def test_any_bytes_decode_canonically_or_not_at_all(data: bytes) -> None:
    try:
        read = TextSketch.decode(data)
    except AllianceError:
        return
    assert read.encode() == data


def test_malformed_bytes_say_what_is_wrong() -> None:
    good = sketch(CAMERA, key=KEY).encode()
    count = good[1]
    swapped = good[:2] + good[6:10] + good[2:6] + good[10:]
    crowded = bytes([1, MAX_TERMS + 1]) + np.arange(MAX_TERMS + 1, dtype="<u4").tobytes() + b"\1" * (MAX_TERMS + 1)
    for bad, what in [
        (b"", "0 bytes"),
        (b"\1\0", "0 terms"),
        (good[:-1], f"{count} terms"),
        (good + b"\1", f"{count} terms"),
        (crowded, f"{MAX_TERMS + 1} terms"),
        (swapped, "ascending"),
        (good[:-1] + b"\0", "weight is zero"),
    ]:
        with pytest.raises(Corrupt, match=what):
            TextSketch.decode(bad)
    with pytest.raises(InvalidInput, match="upgrade"):
        TextSketch.decode(b"\2" + good[1:])


def test_columns_hold_every_sketch_in_order() -> None:
    made = sketch_many([CAMERA, TextItem(title=""), TextItem(title="nike")], key=KEY)
    flat = columns(made)
    assert flat.counts.tolist() == [len(each) for each in made]
    assert flat.terms.tolist() == [term for each in made for term in each.terms.tolist()]
    assert flat.weights.tolist() == [weight for each in made for weight in each.weights.tolist()]
