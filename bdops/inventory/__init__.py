"""YAML to a validated frozen model; selectors; where each value came from."""
