"""Real clusters of real servers on this machine, for demos, drills and tests."""
