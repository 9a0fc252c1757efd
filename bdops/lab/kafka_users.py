"""A secured lab's Kafka: TLS and SASL on every listener, users by PLAIN and by SCRAM, and what each of them may do.

The servers log in to one another, as the lab does itself, as a super user. bdops does not: its user has the ACLs of
docs/security.md, and no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bdops.errors import OperationFailed
from bdops.lab import kafka_client, security
from bdops.lab.lab import Lab

MODULES = "org.apache.kafka.common.security"

Acls = Mapping[str, tuple[str, ...]]
"""Operations by resource type: of the cluster, of all topics, of all groups."""

READER_ACLS: Acls = {
    "cluster": ("describe", "describe_configs"),
    "topic": ("describe", "describe_configs"),
    "group": ("describe",),
}
OPERATOR_ACLS: Acls = {
    "cluster": (*READER_ACLS["cluster"], "alter", "alter_configs"),
    "topic": (*READER_ACLS["topic"], "alter", "alter_configs", "create", "delete", "read"),
    "group": (*READER_ACLS["group"], "read"),
}
ACLS: Mapping[str, Acls] = {security.READER: READER_ACLS, security.OPERATOR: OPERATOR_ACLS}
"""As docs/security.md has them."""


def server_settings(lab: Lab, host: str) -> dict[str, object]:
    """A server's settings. PLAIN is there from the start; users by SCRAM are data, which a running cluster is given."""
    files = security.pem(lab, host)
    users = (security.ADMIN, *ACLS)
    words = " ".join(f'user_{user}="{security.password(lab, user)}"' for user in users)
    plain = (
        f'{MODULES}.plain.PlainLoginModule required username="{security.ADMIN}" '
        f'password="{security.password(lab, security.ADMIN)}" {words};'
    )
    return {
        "super.users": f"User:{security.ADMIN}",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.secure.plain.sasl.jaas.config": plain,
        "listener.name.secure.scram-sha-512.sasl.jaas.config": f"{MODULES}.scram.ScramLoginModule required;",
        # Controllers know users by SCRAM only once they have read them, and must know one another before.
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": plain,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": files.both,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": security.ca_file(lab),
    }


def inventory(lab: Lab) -> dict[str, Any]:
    """How bdops logs in: as `operator`, by SCRAM to brokers and by PLAIN to controllers."""
    login = {"user": security.OPERATOR, "password": {"file": str(security.password_file(lab, security.OPERATOR))}}
    tls = {"protocol": "SASL_SSL", "ca": str(security.ca_file(lab))}
    return {
        "security": {**tls, "sasl": {"mechanism": "SCRAM-SHA-512", **login}},
        "controller_security": {**tls, "sasl": {"mechanism": "PLAIN", **login}},
    }


def make_known(lab: Lab) -> bool:
    """Give a running cluster its users by SCRAM and their ACLs; nothing changes where it has them. True when done."""
    from kafka.admin import (
        ACL,
        ACLOperation,
        ACLPermissionType,
        ResourcePattern,
        ResourceType,
        ScramMechanism,
        UserScramCredentialUpsertion,
    )

    wanted = [
        ACL(
            f"User:{user}",
            "*",
            ACLOperation[operation.upper()],
            ACLPermissionType.ALLOW,
            ResourcePattern(ResourceType[kind.upper()], "kafka-cluster" if kind == "cluster" else "*"),
        )
        for user, acls in ACLS.items()
        for kind, operations in acls.items()
        for operation in operations
    ]
    logins = [
        UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, security.password(lab, user)) for user in ACLS
    ]
    with kafka_client.admin(lab) as client:
        failed = client.create_acls(wanted)["failed"]
        if failed:
            raise OperationFailed(f"Kafka did not take an ACL of {failed[0]}")
        refused = [why for why in client.alter_user_scram_credentials(logins).values() if why]
        if refused:
            raise OperationFailed(f"Kafka did not take a user: {refused[0]}")
    return True
