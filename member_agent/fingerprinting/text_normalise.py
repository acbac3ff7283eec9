"""Folds product titles to the letters a reader sees, so that two spellings of one title give one text.

`fold("ＮＩＫＥ Аіr™")` is `"nike airtm"`: compatibility forms (NFKC), case, accents, invisible characters
and look-alike letters of other scripts are gone. Pure; the same input gives the same output on every
machine with the same Unicode tables, and plain ASCII never needs them.

The look-alike table is hand-made from the letters of Unicode TS 39 (confusables) that stand for a Latin
letter in a brand name. It is applied before case folding: capital Nu is an N, small nu is a v.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

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
# Scripts written without spaces: a run of them is not one word (kana, Han, Hangul, Thai).
_UNSPACED: Final = "\u0e00-\u0e7f\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_WORD: Final = re.compile(r"[^\W_]+")
_RUN: Final = re.compile(f"[{_UNSPACED}]")
_WORD_OR_RUN: Final = re.compile(f"[{_UNSPACED}]+|[^\\W_{_UNSPACED}]+")
_LEET: Final = re.compile("[a-z]+[013457]{1,2}[a-z]+")
_LEET_LETTERS: Final = str.maketrans("013457", "oieast")


def fold(text: str) -> str:
    """The text in lower case Latin letters where it looks like Latin letters."""
    if text.isascii():
        return text.lower()
    text = _UNSEEN.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", text.translate(_TO_LATIN).casefold())


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
    """The word with one or two digits between its letters read as letters: "n1ke" is "nike".

    A word with further digits, such as the model number "sd1100is", stays what it is.
    """
    return word.translate(_LEET_LETTERS) if _LEET.fullmatch(word) else word


def is_unspaced(character: str) -> bool:
    """Whether the character belongs to a script written without spaces between words."""
    return not character.isascii() and _RUN.match(character) is not None
