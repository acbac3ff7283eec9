"""The keys that detectors' features are hashed under: of the sharing group's epoch in which a detector was proposed.

A later epoch changes nothing, or a model would have to be trained anew: who holds the group's newest key has the
earlier ones by its links. Which group it is, a member took from the detector it joined; a hub that then names another
epoch gets updates of another model, and learns no more from them.
"""

from __future__ import annotations

from collections.abc import Mapping

from member_agent.sharing.held_keys import HeldKeys
from member_agent.training.consents import Consent
from member_agent.training.detector import KEY_EPOCH


class FeatureKeys:
    def __init__(self, keys: HeldKeys) -> None:
        self._keys = keys

    def of(self, consent: Consent | None, settings: Mapping[str, float]) -> bytes:
        """The key of a detector this member joined; none where its settings name no epoch.

        Raises: FailedPrecondition (GROUP_KEY_MISSING).
        """
        epoch = int(settings.get(KEY_EPOCH, 0))
        if consent is None or not consent.group or epoch < 1:
            return b""
        return self._keys.get(consent.group, epoch).feature_key(consent.detector)
