"""A secured lab's Elasticsearch: TLS between nodes and to clients, users of the file realm, and an API key.

bdops' user has the role of docs/security.md for all its commands, and no other privileges.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bdops.lab import es_api, security
from bdops.lab.lab import Lab

Role = Mapping[str, Any]
"""As Elasticsearch has it, in `roles.yml` and in its role API."""

READER_ROLE: Role = {"cluster": ["monitor", "monitor_snapshot"]}
OPERATOR_ROLE: Role = {
    "cluster": ["manage"],
    "indices": [{"names": ["*"], "privileges": ["manage", "read"], "allow_restricted_indices": True}],
}
ROLES: Mapping[str, Role] = {security.READER: READER_ROLE, security.OPERATOR: OPERATOR_ROLE}
"""As docs/security.md has them."""

BCRYPT_ROUNDS = 6
"""Few: every request with a password has it checked."""


def node_settings(lab: Lab, host: str, config: Path) -> dict[str, str]:
    """Switches security on. The files are in the node's own configuration, outside of which it may read nothing."""
    files = {
        "key": str(config / "node.key"),
        "certificate": str(config / "node.crt"),
        "certificate_authorities": str(config / "ca.crt"),
    }
    settings = {"xpack.security.enabled": "true"}
    for layer in ("http", "transport"):
        settings[f"xpack.security.{layer}.ssl.enabled"] = "true"
        settings |= {f"xpack.security.{layer}.ssl.{key}": value for key, value in files.items()}
    return settings


def prepare(lab: Lab, host: str, config: Path) -> None:
    """Write a node's certificate, and its users with their roles: the same on every node."""
    own = security.pem(lab, host)
    for source, name in ((own.key, "node.key"), (own.certificate, "node.crt"), (security.ca_file(lab), "ca.crt")):
        shutil.copy(source, config / name)
    write_roles(config, ROLES)
    granted = {"superuser": security.ADMIN} | {_role(user): user for user in ROLES}
    security.write_secret(config / "users_roles", "".join(f"{role}:{user}\n" for role, user in granted.items()))
    if not (config / "users").exists():
        users = (security.ADMIN, *ROLES)
        security.write_secret(config / "users", "".join(f"{u}:{_hash(security.password(lab, u))}\n" for u in users))


def write_roles(config: Path, roles: Mapping[str, Role]) -> None:
    """Give a node its users' roles, which it notices within seconds."""
    # JSON is YAML; a line each, as the server takes the file apart by lines.
    text = "".join(f"{_role(user)}: {json.dumps(role)}\n" for user, role in roles.items())
    security.write_secret(config / "roles.yml", text)


def _role(user: str) -> str:
    return f"bdops_{user}"


def _hash(password: str) -> str:
    import bcrypt

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_ROUNDS, prefix=b"2a")).decode()


def inventory(lab: Lab) -> dict[str, Any]:
    """How bdops logs in: as `operator`."""
    return {
        "scheme": "https",
        "ca": str(security.ca_file(lab)),
        "user": security.OPERATOR,
        "password": {"file": str(security.password_file(lab, security.OPERATOR))},
    }


def api_key_file(lab: Lab) -> Path:
    """An API key with the operator's privileges, as the inventory's `api_key` wants it."""
    return lab.folder / "security" / "es-api-key"


def make_api_key(lab: Lab) -> None:
    """Have the cluster make the key; once."""
    if api_key_file(lab).exists():
        return
    body = {"name": "bdops", "role_descriptors": {_role(security.OPERATOR): OPERATOR_ROLE}}
    made = es_api.any_node(lab).post("_security/api_key", body, timeout_s=30)
    security.write_secret(api_key_file(lab), made["encoded"] + "\n")
