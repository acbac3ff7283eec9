"""Folds product titles to the letters a reader sees, so that two spellings of one title give one text.

`fold("ＮＩＫＥ Аіr™")` is `"nike airtm"`: compatibility forms (NFKC), case, accents, invisible characters
and look-alike letters of other scripts are gone. Pure; the same input gives the same output on every
machine with the same Unicode tables, and plain ASCII never needs them.

The look-alike table is hand-made from the letters of Unicode TS 39 (confusables) that stand for a Latin
letter in a brand name. It is applied before case folding (capital Nu is an N, small nu a v) and after.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LOOKALIKES: Final = {
    # Cyrillic
    "АВЕЅІЈКМНОРСТУХԀԌԚԜҺӀ": "abesijkmhopctyxdgqwhl",
    "авеѕіјкмнорстухԁԍԛԝһӏѵ": "abesijkmhopctyxdgqwhlv",
    # Greek
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ": "abezhikmnoptyx",
    "αβγεηικμνορτυχω": "abyenikuvoptuxw",
    # Latin small capitals and letters with a built-in stroke
    "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ": "abcdefghijklmnoprstuvwyz",
    "ıȷɑɡłŁøØđĐħĦŧŦ": "ijagllooddhhtt",
    # Armenian, Cherokee, Lisu
    "օոսհցՕՍ": "onuhgou",
    "ᎪᏴᏟᎬᎻᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᏃ": "abcehjklmprstvwz",
    "ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ": "abcdefghijklmnoprstuvwxyz",
}
_TO_LATIN: Final = str.maketrans(
    {seen: latin for row, latins in _LOOKALIKES.items() for seen, latin in zip(row, latins, strict=True)}
    | {"æ": "ae", "Æ": "ae", "œ": "oe", "Œ": "oe"}
)
# Accents (after decomposition), zero-width and bidirectional controls, variation selectors, tags.
_UNSEEN: Final = re.compile(
    "[\u00ad\u0300-\u036f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]"
)
# Scripts in which a run of letters is not one word: Thai, kana, Han, Hangul. Ascending, first to last.
_UNSPACED: Final = (
    (0x0E00, 0x0E7F),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x9FFF),
    (0xAC00, 0xD7AF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_UNSPACED_EDGES: Final = np.array([edge for first, last in _UNSPACED for edge in (first, last + 1)], np.uint32)
_UNSPACED_CLASS: Final = "".join(f"{chr(first)}-{chr(last)}" for first, last in _UNSPACED)
_WORD: Final = re.compile(r"[^\W_]+")
_WORD_OR_RUN: Final = re.compile(f"[{_UNSPACED_CLASS}]+|[^\\W_{_UNSPACED_CLASS}]+")
_LEET: Final = re.compile("[a-z]+(?:(?:[01345]|00|33)[a-z]+)+")
_LEET_LETTERS: Final = str.maketrans("01345", "oieas")


def fold(text: str) -> str:
    """The text in lower case Latin letters where it looks like Latin letters."""
    if text.isascii():
        return text.lower()
    text = _UNSEEN.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", text.translate(_TO_LATIN).casefold().translate(_TO_LATIN))


def words(folded: str) -> tuple[list[str], list[str]]:
    """The runs of letters and digits, in order, and apart the longer words punctuation alone interrupts.

    "sd-1100 is" gives ["sd", "1100", "is"] and ["sd1100"]. In an unspaced script a whole run is one word.
    """
    plain = folded.isascii()
    find = (_WORD if plain else _WORD_OR_RUN).findall
    spaced: list[str] = []
    joined: list[str] = []
    for chunk in folded.split():
        if plain and chunk.isalnum():
            spaced.append(chunk)
            continue
        parts = find(chunk)
        spaced += parts
        if len(parts) > 1 and not chunk.isalnum():
            joined.append("".join(parts))
    return spaced, joined


def unleet(word: str) -> str:
    """The word with single digits between its letters read as letters: "n1ke" is "nike".

    A word with other digits, such as the model number "sd1100is", stays what it is.
    """
    return word.translate(_LEET_LETTERS) if _LEET.fullmatch(word) else word


def is_unspaced(code_points: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which code points belong to a script in which a run of letters is not one word."""
    crossed: NDArray[np.int64] = np.searchsorted(_UNSPACED_EDGES, code_points, side="right")
    return np.asarray(crossed % 2 == 1, dtype=np.bool_)
