"""Repositories of a cluster: what is registered, registering one so that it works or is not there, and cleaning one up.

Elasticsearch Guide, "Register a snapshot repository", "Clean up a snapshot repository". Secrets are in the nodes'
keystores (`s3.client.default.secret_key`), and never in a repository's settings, which everybody can read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bdops.components.es.client import Node, escape
from bdops.core.actor import DONE, ActContext, Progress, pending
from bdops.core.plan import Step, Target
from bdops.core.units import format_size, plural
from bdops.errors import BdopsError, OperationFailed, UsageError

REGISTER, CLEAN_UP_REPOSITORY = "repository-register", "repository-clean-up"
ACTS = (REGISTER, CLEAN_UP_REPOSITORY)
CALL_S = 60.0
CLEAN_UP_S = 1800.0
_SECRET = re.compile(r"secret|password|access_key|session_token|credential|sas_token|^key$", re.IGNORECASE)

Definition = Mapping[str, Any]
"""`{"type": "fs", "settings": {"location": "/backups"}}`, the settings as text."""


def registered(node: Node) -> dict[str, Definition]:
    """Every repository by its name."""
    answer = node.get("_snapshot", timeout_s=CALL_S)
    return {name: definition(body["type"], body.get("settings", {})) for name, body in sorted(answer.items())}


def definition(type: str, settings: Mapping[str, Any]) -> Definition:
    """Raises UsageError for a setting that looks like a secret."""
    if secret := next((key for key in settings if _SECRET.search(key)), None):
        raise UsageError(
            f"{secret} is a secret, and everybody can read a repository's settings",
            hint="elasticsearch-keystore on every node, then `_nodes/reload_secure_settings`",
        )
    return {"type": type, "settings": {key: str(value) for key, value in sorted(settings.items())}}


def register_target(name: str, wanted: Definition, before: Definition | None) -> Target:
    """Register a repository, or give it other settings."""
    settings = ", ".join(f"{key}={value}" for key, value in wanted["settings"].items())
    was = f"; it was {before['type']}, {before['settings']}" if before else ""
    args = {"destination": name, "wanted": dict(wanted), "before": dict(before) if before else None}
    return Target(name=name, acts=(REGISTER,), role="repository", note=f"{wanted['type']}, {settings}{was}", args=args)


def clean_up_target(name: str) -> Target:
    """Remove the files of a repository that no snapshot needs: what deletions that were cut off have left."""
    note = "removes files that no snapshot in it needs"
    return Target(name=name, acts=(CLEAN_UP_REPOSITORY,), role="repository", note=note, args={"destination": name})


def progress(node: Node, step: Step) -> Progress:
    """Whether the repository is registered as it should be, and all nodes can use it."""
    if registered(node).get(step.args["destination"]) != step.args["wanted"]:
        return pending("the repository to be registered")
    _verify(node, step.args["destination"])
    return DONE


def perform(node: Node, step: Step, act: str, context: ActContext) -> None:
    """Raises OperationFailed when a node cannot use the repository, which is then as it was before."""
    name = step.args["destination"]
    if act == CLEAN_UP_REPOSITORY:
        found = node.post(f"_snapshot/{escape(name)}/_cleanup", timeout_s=CLEAN_UP_S).get("results", {})
        size, count = format_size(found.get("deleted_bytes", 0)), plural(found.get("deleted_blobs", 0), "file")
        context.say(f"{name}: {count} removed, {size}")
        return
    node.put(f"_snapshot/{escape(name)}", step.args["wanted"], {"verify": "false"}, timeout_s=CALL_S)
    try:
        _verify(node, name)
    except BdopsError:
        put_back(node, step)
        raise


def put_back(node: Node, step: Step) -> None:
    """The registration as it was before the step; what is in the repository stays."""
    name, before = step.args["destination"], step.args["before"]
    if registered(node).get(name) != step.args["wanted"]:
        return
    if before is None:
        node.delete(f"_snapshot/{escape(name)}", timeout_s=CALL_S)
    else:
        node.put(f"_snapshot/{escape(name)}", before, {"verify": "false"}, timeout_s=CALL_S)


def _verify(node: Node, name: str) -> None:
    try:
        node.post(f"_snapshot/{escape(name)}/_verify", timeout_s=CALL_S)
    except OperationFailed as e:
        e.hint = "for fs: the folder is shared, writable by Elasticsearch on all nodes, and within path.repo"
        raise
