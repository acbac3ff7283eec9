"""Real brand logos from the package simple-icons-pack, drawn by resvg on generated labels. Both come with an extra.

A picture is a logo in its brand's colour on a label whose ground and patches differ from brand to brand, as packaging
does. The same slug gives the same picture.
"""

from __future__ import annotations

import importlib
import random
import re
from pathlib import Path
from types import ModuleType

from alliance.errors import FailedPrecondition

SIZE = 480


class Logos:
    """The logos there are.

    Raises:
        FailedPrecondition: the extra is not installed.
    """

    def __init__(self) -> None:
        self._resvg = _extra("resvg_py")
        self._pack = _extra("simple_icons_pack")

    def slugs(self) -> list[str]:
        """The slugs of all logos, sorted."""
        return sorted(getattr(self._pack, name).slug for name in dir(self._pack) if name.startswith("SI_"))

    def title(self, slug: str) -> str:
        """The brand's name as it writes it."""
        return str(self._pack.get_icon(slug).title)

    def draw(self, slug: str, target: Path) -> None:
        """Draws the logo's label as PNG, SIZE by SIZE pixels."""
        icon = self._pack.get_icon(slug)
        target.parent.mkdir(parents=True, exist_ok=True)
        svg = _label(icon.svg, icon.hex, random.Random(slug))
        target.write_bytes(self._resvg.svg_to_bytes(svg_string=svg, skip_system_fonts=True))


def _extra(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"the package {module.replace('_', '-')} is not installed",
            reason="EXTRA_MISSING",
            remedy='install the extra with "pip install alliance-hub[demo]", or use real data with --data',
        ) from error


def _label(logo: str, colour: str, rng: random.Random) -> str:
    paths = " ".join(re.findall(r"<path [^>]*/>", logo))
    ground = f"hsl({rng.randrange(360)},{rng.randrange(10, 60)}%,{rng.randrange(78, 94)}%)"
    at = SIZE / 24 * 0.62
    left, top = rng.uniform(0.1, 0.28) * SIZE, rng.uniform(0.08, 0.3) * SIZE
    patches = "".join(_patch(rng) for _ in range(rng.randrange(5, 10)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIZE}" height="{SIZE}">'
        f'<rect width="100%" height="100%" fill="{ground}"/>{patches}'
        f'<g transform="translate({left:.0f},{top:.0f}) scale({at:.2f})" fill="#{colour}">{paths}</g></svg>'
    )


def _patch(rng: random.Random) -> str:
    fill = f"hsl({rng.randrange(360)},{rng.randrange(20, 80)}%,{rng.randrange(35, 80)}%)"
    x, y = rng.randrange(SIZE), rng.randrange(SIZE)
    width, height = rng.randrange(20, 160), rng.randrange(12, 90)
    return f'<rect x="{x - width // 2}" y="{y - height // 2}" width="{width}" height="{height}" fill="{fill}" rx="6"/>'
