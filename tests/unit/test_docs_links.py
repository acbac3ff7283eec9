"""Every link in a page leads somewhere, every page is linked, and every page that the code names is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(r"docs/[\w/-]+\.md")


def tracked(*patterns: str) -> list[Path]:
    """Files of these patterns, in git or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = (ROOT / name for name in sorted(set(listed.stdout.decode().split("\0")) - {""}))
    return [path for path in paths if path.is_file()]


PAGES = tracked("*.md")


def anchors(page: Path) -> set[str]:
    """What headings can be linked by."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Links to files of the repository, as written."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [link for link in LINK.findall(prose) if not link.startswith("https://")]


def target(page: Path, link: str) -> Path:
    path = link.partition("#")[0]
    return (page.parent / path).resolve() if path else page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        found, anchor = target(page, link), link.partition("#")[2]
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            ahead += [target(page, link) for link in links(page)]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []


def test_every_page_that_is_named_exists() -> None:
    files = tracked("*.py", "*.proto", "*.toml", "*.svg", "Makefile", ".importlinter")
    missing = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in NAMED.findall(file.read_text("utf-8"))
        if not (ROOT / name).exists()
    ]
    assert missing == []


def test_pages_are_short() -> None:
    written_by_hand = [page for page in PAGES if page.parent.name != "reference"]
    lengths = {str(page.relative_to(ROOT)): len(page.read_text("utf-8").splitlines()) for page in written_by_hand}
    assert {name: lines for name, lines in lengths.items() if lines > 250} == {}
