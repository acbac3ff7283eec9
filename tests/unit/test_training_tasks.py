"""What an agent knows of a task without asking."""

from __future__ import annotations

from alliance import canonical, tensors
from member_agent.training import tasks


def test_the_model_without_arrays_is_what_a_hub_makes_of_none() -> None:
    made = tensors.encode({})
    assert (made, canonical.sha256(made)) == (tasks._NO_ARRAYS, tasks._NO_ARRAYS_DIGEST)
