"""The comparison of what a restore has brought with the snapshot: both trees side by side, any number of files in
little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from bdops.components.hdfs.blocks import walk
from bdops.components.hdfs.namenode import FileEntry, Nameservice
from bdops.components.hdfs.snapshot.drill import Patience, Sample
from bdops.components.hdfs.web_files import Checksum, WebFiles
from bdops.core.units import format_size, plural

PAGE_FILES = 1000
NAMED = 20

Files = Iterable[tuple[str, FileEntry]]


@dataclass
class Compared:
    """What a comparison has found. `different` are paths, each with how; the first ones are kept."""

    files: int = 0
    size_bytes: int = 0
    different: int = 0
    named: list[str] = field(default_factory=list)
    checksums: int = 0
    incomparable: int = 0
    """Files whose checksums are of different kinds, as with other sizes of blocks: their lengths alone are compared."""
    other_access: list[str] = field(default_factory=list)
    """The first files with another owner, group or mode than in the snapshot, each with which."""

    def differ(self, path: str, how: str) -> None:
        self.different += 1
        if len(self.named) < NAMED:
            self.named.append(f"{path}: {how}")

    def __str__(self) -> str:
        text = f"{plural(self.files, 'file')}, {format_size(self.size_bytes)}: names and lengths compared, "
        text += f"{plural(self.checksums, 'checksum')} too"
        if self.incomparable:
            text += f" ({self.incomparable} more are of another kind, as with other sizes of blocks)"
        return f"{text}; {self.different} differ"


def pairs(ours: Files, theirs: Files) -> Iterator[tuple[str, FileEntry | None, FileEntry | None]]:
    """The files of two trees side by side, by their relative paths, in the order in which walks go through them."""
    left, right = iter(ours), iter(theirs)
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and _order(a[0]) < _order(b[0])):
            assert a is not None
            yield a[0], a[1], None
            a = next(left, None)
        elif a is None or _order(b[0]) < _order(a[0]):
            yield b[0], None, b[1]
            b = next(right, None)
        else:
            yield a[0], a[1], b[1]
            a, b = next(left, None), next(right, None)


def compare(
    ours: Files,
    theirs: Files,
    sample: Sample | None,
    checksums: Callable[[str], tuple[Checksum, Checksum]],
    p: Patience,
) -> Compared:
    """Names and lengths of all files, and the checksums of a sample, or (None) of all."""
    found = Compared()

    def hold(path: str) -> None:
        one, other = checksums(path)
        if one.algorithm != other.algorithm:
            found.incomparable += 1
            return
        found.checksums += 1
        if one != other:
            found.differ(path, "another checksum")

    for path, a, b in pairs(ours, theirs):
        found.files += 1
        if a is None or b is None:
            found.differ(path, "not in the snapshot" if a is None else "not restored")
            continue
        found.size_bytes += a.length_bytes
        if a.length_bytes != b.length_bytes:
            found.differ(path, f"{b.length_bytes} bytes, not {a.length_bytes}")
        elif a.length_bytes and sample is None:
            hold(path)
        elif a.length_bytes and sample is not None:
            sample.offer(path, 0)
        if a.access != b.access and len(found.other_access) < NAMED:
            found.other_access.append(f"{path}: {b.access}, not {a.access}")
        if found.files % PAGE_FILES == 0:
            p.waiting(f"both trees to be compared: {found.files:,} files so far")
            p.wait(0)
    for path, _ in sample.chosen() if sample else ():
        hold(path)
    return found


def compare_paths(
    service: Nameservice, web: WebFiles, source: str, target: str, *, files: int | None, patience: Patience
) -> Compared:
    """A path of a snapshot against what was restored of it; checksums of so many files, None: of all.

    Raises BdopsError.
    """
    namenode = service.namenodes[service.active()]

    def tree(root: str) -> Files:
        # A path that is a file is listed as itself, without a name.
        return ((full.removeprefix(root).lstrip("/"), e) for full, e in walk(namenode.listing, root))

    def checksums(path: str) -> tuple[Checksum, Checksum]:
        return web.checksum(f"{source}/{path}".rstrip("/")), web.checksum(f"{target}/{path}".rstrip("/"))

    sample = None if files is None else Sample(target, files, 0)
    return compare(tree(source), tree(target), sample, checksums, patience)


def _order(path: str) -> tuple[bytes, ...]:
    """Directories are listed by the bytes of names, and gone through where they come."""
    return tuple(part.encode() for part in path.split("/"))
