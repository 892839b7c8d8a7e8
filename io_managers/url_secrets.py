"""What must never be shown of a URL and of `storage_options`: passwords, keys, tokens. Not in errors, reports, logs or records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HIDDEN = "***"
_PASSWORD = re.compile(r"(?<=://)([^/:@]*):([^/]*)@")
_SECRET = re.compile(r"key|secret|token|passw|passphrase|credential|sas|auth", re.IGNORECASE)


def shown_url(url: str) -> str:
    """The URL as it may be shown.

    >>> shown_url("sftp://ann:p@ss@files.example.org/lake")
    'sftp://ann@files.example.org/lake'
    """
    return _PASSWORD.sub(r"\1@", url)


def shown_text(text: str, url: str, options: Mapping[str, Any]) -> str:
    """What a client says, without the secrets that it was given.

    >>> shown_text("530 ann p4ss: no such user", "ftp://ann:p4ss@host", {})
    '530 ann ***: no such user'
    >>> shown_text("bad token 0f1e", "gs://lake", {"token": "0f1e"})
    'bad token ***'
    """
    text = text.replace(url, shown_url(url))
    # The longest first: one may be a part of another.
    for secret in sorted({*_of_url(url), *_of_options(options)}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _of_url(url: str) -> Iterator[str]:
    yield from (password for _, password in _PASSWORD.findall(url) if password)


def _of_options(options: Mapping[str, Any], *, inside: bool = False) -> Iterator[str]:
    for name, value in options.items():
        is_secret = inside or _SECRET.search(str(name)) is not None
        if isinstance(value, Mapping):
            yield from _of_options(value, inside=is_secret)
        elif is_secret and isinstance(value, str) and value:
            yield value
