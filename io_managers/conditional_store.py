"""Amazon S3 and what speaks like it, Google Cloud Storage and Azure Blob Storage: stores that take conditional writes, by `obstore`.

Why this client, and not pyarrow's or another: DESIGN.md, "Object stores". Settled here: where credentials and addresses come from, and
how a store's answers become errors of ours.
"""

from __future__ import annotations

import mmap
import os
import re
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from assets_core.model.errors import DefinitionError, IOManagerError
from io_managers.object_store import Entry, StoreChangedError, StoreUnreachableError, Tail
from io_managers.url_secrets import shown_text
from partitions.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from obstore import GetOptions, ObjectMeta, UpdateVersion
    from obstore.store import ObjectStore

SCHEMES: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "az": "azure"}
"""URL scheme → the extra that brings its client."""

_CREDENTIALS: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE), and AWS_REGION",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS",
    "azure": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_CLIENT_OPTIONS: Final = frozenset({"timeout", "connect_timeout", "proxy_url"})
_DURATIONS: Final = frozenset({"timeout", "connect_timeout"})
_RETRIES: Final = "max_retries"
_OF_CLIENT: Final = frozenset({"client_options", "retry_config", "config", "prefix"})
"""Arguments of the client that are made here."""
_OPTIONS: Final = {
    "s3": ("access_key_id", "secret_access_key", "session_token", "region", "endpoint", "skip_signature"),
    "gcs": ("service_account", "service_account_key", "application_credentials", "bearer_token", "base_url", "skip_signature"),
    "azure": ("account_name", "account_key", "sas_key", "token", "client_id", "client_secret", "tenant_id", "endpoint", "skip_signature"),
}  # fmt: skip
"""What is suggested for a name that the client doesn't know; it knows more."""
_UNKNOWN = re.compile(r"Configuration key: '(.*)' is not valid")
_MOST_BYTES: Final = 5 * 2**30
_STATUS = re.compile(r"status code: (\d{3}) ?([^:\n]*)")
_CODE = re.compile(r"<Code>([^<]+)</Code>")
_TOLD = re.compile(r"<Message>([^<]+)</Message>")
_NO_RANGE = re.compile(r"non-partial response|: 416 ")
_OF_STORE: Final = "Generic S3 error"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = re.compile(r"\s*\n\s*↳?\s*")
"""How deltalake tells one cause after the other."""
_AGAIN: Final = frozenset({"408", "429", "500", "502", "503", "504"})


class ConditionalStore:
    """The objects below a URL. Opens its client at the first use, in the process that uses it; pickles as a fresh one.

    `owner` is the class whose root it is, for messages.
    """

    def __init__(
        self, root: str, options: Mapping[str, Any], *, owner: str = "ParquetIOManager"
    ) -> None:
        self._root = root
        self._options = dict(options)
        self._owner = owner
        _check_options(f"{owner}({root!r}, storage_options=…)", self._options)
        scheme, _, rest = root.partition("://")
        self._extra = SCHEMES[scheme]
        self._bucket, _, prefix = rest.partition("/")
        self._url = f"{'s3' if scheme == 's3a' else scheme}://{self._bucket}"
        self._prefix = f"{prefix}/" if prefix else ""
        self._client: ObjectStore | None = None
        self._process = 0

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), owner=self._owner), (self._root, self._options)

    def tail(self, key: str, count: int) -> Tail | None:
        """One GET of a range that ends with the object; Azure has no such range, so there it takes a HEAD as well."""
        while True:
            try:
                with self._doing("read", key) as client:
                    found = client.get(
                        self._prefix + key, options=self._end_of(client, key, count)
                    )
                    content = bytes(found.bytes())
            except FileNotFoundError:
                return None
            except StoreChangedError:
                continue  # replaced since the HEAD
            except IOManagerError as error:
                # An object of no bytes has no last ones: stores say so in different ways.
                if _NO_RANGE.search(error.message) and (empty := self._empty(key)) is not None:
                    return empty
                raise
            start, end = found.range
            if len(content) != end - start:
                raise self._short(key, len(content), end - start)
            return Tail(content, found.meta["size"], _version(found.meta))

    def _empty(self, key: str) -> Tail | None:
        """An object that is there and has no bytes."""
        with self._doing("read", key) as client:
            found = client.head(self._prefix + key)
        return None if found["size"] else Tail(b"", 0, _version(found))

    def _end_of(self, client: ObjectStore, key: str, count: int) -> GetOptions:
        """Which bytes are the last `count`, in a way that the store understands."""
        if self._extra != "azure":
            return {"range": {"suffix": count}}
        there = client.head(self._prefix + key)
        size = there["size"]
        if not size:  # it has no range
            return {"if_match": there["e_tag"]}
        return {"range": (max(0, size - count), size), "if_match": there["e_tag"]}

    def piece(self, key: str, start: int, end: int, version: str) -> bytes:
        """One GET of a range, conditional by `If-Match`."""
        try:
            with self._doing("read", key) as client:
                found = client.get(
                    self._prefix + key,
                    options={"range": (start, end), "if_match": _condition(version)["e_tag"]},
                )
                return bytes(found.bytes())
        except FileNotFoundError as error:
            raise StoreChangedError(key) from error

    def put(self, key: str, source: str, expected: str | None) -> None:
        """One PUT, conditional by `If-None-Match` or `If-Match`; the file is mapped and not copied."""
        size = Path(source).stat().st_size
        if size > _MOST_BYTES:
            raise IOManagerError(
                f"{self._root}/{key} can't be written: the file has {size} bytes, and one PUT takes {_MOST_BYTES}",
                hint="make the partitions smaller: hours instead of days, or another dimension",
            )
        try:
            with (
                open(source, "rb") as file,  # noqa: PTH123 - mapped, which needs the descriptor
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
                self._doing("written", key) as client,
            ):
                client.put(
                    self._prefix + key,
                    content,
                    mode="create" if expected is None else _condition(expected),
                )
        except FileNotFoundError as error:
            raise StoreChangedError(key) from error  # it was removed: `If-Match` answers so

    def entries(self, prefix: str) -> Iterator[Entry]:
        """A request per thousand objects."""
        with self._doing("listed", prefix) as client:
            for chunk in client.list(self._prefix + prefix):
                for one in chunk:
                    yield Entry(one["path"][len(self._prefix) :], one["size"], one["e_tag"] or "")

    def delete(self, keys: Sequence[str]) -> None:
        """A request per thousand objects, where the store has such requests. Where it names one that is gone, all are asked for by themselves."""
        if not keys:
            return
        try:
            self._delete(keys)
        except FileNotFoundError:
            for key in keys:
                with suppress(FileNotFoundError):
                    self._delete([key])

    def _delete(self, keys: Sequence[str]) -> None:
        with self._doing("removed", keys[0]) as client:
            client.delete([self._prefix + key for key in keys])

    def address(self, key: str) -> str:
        """The URL of an object, or of what is below a key, for another client."""
        return f"{self._url}/{self._prefix}{key}"

    def text_options(self) -> dict[str, str]:
        """The settings as text, for another client that is made of the same library."""
        config = self._settings()
        client, retries = config.pop("client_options"), config.pop("retry_config")
        config.pop("credential_provider", None)  # such a client finds a profile by itself
        told = {**config, **client, "max_retries": retries["max_retries"]}
        return {name: _as_text(value) for name, value in told.items()}

    def fault(self, verb: str, key: str, error: Exception) -> IOManagerError:
        """What an error of such a client means; what it does not say of the store has no hint."""
        text = _FRAME.sub(": ", _COLOUR.sub("", str(error)).strip())
        told = shown_text(text, self._root, self._options)
        if _OF_STORE not in text and _STATUS.search(text) is None:
            return IOManagerError(f"{self._root}/{key} can't be {verb}: {told}")
        return self._fault(verb, key, told)

    def _opened(self) -> ObjectStore:
        # A client that crossed a fork has threads that are not there any more.
        if self._client is None or self._process != os.getpid():
            try:
                from obstore.store import from_url  # noqa: PLC0415 - an extra
            except ImportError as error:
                raise IOManagerError(
                    f"{self._root} needs the package obstore",
                    hint=f"pip install 'partita[{self._extra}]'",
                ) from error
            try:
                self._client = from_url(self._url, **self._settings())
            except Exception as error:
                if isinstance(error, IOManagerError):
                    raise
                raise self._unusable(str(error)) from None  # its text may repeat a secret
            self._process = os.getpid()
        return self._client

    def _unusable(self, text: str) -> IOManagerError:
        """What a client says of its options, without what is secret in them."""
        told = shown_text(text.strip().split("\n", 1)[0], self._root, self._options)
        hint = "correct storage_options, or the environment variables that say the same"
        if (unknown := _UNKNOWN.match(told)) is not None:
            told = f"there is no storage option {unknown[1]!r}"
            known = [*_OPTIONS[self._extra], *_CLIENT_OPTIONS, _RETRIES]
            near = nearest(unknown[1].lower(), known)
            hint = f"did you mean {' or '.join(near)}?" if near else f"some are {', '.join(known)}"
        return IOManagerError(f"{self._root} can't be opened: {told}", hint=hint)

    def _settings(self) -> dict[str, Any]:
        """What the client is made with. What is in the environment under its usual names, it finds by itself."""
        config = dict(self._options)
        client = {name: config.pop(name) for name in _CLIENT_OPTIONS & config.keys()}
        retries = int(config.pop(_RETRIES, 4))
        if self._extra == "s3":
            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            if endpoint and "endpoint" not in config:
                config["endpoint"] = endpoint
            if _is_for_a_profile(config):
                config["credential_provider"] = self._profile()
        client.setdefault("timeout", "15m")
        client["allow_http"] = any(str(one).startswith("http://") for one in config.values())
        return {
            **config,
            "client_options": client,
            "retry_config": {"max_retries": retries, "retry_timeout": timedelta(minutes=2)},
        }

    def _profile(self) -> Any:  # noqa: ANN401 - the client's own kind
        try:
            from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise IOManagerError(
                f"{self._root} needs the package boto3 for AWS_PROFILE",
                hint="pip install boto3, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ) from error
        return Boto3CredentialProvider()

    @contextmanager
    def _doing(self, verb: str, key: str) -> Iterator[ObjectStore]:
        """The client; its errors become ours. FileNotFoundError passes if it is the object that is missing, not the bucket."""
        client = self._opened()
        from obstore.exceptions import (  # noqa: PLC0415 - an extra
            AlreadyExistsError,
            BaseError,
            PreconditionError,
        )

        try:
            yield client
        except (AlreadyExistsError, PreconditionError) as error:
            raise StoreChangedError(key) from error
        except (BaseError, OSError) as error:
            text = shown_text(str(error), self._root, self._options)
            if isinstance(error, FileNotFoundError) and not self._says_no_bucket(text):
                raise
            if "409 Conflict" in text:
                raise StoreChangedError(key) from error
            # A traceback shows the cause as well, so one that repeats a secret is none.
            raise self._fault(verb, key, text) from (error if text == str(error) else None)

    def _says_no_bucket(self, text: str) -> bool:
        return "NoSuchBucket" in text or "ContainerNotFound" in text

    def _fault(self, verb: str, key: str, text: str) -> IOManagerError:
        where = f"{self._root}/{key}".rstrip("/")
        status = _STATUS.search(text)
        if self._says_no_bucket(text):
            return IOManagerError(
                f"{where} can't be {verb}: there is no bucket {self._bucket}",
                hint=f"make the bucket, or correct the URL of the {self._owner}",
            )
        if status is None:
            return StoreUnreachableError(
                f"{where} can't be {verb}: {_without_reply(text)}",
                hint="try again; if the store is another one, set AWS_ENDPOINT_URL"
                if self._extra == "s3"
                else "try again",
            )
        code, told = _CODE.search(text), _TOLD.search(text)
        cause = f"{status[1]} {status[2]}".strip()
        if code is not None:
            cause += f", {code[1]}" + (f": {told[1]}" if told else "")
        if status[1] in _AGAIN:
            return StoreUnreachableError(f"{where} can't be {verb}: {cause}", hint="try again")
        hint = None
        if status[1] in {"401", "403"}:
            hint = f"check {_CREDENTIALS[self._extra]}, and that they may read, write, list and delete in {self._bucket}"
        elif status[1] in {"301", "307", "400"} and self._extra == "s3":
            hint = "check AWS_REGION: it must be the bucket's"
        return IOManagerError(f"{where} can't be {verb}: {cause}", hint=hint)

    def _short(self, key: str, count: int, whole: int) -> StoreUnreachableError:
        return StoreUnreachableError(
            f"{self._root}/{key} can't be read: {count} bytes came instead of {whole}",
            hint="try again",
        )


def _check_options(call: str, options: Mapping[str, Any]) -> None:
    """Raise DefinitionError for a value that no option of its name takes. Values are not shown: they may be secret."""
    for name, value in options.items():
        where = f"{call}: {name!r}"
        if name == _RETRIES:
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise DefinitionError(f"{where} is no count", hint=f"write {{'{_RETRIES}': 4}}")
        elif name in _OF_CLIENT:
            raise DefinitionError(
                f"{where} is not understood",
                hint=f"write what is in it beside the others: {', '.join(sorted(_CLIENT_OPTIONS))} and {_RETRIES} are understood",
            )
        elif name in _DURATIONS:
            if not isinstance(value, (str, timedelta)):
                raise DefinitionError(
                    f"{where} is {type(value).__name__}, not a duration", hint="write '15m'"
                )
        elif not (isinstance(value, (str, bool)) or callable(value)):
            raise DefinitionError(f"{where} is {type(value).__name__}, not text, True or False")


def _is_for_a_profile(config: Mapping[str, Any]) -> bool:
    given = {"access_key_id", "aws_access_key_id", "skip_signature", "credential_provider"}
    if given & config.keys() or "AWS_ACCESS_KEY_ID" in os.environ:
        return False
    return "AWS_PROFILE" in os.environ


def _version(meta: ObjectMeta) -> str:
    """Google compares generations when it replaces and ETags when it reads; the others know ETags only."""
    return f"{meta['e_tag'] or ''} {meta['version'] or ''}".rstrip()


def _condition(version: str) -> UpdateVersion:
    """What a client is told of a version.

    >>> _condition('"0f1e" 1738324800')
    {'e_tag': '"0f1e"', 'version': '1738324800'}
    """
    e_tag, _, generation = version.partition(" ")
    return {"e_tag": e_tag, "version": generation} if generation else {"e_tag": e_tag}


def _as_text(value: object) -> str:
    """An option as text.

    >>> _as_text(True), _as_text(timedelta(minutes=2)), _as_text("15m")
    ('true', '120s', '15m')
    """
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_reply(text: str) -> str:
    """The cause that a client tells when no answer came: its first line without addresses and durations, or the innermost reason."""
    first = text.strip().split("\n", 1)[0]
    return first.rpartition(" - ")[2] if " - " in first else first
