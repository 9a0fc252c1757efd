"""Whether the checks that an inventory speaks of exist: a misspelt code would silently change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from bdops.core.model import CheckOverride, Mute
from bdops.errors import ConfigError
from bdops.inventory.load import LoadedInventory
from bdops.inventory.problems import Problems, likely_or_known, raise_all
from bdops.inventory.yaml_source import Key

Codes = Mapping[str, Mapping[str, str]]
"""The unit of each threshold of each check, by code and name."""

_FITTING = {"%": ("%",), "s": ("s", "ms"), "bytes": ("bytes",)}


def require_known_checks(inventory: LoadedInventory, known: Mapping[str, Codes]) -> None:
    """Compare `checks` and `mutes` with the checks there are.

    `known` has the checks of each component, and those of "host". Raises ConfigError (or ConfigErrors) for
    a code, a threshold or a mute's pattern that fits none of them.
    """
    everything = {code: limits for codes in known.values() for code, limits in codes.items()}
    errors: list[ConfigError] = []
    for cluster in inventory.clusters:
        root = inventory.origins.roots[cluster.name]
        problems = Problems(root, inventory.source)
        path: tuple[Key, ...] = ("clusters", cluster.name)
        _judge(path, cluster.checks, cluster.mutes, everything, problems)
        for deployment in cluster.deployments:
            own = {c: o for c, o in deployment.checks.items() if cluster.checks.get(c) is not o}
            mutes = deployment.mutes[len(cluster.mutes) :]
            codes = known.get(deployment.component, {})
            _judge((*path, "components", deployment.component), own, mutes, codes, problems)
        errors += problems.errors()
    raise_all(errors)


def _judge(
    path: tuple[Key, ...],
    checks: Mapping[str, CheckOverride],
    mutes: tuple[Mute, ...],
    codes: Codes,
    problems: Problems,
) -> None:
    for code, override in checks.items():
        at = (*path, "checks", code)
        if code not in codes:
            problems.add(at, "there is no such check", hint=likely_or_known(code, codes, "checks"))
            continue
        for name, message in _wrong_limits(override, codes[code]):
            problems.add(
                (*at, "limits", name) if name else at, message, hint=likely_or_known(name, codes[code], "limits")
            )
    for index, mute in enumerate(mutes):
        if not any(fnmatchcase(code, mute.check) for code in codes):
            patterns = {f"{code.partition('_')[0]}_*" for code in codes}
            hint = likely_or_known(mute.check, (*codes, *patterns), "checks")
            problems.add((*path, "mutes", index, "check"), f"no check is called {mute.check!r}", hint=hint)


def _wrong_limits(override: CheckOverride, units: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in override.limits:
        if name == "" and len(units) != 1:
            count = f"{len(units)} limits" if units else "no limits"
            yield "", f"the check has {count}: expected `limits` by name"
        elif name and name not in units:
            yield name, "the check has no such limit"
        else:
            wanted = units[name] if name else next(iter(units.values()))
            written = override.units.get(name)
            if written and wanted not in _FITTING[written]:
                yield name, f"the limit is in {wanted or 'plain numbers'}, and was written in {written}"
