"""The detectors that come with the agent; others add theirs under the entry-point group `alliance.detectors`."""
