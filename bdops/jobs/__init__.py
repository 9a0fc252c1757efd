"""Carrying plans out: executor, journal, ledger, lease, resume."""
