"""How names become paths: one name, one path segment, and no two names the same one. Which folders there are is the adapters' choice.

Partition keys and asset names are data. Whatever they hold, a path made here stays below its root, survives every POSIX file
system's limit of 255 bytes a segment, and can be told back to exactly one name (names too long to spell out end in a hash).
Partition keys that differ only by case are refused by the partition definitions, so letters keep their case here.
"""

from __future__ import annotations

from hashlib import blake2b

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+,@")
_HIDDEN = frozenset(b"._")
_LONGEST = 255
_HASH_MARK = "~"  # never plain, so that a shortened name can't be mistaken for a spelled-out one


def path_segment(name: str, prefix: str = "") -> str:
    """`name` as one path segment behind `prefix` (such as `day=`): percent-encoded UTF-8, at most 255 bytes, injective.

    A leading `.` or `_` is encoded where there is no prefix: readers of folders of Parquet files skip such names as hidden.
    A name that would be longer is cut and ends in `~` and a 128-bit hash of the whole. An empty name becomes `%`.

    >>> path_segment("2025-01-31T05:00", "hour=")
    'hour=2025-01-31T05%3A00'
    >>> path_segment("../etc/passwd")
    '%2E.%2Fetc%2Fpasswd'
    >>> len(path_segment("x" * 300)), path_segment("x" * 300)[220:]
    (255, 'xx~c2f093e41879e412280bfcc0ed6533e4')
    """
    raw = name.encode("utf-8", "surrogatepass")
    text = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw) or "%"
    if not prefix and raw and raw[0] in _HIDDEN:
        text = f"%{raw[0]:02X}{text[1:]}"
    if len(prefix) + len(text) <= _LONGEST:
        return prefix + text
    digest = blake2b(raw, digest_size=16).hexdigest()
    room = _LONGEST - len(prefix) - len(_HASH_MARK) - len(digest)
    return f"{prefix}{text[:room]}{_HASH_MARK}{digest}"


def dimension_prefix(name: str) -> str:
    """The `name=` in front of a partition's segment, `name` itself made safe and short enough to leave room for the key.

    >>> dimension_prefix("day"), dimension_prefix("a/b")
    ('day=', 'a%2Fb=')
    """
    text = path_segment(name)
    if len(text) > _LONGEST // 2:
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        text = f"{text[:60]}{_HASH_MARK}{digest}"
    return f"{text}="
