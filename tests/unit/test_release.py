"""Which version is the newest, which the next round begins from, which is released: after every order of events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alliance.errors import AllianceError
from hub.federation.release import Release, ReleaseMode

HELD = Release(mode=ReleaseMode.BY_PROMOTION)


def after(release: Release, *steps: int | str) -> tuple[int, int, int]:
    """Rounds ("t") and promotions, in order; gives newest, start and released."""
    for step in steps:
        release = release.promoted(step) if isinstance(step, int) else release.trained()
    return release.newest, release.start, release.released


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        (("t", "t"), (2, 2, 2)),
        # Back: training too. The next round counts on and is released.
        (("t", "t", "t", 1), (3, 1, 1)),
        (("t", "t", "t", 1, "t"), (4, 4, 4)),
        # Forward again, ahead of where training was put.
        (("t", "t", "t", 1, 3), (3, 3, 3)),
        # Withdrawn: the next round begins from the initial model.
        (("t", "t", 0), (2, 0, 0)),
    ],
)
def test_automatic(steps: tuple[int | str, ...], wanted: tuple[int, int, int]) -> None:
    assert after(Release(), *steps) == wanted


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        (("t", "t"), (2, 2, 0)),
        # Promoting what is held behind the newest leaves training where it is.
        (("t", "t", "t", 2), (3, 3, 2)),
        (("t", "t", "t", 2, "t"), (4, 4, 2)),
        (("t", "t", "t", 2, 3), (3, 3, 3)),
        (("t", "t", "t", 3, 2), (3, 2, 2)),
        (("t", "t", "t", 3, 1, 2), (3, 2, 2)),
    ],
)
def test_by_promotion(steps: tuple[int | str, ...], wanted: tuple[int, int, int]) -> None:
    assert after(HELD, *steps) == wanted


@pytest.mark.parametrize(("version", "reason"), [(2, "MODEL_RELEASED"), (3, "MODEL_UNKNOWN"), (-1, "MODEL_UNKNOWN")])
def test_what_is_released_or_was_never_made_is_not_promoted(version: int, reason: str) -> None:
    with pytest.raises(AllianceError) as caught:
        Release().trained().trained().promoted(version)
    assert caught.value.reason == reason


@given(st.sampled_from(ReleaseMode), st.lists(st.one_of(st.just("t"), st.integers(0, 6)), max_size=20))
def test_versions_are_always_of_models_that_were_made_and_none_is_made_twice(
    mode: ReleaseMode, steps: list[int | str]
) -> None:
    release, made = Release(mode=mode), [0]
    for step in steps:
        try:
            before = release
            release = release.promoted(step) if isinstance(step, int) else release.trained()
        except AllianceError:
            assert release == before
            continue
        if step == "t":
            assert release.newest not in made
            made.append(release.newest)
        else:
            assert release.released == step
            # Whoever is taken back is not trained on from what it was taken back from.
            assert release.start == before.start or release.start == release.released
        assert {release.newest, release.start, release.released} <= set(made)
        assert release.newest == made[-1]
