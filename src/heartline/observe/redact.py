"""Take secrets out of text before it reaches a log, a journal or an exception.

Two tools: `redact_url` knows where a URL keeps its secrets; `redact_text` is told
them (`secrets_of`, `secrets_said`) and finds them again in whatever a peer or an
exception says. Both err on the side of masking too much, and neither ever raises.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from string import ascii_lowercase, ascii_uppercase
from typing import cast
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"

SHORTEST = 4
"""Characters. Shorter secrets are left alone in text: `1` would mask every figure."""

PIECE = 8
"""Characters. From this length on, a mere piece of a secret is masked as well: peers
cut what they echo (a close reason holds 123 bytes, RFC 6455 section 5.5)."""

MOST_WORDS = 16
"""Words of a plain text that logs in: `AUTH user password`."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_TOKEN = re.compile(r"[A-Za-z0-9_+=%~-]{20,}")
_NAMES_ONE = re.compile(
    r"(?i)^(auth|key|sig|sign|account)$|(api|access|listen)[_-]?key"
    r"|authori|cred|jwt|pass|secret|signature|token"
)
_LOGS_IN = re.compile(r"(?i)auth|login|logon|sign|cred|listen")
_RUN = re.compile(r"[A-Za-z0-9_+/=%~-]+\Z")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.%]*\]|[^\s:\[\]]*)(:\d{0,5})?\Z")
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def redact_url(url: str) -> str:
    """Show where a URL leads without what it proves.

    Scheme, host, port, path and the keys of the query stay. Userinfo, query values
    and the fragment never do; neither do path segments that look like tokens (20 or
    more characters of base64 or hexadecimal, as listen keys are) or carry `=`.
    Proxy URLs may lack their scheme. Doing it twice changes nothing.
    """
    scheme, authority, path, query, fragment = _split(url)
    shown = scheme + _authority(authority)
    shown += "/".join(_segment(segment) for segment in path.split("/"))
    if query is not None:
        shown += "?" + "&".join(_pair(pair) for pair in query.split("&"))
    if fragment is not None:
        shown += "#" + MASK
    return shown


def redact_text(text: str, secrets: Iterable[str]) -> str:
    """Mask every secret in `text`, and every piece of one of 8 characters or more.

    For reasons that come from a peer or an exception, where a secret may be echoed:
    as it is, percent-encoded, escaped (JSON, Python, HTML), in base64, in either
    case of ASCII letters. `secrets` are those of the attempt the text belongs to;
    those of fewer than 4 characters are not looked for. The cost grows with the
    length of the text plus that of the secrets, never with their product.
    """
    given = (secrets,) if isinstance(secrets, str) else secrets
    forms = {form for secret in given for form in _forms(secret)}
    pieces = {piece for form in forms for piece in _pieces(form)}
    masked = _mask(text, forms, pieces)
    # Masking may join what it leaves into a secret again; it only ever shortens.
    while masked != text:
        text, masked = masked, _mask(masked, forms, pieces)
    return masked


def secrets_of(
    url: str, headers: Mapping[str, str] | None = None, proxy: str | None = None
) -> frozenset[str]:
    """Collect what `redact_text` is to mask: all that one attempt to connect hides.

    Userinfo and query values and fragments of `url` and `proxy`, their path segments
    that look like tokens, and every header value, whole and in its parts.
    """
    found: set[str] = set()
    for place in (url, proxy or ""):
        found.update(_url_secrets(place))
    for value in (headers or {}).values():
        found.add(value)
        found.update(_parts(value))
    return frozenset(secret for secret in found if len(secret) >= SHORTEST)


def secrets_said(said: object) -> frozenset[str]:
    """Collect the secrets of messages that log in, or of a mapping of variables.

    `said` is one of them or a list; a message is text or JSON that was read. Secret is
    what stands, at any depth, under a key that names a secret, as `apiKey`, `sign` or
    `passphrase` do; and in a message that has such a key, or says `auth` or `login`,
    all that looks like a token. Names of instruments look like tokens as well: those
    of a message that only subscribes are left alone.
    """
    messages = (
        cast("Iterable[object]", said) if isinstance(said, list | tuple) else [said]
    )
    found = frozenset[str]().union(*map(_secrets_in, messages))
    return frozenset(secret for secret in found if len(secret) >= SHORTEST)


def _secrets_in(message: object) -> set[str]:
    named: set[str] = set()
    tokens: set[str] = set()
    logs_in = isinstance(message, Mapping)
    waiting: list[tuple[bool, object]] = [(False, message)]
    while waiting:
        secret, each = waiting.pop()
        if isinstance(each, bytes):
            each = each.decode(errors="replace")
        if isinstance(each, Mapping):
            members = cast("Mapping[object, object]", each).items()
            waiting += [
                (secret or bool(_NAMES_ONE.search(str(k))), v) for k, v in members
            ]
        elif isinstance(each, list | tuple):
            waiting += [(secret, member) for member in cast("list[object]", each)]
        elif secret and isinstance(each, str | int | float):
            named.add(str(each))
        elif isinstance(each, str) and (read := _read(each)) is not None:
            waiting.append((False, read))
        elif isinstance(each, str):
            logs_in = logs_in or bool(_LOGS_IN.search(each))
            tokens.update(_tokens_in(each))
    return named | tokens if named or logs_in else named


def _tokens_in(text: str) -> Iterator[str]:
    """What may be a secret of a text that names none: a token, or what logs in."""
    first, *others = text.split()[:MOST_WORDS] or [""]
    if _LOGS_IN.match(first):
        yield from others
    elif _looks_secret(text):
        yield text


def _read(text: str) -> object:
    """The object or list of a text in JSON; None of any other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return cast(object, json.loads(text))
    except (ValueError, RecursionError):
        return None


def _looks_secret(text: str) -> bool:
    """Whether it is one token: long, of letters and of figures, and nothing else."""
    whole = _TOKEN.fullmatch(text)
    return whole is not None and any(map(str.isdigit, text)) and not text.isdigit()


# --- URLs -------------------------------------------------------------------------


def _split(url: str) -> tuple[str, str, str, str | None, str | None]:
    """Cut by RFC 3986, without the refusals of `urlsplit`; the scheme keeps its `://`.

    None is a part that is not there, as opposed to an empty one.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or not _SCHEME.match(scheme):
        scheme, mark, rest = "", "", url.removeprefix("//")
    rest, hash_mark, fragment = rest.partition("#")
    rest, question, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    return (
        scheme + mark,
        authority,
        slash + path,
        query if question else None,
        fragment if hash_mark else None,
    )


def _authority(authority: str) -> str:
    _, at, host = authority.rpartition("@")
    # What is no host and port may be a password with a `/`, `?` or `#` unescaped in it.
    shown = host if _AUTHORITY.match(host) else MASK
    return f"{MASK}@{shown}" if at else shown


def _segment(segment: str) -> str:
    plain = unquote(segment, errors="replace")
    name, at, _ = plain.partition("@")
    # `btcusdt@trade` is a channel; `user:password@host` after a lost slash is not.
    userinfo = bool(at) and ":" in name
    secret = userinfo or "=" in plain or _TOKEN.search(plain)
    return MASK if secret else segment


def _pair(pair: str) -> str:
    key, equals, _ = pair.partition("=")
    if not equals:
        return MASK if pair else ""
    return f"{MASK if _TOKEN.search(unquote_plus(key)) else key}={MASK}"


def _url_secrets(url: str) -> Iterator[str]:
    _, authority, path, query, fragment = _split(url)
    userinfo, _, host = authority.rpartition("@")
    if userinfo:
        yield userinfo
        yield from userinfo.split(":", 1)
    if not _AUTHORITY.match(host):
        yield host
    yield from (segment for segment in path.split("/") if _segment(segment) == MASK)
    for pair in (query or "").split("&"):
        key, equals, value = pair.partition("=")
        yield value if equals else pair
        if _TOKEN.search(unquote_plus(key)):
            yield key
    yield fragment or ""


# --- text -------------------------------------------------------------------------


def _parts(value: str) -> Iterator[str]:
    """What a header value is made of: token, cookies, user and password."""
    for word in re.split(r"[\s,;]+", value):
        yield word
        yield word.partition("=")[2].strip('"')
    scheme, _, credentials = value.partition(" ")
    if scheme.lower() == "basic":
        try:
            plain = base64.b64decode(credentials).decode(errors="replace")
        except (binascii.Error, ValueError):
            return  # not base64: the parts as written are all there is
        yield plain
        yield from plain.split(":", 1)


def _forms(secret: str) -> Iterator[str]:
    """Every spelling in which a secret may come back, long enough to be looked for."""
    for plain in {secret, secret.strip(), unquote(secret), unquote_plus(secret)}:
        raw = plain.encode(errors="surrogatepass")
        spelled = (
            plain,
            quote(raw, safe=""),
            quote_plus(raw),
            json.dumps(plain)[1:-1],
            json.dumps(plain, ensure_ascii=False)[1:-1],
            repr(plain)[1:-1],
            repr(raw)[2:-1],
            html.escape(plain),
            base64.b64encode(raw).decode(),
            base64.urlsafe_b64encode(raw).decode(),
        )
        if len(plain) >= SHORTEST:
            yield from (form.translate(_LOWER) for form in spelled)


def _pieces(form: str) -> Iterator[str]:
    """Stretches of a long secret; only of what tokens are made of, never `https://`."""
    if len(form) > PIECE:
        windows = (form[at : at + PIECE] for at in range(len(form) - PIECE + 1))
        yield from (piece for piece in windows if _RUN.match(piece))


def _mask(text: str, forms: set[str], pieces: set[str]) -> str:
    lowered = text.translate(_LOWER)
    hidden = bytearray(len(text))
    for form in forms:
        start = lowered.find(form)
        while start >= 0:
            hidden[start : start + len(form)] = b"\1" * len(form)
            start = lowered.find(form, start + 1)
    if pieces:
        for start in range(len(text) - PIECE + 1):
            if lowered[start : start + PIECE] in pieces:
                hidden[start : start + PIECE] = b"\1" * PIECE
    shown: list[str] = []
    for place, character in enumerate(text):
        if not hidden[place]:
            shown.append(character)
        elif place == 0 or not hidden[place - 1]:
            shown.append(MASK)
    return "".join(shown)
