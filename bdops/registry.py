"""The components that bdops knows. Adding one is a folder, a cli module, a lab recipe, and one line here.

Nothing of a component is imported before it is asked for: `--help` and completion only need the names.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from bdops.core.component import Component, ComponentSettings

COMPONENTS: dict[str, str] = {
    "zk": "ZooKeeper",
    "kafka": "Kafka",
    "hdfs": "HDFS",
    "es": "Elasticsearch",
}


def component(name: str) -> Component[Any]:
    """The description of one component: its state, checks and reader. `name` is a key of COMPONENTS or "host"."""
    return cast("Component[Any]", import_module(f"bdops.components.{name}.component").COMPONENT)


def settings(name: str) -> ComponentSettings:
    """What the inventory may say of one component: settings type, roles and ports."""
    return cast("ComponentSettings", import_module(f"bdops.components.{name}.settings").SETTINGS)
