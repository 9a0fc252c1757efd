"""Secrets taken out of text and data before they are written down: a playbook's results, and archives of them.

It goes by how secrets are written (a name that says so, a key's block, a URL with a password), which finds those of
the configuration files of the servers that bdops knows; it is no proof that nothing is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bdops.inventory.problems import SECRET_NAME, looks_secret

HIDDEN = "***"
# Every repetition has a bound, and most begin at what says that it is a secret: a log of one word must cost no time.
_VALUE = r"""("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;&"'<]+)"""
_PATTERNS = (
    (re.compile(rf"(?i)(<name>[^<]{{0,200}}{SECRET_NAME}[^<]{{0,200}}</name>\s{{0,200}}<value>)[^<]*"), rf"\1{HIDDEN}"),
    # password=x, "ssl.key.password": "x"
    (re.compile(rf"""(?i)({SECRET_NAME}[\w.\-]{{0,80}}["']?\s{{0,20}}[=:]\s{{0,20}}){_VALUE}"""), rf"\1{HIDDEN}"),
    (re.compile(rf"(?i)((?<!-)--(?=\w)[\w.\-]{{0,80}}?{SECRET_NAME}[\w.\-]{{0,80}}\s{{1,20}})\S+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?is)-----BEGIN ([A-Z ]{0,40}PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)"), HIDDEN),
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://[^/\s:@]{0,200}:)[^/\s@]{1,500}@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?i)(\bauthorization:\s{0,20}\w{1,40}\s{1,20})\S+"), rf"\1{HIDDEN}"),
)


def redacted_text(text: str) -> str:
    """Text without the secrets that can be told from how they are written."""
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text


def redacted(value: Any) -> Any:
    """JSON values without secrets: what a secret's name stands for, and what is in texts."""
    if isinstance(value, str):
        return redacted_text(value)
    if isinstance(value, Mapping):
        return {k: HIDDEN if looks_secret(k) and isinstance(v, str) and v else redacted(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner) for inner in value]
    return value
