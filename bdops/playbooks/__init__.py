"""Playbooks: YAML into validated steps, their values, and the steps of a job. Pure; carried out by `bdops.jobs`."""
