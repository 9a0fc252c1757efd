"""Carries planned reassignments out: in batches, throttled, from facts, so that it can be killed and go on."""
