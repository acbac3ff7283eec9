"""Federated rounds: detectors, schedules, the round machine, aggregation by Flower's strategies."""
