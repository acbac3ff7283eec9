"""Products and what sellers make of their titles: GENERATED, the same for the same seed. Pure.

A product is a brand's name, a series, a kind of thing, a colour and a model number. An offer of it is retold the way
sellers retell: words dropped, swapped and misspelt, model numbers written differently, characters replaced by
look-alikes, phrases that praise. An offer of something else names the same brands, kinds and colours, and often a
neighbouring model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

_KINDS = (
    ("Headphones", "Wireless Over-Ear", "Noise Cancelling", "Foldable"),
    ("Running Shoe", "Men's", "Women's", "Trail"),
    ("Backpack", "25L Laptop", "Water Resistant", "Travel"),
    ("Watch", "Chronograph", "Smart GPS", "Stainless Steel"),
    ("Phone Case", "Shockproof", "Leather Flip", "Magnetic"),
    ("Charger", "65W USB-C", "Fast Wall", "Dual Port"),
    ("Jacket", "Hooded Rain", "Down Insulated", "Softshell"),
    ("Speaker", "Portable Bluetooth", "Waterproof", "Bookshelf"),
    ("Sunglasses", "Polarized", "Aviator", "Sport"),
    ("Keyboard", "Mechanical RGB", "Compact 60%", "Wireless"),
    ("Ink Cartridge", "High Yield", "Photo Black", "Multipack"),
    ("Camera Lens", "50mm Prime", "Wide Angle", "Telephoto Zoom"),
)
_SERIES = ("Aero", "Nova", "Pulse", "Vertex", "Orbit", "Fusion", "Zenith", "Echo", "Prime", "Terra", "Volt", "Lumen")
_COLOURS = ("Black", "White", "Navy", "Red", "Silver", "Olive", "Graphite", "Sand")
_PRAISE = ("NEW", "100% original", "hot sale", "free shipping", "best quality", "in box", "2026 edition", "top deal")
_LOOK_ALIKES = {"o": "0", "i": "1", "e": "3", "a": "а", "s": "$"}
_LETTERS = "ABCDEFGHKLMNPRSTVWX"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A product, or an offer; `model` is the model number, and is in the title too."""

    id: str
    title: str
    brand: str
    model: str

    def row(self) -> dict[str, str]:
        return {"id": self.id, "title": self.title, "brand": self.brand, "model": self.model}


def product(number: int, brand: str, rng: random.Random) -> Item:
    """A product of the brand."""
    kind, *traits = rng.choice(_KINDS)
    model = f"{''.join(rng.sample(_LETTERS, 2))}-{rng.randrange(100, 9999)}{rng.choice(['', *_LETTERS])}"
    title = f"{brand} {rng.choice(_SERIES)} {rng.choice(traits)} {kind} {rng.choice(_COLOURS)} {model}"
    return Item(id=f"p{number:05}", title=title, brand=brand, model=model)


def offer(number: int, original: Item, rng: random.Random) -> Item:
    """A seller's offer of the product, retold."""
    words = original.title.removeprefix(original.brand).split()[:-1]
    if rng.random() < 0.4:
        words.remove(rng.choice(words))
    if rng.random() < 0.4:
        rng.shuffle(words)
    for _ in range(rng.choice((0, 1, 1, 2))):
        place = rng.randrange(len(words))
        words[place] = _misspelt(words[place], rng)
    brand = original.brand if rng.random() < 0.7 else _disguised(original.brand, rng)
    model = _rewritten(original.model, rng)
    parts = [brand, *words]
    if rng.random() < 0.85:
        parts.insert(rng.choice((1, len(parts))), model)
    parts += rng.sample(_PRAISE, rng.choice((0, 0, 1, 2)))
    return Item(
        id=f"o{number:06}",
        title=" ".join(parts),
        brand=brand if rng.random() < 0.7 else "",
        model=model if rng.random() < 0.5 else "",
    )


def other_offer(number: int, brands: Sequence[str], catalogue: Sequence[Item], rng: random.Random) -> Item:
    """An offer of something that no catalogue holds: any product, or a neighbour of one that is held."""
    if rng.random() < 0.5:
        return offer(number, product(0, rng.choice(brands), rng), rng)
    held = rng.choice(catalogue)
    model = f"{held.model[:3]}{rng.randrange(100, 9999)}{rng.choice(_LETTERS)}"
    words = held.title.split()[:-1]
    words[-1] = rng.choice(_COLOURS)
    neighbour = replace(held, title=f"{' '.join(words)} {model}", model=model)
    return offer(number, neighbour, rng)


def _misspelt(word: str, rng: random.Random) -> str:
    """A letter dropped, doubled or exchanged with the next."""
    if len(word) < 4:
        return word
    at = rng.randrange(1, len(word) - 1)
    return rng.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
    )


def _disguised(brand: str, rng: random.Random) -> str:
    """The brand with a letter replaced by one that looks like it, or misspelt."""
    replaceable = [at for at, letter in enumerate(brand.lower()) if letter in _LOOK_ALIKES]
    if not replaceable or rng.random() < 0.3:
        return _misspelt(brand, rng)
    at = rng.choice(replaceable)
    return brand[:at] + _LOOK_ALIKES[brand[at].lower()] + brand[at + 1 :]


def _rewritten(model: str, rng: random.Random) -> str:
    return rng.choice((model, model, model.replace("-", ""), model.replace("-", " "), model.lower()))
