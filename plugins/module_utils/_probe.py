# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking endpoints, many at once, each within its time, whatever they answer."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from ._domain.errors import Failed
from ._domain.probe import (
    REFUSED,
    UNCLEAR,
    Answer,
    Endpoint,
    make_endpoint,
    present_reason,
    unhealthy_reason,
    without_credentials,
)

if TYPE_CHECKING:
    from http.client import HTTPResponse

    Judge = Callable[[Endpoint, Answer], str]

BODY_LIMIT = 1024 * 1024
"""Bytes of an answer that are read; a longer answer is judged by its beginning."""

_CHUNK = 16 * 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25
_BREACHES_KEPT = 100


class _SameOrigin(HTTPRedirectHandler):
    """Follows a redirect only to where the request went: its headers may hold a token."""

    def redirect_request(self, req: Request, *args: Any) -> Request | None:
        """Return the next request, or None: the redirect is then the answer."""
        here, there = urlsplit(req.full_url), urlsplit(args[-1])
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            return None
        return super().redirect_request(req, *args)


class NoRedirect(HTTPRedirectHandler):
    """Follows no redirect: the redirect is the answer."""

    def redirect_request(self, *_args: Any) -> None:
        """Follow none: the redirect is what is asked about."""


def ask(endpoint: Endpoint, timeout: float, *handlers: Any) -> Answer:
    """Ask one endpoint; never raises for what the network does.

    Args:
        endpoint: what to ask.
        timeout: seconds for the whole of it, the answer's last byte included.
        handlers: of urllib, instead of the one that follows redirects within the same origin.
    """
    start = time.monotonic()
    wants_redirect = any(300 <= status < 400 for status in endpoint.status)  # noqa: PLR2004
    chosen = handlers or [NoRedirect if wants_redirect else _SameOrigin]
    opener = build_opener(ProxyHandler({}), *chosen)
    try:
        with _open(opener.open, endpoint, timeout) as response:
            body = _read(response, start + timeout)
            status = response.getcode()
    except HTTPException as error:
        return _failed(start, UNCLEAR, f"a broken answer ({type(error).__name__})")
    except (OSError, ValueError, EOFError) as error:
        return _failed(start, *_failure(error))
    return Answer(status=status, body=body, latency_ms=_milliseconds(start))


def _failed(start: float, failure: str, error: str) -> Answer:
    return Answer(latency_ms=_milliseconds(start), failure=failure, error=error)


def ask_all(endpoints: Sequence[Endpoint], timeout: float) -> list[Answer]:
    """Ask all endpoints at once; returns after the timeout even when one of them trickles for ever."""
    answers: queue.Queue[tuple[int, Answer]] = queue.Queue()

    def work(index: int, endpoint: Endpoint) -> None:
        answers.put((index, ask(endpoint, timeout)))

    late = Answer(latency_ms=timeout * 1000, failure=UNCLEAR, error=f"no complete answer within {timeout:g} s")
    found = [late] * len(endpoints)
    for index, endpoint in enumerate(endpoints):
        threading.Thread(target=work, args=(index, endpoint), daemon=True).start()
    deadline = time.monotonic() + timeout + 0.1
    for _endpoint in endpoints:
        try:
            index, answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[index] = answer
    return found


def results(endpoints: Sequence[Endpoint], answers: Sequence[Answer], judge: Judge) -> list[dict[str, Any]]:
    """Return what modules return for each endpoint."""
    return [
        {
            "name": endpoint.name,
            "url": without_credentials(endpoint.url),
            "status": answer.status,
            "latency_ms": answer.latency_ms,
            "healthy": not judge(endpoint, answer),
            "reason": judge(endpoint, answer),
        }
        for endpoint, answer in zip(endpoints, answers)
    ]


def probe_until(
    endpoints: Sequence[Endpoint],
    *,
    timeout: float,
    deadline: float,
    gone: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Ask again and again until every endpoint is as wished, in one and the same round.

    Args:
        endpoints: what to ask.
        timeout: seconds for one request.
        deadline: seconds for all of it; one round is made in any case.
        gone: wish that nobody answers as described.
        stop: ends the waiting early.

    Returns:
        C(healthy), C(endpoints), C(attempts), C(seconds). Does not raise when the wish is not met.
    """
    judge = present_reason if gone else unhealthy_reason
    start, pause, attempts = time.monotonic(), _FIRST_PAUSE, 0
    while True:
        attempts += 1
        found = results(endpoints, ask_all(endpoints, timeout), judge)
        healthy = all(result["healthy"] for result in found)
        if healthy or stop() or time.monotonic() - start + pause > deadline:
            seconds = round(time.monotonic() - start, 3)
            return {"healthy": healthy, "endpoints": found, "attempts": attempts, "seconds": seconds}
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def check_probe(outcome: Mapping[str, Any], *, gone: bool = False, remedy: str = "") -> None:
    """Check that a probe's wish was met.

    Raises:
        Failed: it was not; the message names every endpoint and why.
    """
    if outcome["healthy"]:
        return
    bad = [result for result in outcome["endpoints"] if not result["healthy"]]
    reasons = "; ".join(f"{result['name']}: {result['reason']}" for result in bad)
    raise Failed(
        f"{len(bad)} of {len(outcome['endpoints'])} endpoints {'are not gone' if gone else 'are not healthy'}"
        f" after {outcome['seconds']:g} s and {outcome['attempts']} attempts: {reasons}.",
        remedy=remedy or "Look at the application's log, and ask the endpoints by hand with curl from this host.",
        endpoints=outcome["endpoints"],
    )


def watch(endpoints: Sequence[Endpoint], *, timeout: float, duration: float, interval: float) -> dict[str, Any]:
    """Keep asking for a while, and report every breach; raises nothing.

    Args:
        endpoints: what to ask.
        timeout: seconds for one request.
        duration: seconds to keep asking.
        interval: seconds from one round's start to the next.

    Returns:
        C(probes), C(failures), C(error_rate) (0 to 1), C(median_latency_ms) by endpoint, C(breaches).
    """
    start, found = time.monotonic(), [[] for _endpoint in endpoints]  # type: tuple[float, list[list[dict[str, Any]]]]
    breaches: list[dict[str, Any]] = []
    while True:
        began = time.monotonic()
        for series, result in zip(found, results(endpoints, ask_all(endpoints, timeout), unhealthy_reason)):
            series.append(result)
            if not result["healthy"]:
                breaches.append({"after_seconds": round(began - start, 3), **result})
        if began + interval - start > duration:
            break
        time.sleep(max(0.0, began + interval - time.monotonic()))
    probes = sum(len(series) for series in found)
    return {
        "probes": probes,
        "failures": len(breaches),
        "error_rate": round(len(breaches) / probes, 4) if probes else 0.0,
        "median_latency_ms": {series[0]["name"]: _median([r["latency_ms"] for r in series]) for series in found},
        "breaches": breaches[:_BREACHES_KEPT],
    }


def make_endpoints(options: Sequence[Mapping[str, Any]], *, any_status: bool = False) -> list[Endpoint]:
    """Read endpoints from a module's options; see `_domain.probe.make_endpoint`."""
    return [make_endpoint(option, any_status=any_status) for option in options]


def request(url: str, method: str, headers: Mapping[str, str], body: object, timeout: float) -> Answer:
    """Send one request whose answer matters only by its status; for switches, not for probes."""
    return ask(make_endpoint({"url": url, "method": method, "headers": headers, "body": body}), timeout)


def _open(open_url: Callable[..., Any], endpoint: Endpoint, timeout: float) -> HTTPResponse:
    data, headers = _encoded(endpoint.body)
    headers.update({"User-Agent": "balcon.rollback", "Cache-Control": "no-cache", **endpoint.headers})
    message = Request(endpoint.url, data=data, headers=headers, method=endpoint.method)  # noqa: S310  # checked
    try:
        response: HTTPResponse = open_url(message, timeout=timeout)
    except HTTPError as error:
        return error  # type: ignore[return-value]  # an answer with a status that urllib does not like is an answer
    return response


def _encoded(body: object) -> tuple[bytes | None, dict[str, str]]:
    if body is None or body == "":
        return None, {}
    if isinstance(body, str):
        kind = "application/json" if body.lstrip()[:1] in ("{", "[") else "text/plain; charset=utf-8"
        return body.encode(), {"Content-Type": kind}
    return json.dumps(body).encode(), {"Content-Type": "application/json"}


def _read(response: HTTPResponse, deadline: float) -> bytes:
    body = b""
    while len(body) < BODY_LIMIT:
        chunk = response.read1(_CHUNK) if hasattr(response, "read1") else response.read(_CHUNK)
        if not chunk:
            break
        body += chunk
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
    return body[:BODY_LIMIT]


def _failure(error: BaseException) -> tuple[str, str]:
    reason = error.reason if isinstance(error, URLError) and isinstance(error.reason, BaseException) else error
    if isinstance(reason, ConnectionRefusedError):
        return REFUSED, "nobody answers (the connection was refused)"
    if isinstance(reason, ConnectionError):
        return UNCLEAR, "the connection was cut before an answer"
    if isinstance(reason, (TimeoutError, socket.timeout)):
        return UNCLEAR, "no complete answer in time"
    verify_message = getattr(reason, "verify_message", "")
    if verify_message:
        return UNCLEAR, f"the certificate is not accepted: {verify_message}"
    return UNCLEAR, f"{type(reason).__name__}: {getattr(reason, 'strerror', None) or 'no answer'}"


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _milliseconds(start: float) -> float:
    return round((time.monotonic() - start) * 1000, 1)
