"""What a playbook's job asks of bdops' commands: call one, resume its job, check, ask a person, write an archive."""

from __future__ import annotations

import getpass
import io
import json
import re
import select
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdops.cli import operations
from bdops.core.checks import Severity
from bdops.errors import BdopsError, ExitCode, OperationFailed
from bdops.files import replacing
from bdops.jobs.launch import Listener, Site
from bdops.jobs.planning import Planned
from bdops.jobs.playbook import Finding, PlaybookActor
from bdops.playbooks.planning import readable, ready
from bdops.playbooks.redact import redacted, redacted_text
from bdops.render.jobs import Indented, JobProgress

if TYPE_CHECKING:
    from bdops.cli.frame import Session
    from bdops.core.model import Cluster
    from bdops.core.plan import Plan

ASK_AGAIN_S = 0.3


def actor_of(session: Session, cluster: Cluster) -> PlaybookActor:
    """The actor of a playbook's job on a cluster."""
    session.cluster = cluster.name
    return PlaybookActor(cluster.name, Commands(session))


class Commands:
    """jobs.playbook.Operations, by the functions that the command line calls as well."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ready(self, args: Mapping[str, Any], results: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return ready(args, results)

    def call(self, args: Mapping[str, Any], take: Callable[[Planned, Site], None] | None) -> Finding:
        operation = operations.require_operation(args["do"])
        component, _, verb = operation.name.rpartition(" ")
        if verb == "check":
            result = operations.surveyed(self._session, component or None, args["given"].get("selector") or None)
            severity, data = operations.check_data(result)
            found = "; ".join(f"{c['code']} {c['subject']}: {c['summary']}" for c in data["checks"][:4])
            return Finding(
                exit_code=severity.exit_code, data=redacted(data), summary=f"{severity.value}: {found or 'all'}"
            )
        self._session.reason = self._session.reason or args.get("reason")
        session = operations.call(self._session, operation, args["given"], take, operations.stderr_line)
        summary, data = operations.data_of(session)
        if failed := [h for h in data.get("hosts", ()) if isinstance(h, dict) and h.get("outcome") != "ok"]:
            summary += "; " + "; ".join(_of_host(h) for h in failed[:3])
        return Finding(exit_code=int(session.exit_code), data=redacted(data), summary=redacted_text(summary))

    def site(self, plan: Plan) -> AbstractContextManager[Site]:
        from bdops.cli.jobs_frame import opened_site

        return opened_site(self._session, plan.cluster, plan.components)

    def listener(self, plan: Plan, waiting: Callable[[str], None]) -> Listener:
        progress = JobProgress(plan, (), Indented())
        return Listener(
            event=progress.event,
            waiting=lambda step, what: waiting(f"{step.name}: {what}"),
            say=operations.stderr_line,
        )

    def check(self, wait: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
        result = operations.surveyed(self._session, None, wait["selector"] or None)
        severity, data = operations.check_data(result, wait["codes"])
        if wait["at_least"]:
            found = [Severity(c["severity"]) for c in data["checks"]]
            least = Severity(wait["at_least"]).rank
            noticed = any(s is not Severity.UNKNOWN and s.rank >= least for s in found)
            return None if noticed else f"{', '.join(wait['codes']) or 'the checks'} to say more", redacted(data)
        if severity.rank <= Severity(wait["at_most"]).rank:
            return None, redacted(data)
        bad = [c for c in data["checks"] if Severity(c["severity"]).rank > Severity(wait["at_most"]).rank]
        words = "; ".join(f"{c['code']} of {c['subject']}: {c['summary']}" for c in bad[:3])
        return words or "no check of this name has an answer", redacted(data)

    def approve(self, question: str, told_to_stop: Callable[[], bool]) -> str:
        who, question = getpass.getuser(), readable(question)
        if self._session.yes:
            return f"{who} (--yes)"
        if not sys.stdin.isatty():
            raise _not_approved("a person must approve this, and nobody is there to ask: " + question)
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        while not told_to_stop():
            if select.select([sys.stdin], [], [], ASK_AGAIN_S)[0]:
                if sys.stdin.readline().strip().lower() in ("y", "yes"):
                    return who
                raise _not_approved(f"not approved: {question}")
        raise _not_approved(f"told to pause while asking: {question}")

    def archive(self, path: str, name: str, results: Mapping[str, Any]) -> str:
        folder = Path(path).expanduser()
        target = folder / f"{name}.tar.gz"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(target) as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
                for member, text in _files(results):
                    _add(tar, f"{name}/{member}", text)
        except OSError as e:
            raise OperationFailed(f"the archive cannot be written: {e.strerror}", where=str(target)) from None
        return f"{target}: what {len(results)} steps found, secrets hidden as far as they can be told"


def _of_host(row: Mapping[str, Any]) -> str:
    """`node1: exits 1: no such file`: the last words of a host on which a command failed."""
    lines = (row.get("stderr") or row.get("stdout") or "").strip().splitlines()
    error = row.get("error")
    why = error["message"] if error else f"exits {row.get('exit_status')}" + (f": {lines[-1]}" if lines else "")
    return f"{row.get('host')}: {why}"


def _not_approved(message: str) -> BdopsError:
    error = BdopsError(message, hint="resume it at a terminal, or with --yes", code="NOT_APPROVED")
    error.exit_code = ExitCode.PAUSED
    return error


def _files(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each result as JSON; what hosts printed, and what was gathered of instances, as texts."""
    files = []
    for name, value in results.items():
        base, rest = _file_name(name), dict(value)
        for key in ("hosts", "instances"):
            if rows := [r for r in value.get(key, ()) if isinstance(r, Mapping)]:
                rest[key] = [{k: v for k, v in r.items() if k not in ("stdout", "stderr", "texts")} for r in rows]
            for row in rows:
                of = f"{base}/{_file_name(str(row.get('host') or row.get('instance')))}"
                texts = {**(row.get("texts") or {}), ".txt": (row.get("stdout") or "") + (row.get("stderr") or "")}
                files += [(f"{of}{_file_name(n, '/')}", redacted_text(text)) for n, text in texts.items() if text]
        # Before it is JSON: a pattern that knows no quotes would leave none.
        files.append((f"{base}.json", json.dumps(redacted(rest), indent=1, ensure_ascii=False) + "\n"))
    return files


def _file_name(text: str, before: str = "") -> str:
    """Words as a file's name; `before` it unless it is an ending alone."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-") or "x"
    return plain if plain.startswith(".") else f"{before}{plain}"


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o600, int(time.time())
    tar.addfile(info, io.BytesIO(data))
