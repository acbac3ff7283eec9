"""URLs with labels: GENERATED, the same for the same seed. Pure.

Pages of shops and of impostors differ by words in their addresses. Each member has met some of the words, so that
together they know more of them than any alone. Domains end in `.example`, which nobody can have (RFC 2606).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from demo.urls import Labelled

_FOUL = (
    "login", "verify", "secure", "update", "account", "limited", "confirm", "wallet", "free", "gift", "winner",
    "outlet", "replica", "cheap", "factory", "unlock", "suspended", "bonus", "urgent", "refund",
)  # fmt: skip
_FAIR = (
    "catalogue", "about", "contact", "shoes", "returns", "careers", "press", "stores", "warranty", "manual",
    "size-guide", "reviews", "spare-parts", "repair", "history", "investors", "newsletter", "compare", "men", "women",
)  # fmt: skip
_EITHER = ("shop", "index", "products", "new", "sale", "en", "items", "page", "search", "cart")
_SHARE_OF_WORDS = 0.4
_TELLING = 0.5
_ROWS = (300, 450)
_FOUL_SHARE = (0.25, 0.6)


def dealt(members: Sequence[str], rng: random.Random) -> dict[str, list[Labelled]]:
    """Each member's rows; every row has a domain of its own."""
    return {name: _rows(name, rng) for name in members}


def _rows(member: str, rng: random.Random) -> list[Labelled]:
    known = {
        label: rng.sample(words, round(_SHARE_OF_WORDS * len(words))) for label, words in (("1", _FOUL), ("0", _FAIR))
    }
    foul_share = rng.uniform(*_FOUL_SHARE)
    rows = []
    for number in range(rng.randint(*_ROWS)):
        label = "1" if rng.random() < foul_share else "0"
        # Some rows hold words that this member has seldom met: what the others know helps there.
        telling = known[label] if rng.random() < 0.7 else (_FOUL if label == "1" else _FAIR)
        words = [rng.choice(telling if rng.random() < _TELLING else _EITHER) for _ in range(4)]
        rows.append(Labelled(f"http://{member}-{number}.example/{'/'.join(words)}?id={rng.randrange(10_000)}", label))
    return rows
