# SPDX-License-Identifier: MIT
"""Each fault of the testing server does what it says, no more often than it was planned."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.testing_server_wire import send
from unobin_s3.testing import Fault, RequestRecord, S3Server


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server() as running:
        running.put("old", b"0123456789")
        yield running


def test_refused_without_effect(server: S3Server) -> None:
    server.fault("PutObject", Fault(503, "SlowDown", headers={"retry-after": "1"}), times=2)
    for _ in range(2):
        reply = send(server, "PUT", "k", b"x")
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "SlowDown", "1")
    assert "k" not in server.objects()
    assert send(server, "PUT", "k", b"x").status == 200
    assert [record.status for record in server.requests] == [503, 503, 200]


def test_applied_and_then_refused(server: S3Server) -> None:
    server.fault("PutObject", Fault(500, "InternalError", applied=True))
    assert send(server, "PUT", "k", b"x").code == "InternalError"
    assert server.objects()["k"] == b"x"


def test_applied_means_that_conditions_still_hold(server: S3Server) -> None:
    server.fault("PutObject", Fault(500, "InternalError", applied=True))
    assert send(server, "PUT", "old", b"x", headers={"if-none-match": "*"}).code == "InternalError"
    assert server.objects()["old"] == b"0123456789"


@pytest.mark.parametrize("applied", [False, True])
def test_reset(server: S3Server, applied: bool) -> None:
    server.fault("PUT", Fault(reset=True, applied=applied))
    with pytest.raises(ConnectionResetError) as caught:
        send(server, "PUT", "k", b"x")
    assert not isinstance(caught.value, http.client.RemoteDisconnected)  # which is what a plain close gives
    assert ("k" in server.objects()) == applied
    assert [record.status for record in server.requests] == [0]


@pytest.mark.parametrize("applied", [False, True])
def test_call_before_and_after_the_effect(server: S3Server, applied: bool) -> None:
    seen: list[bool] = []
    server.fault("PutObject", Fault(call=lambda: seen.append("k" in server.objects()), applied=applied))
    assert send(server, "PUT", "k", b"x").status == 200
    assert seen == [applied]


def test_delay(server: S3Server) -> None:
    server.fault("GetObject", Fault(delay=0.05))
    began = time.monotonic()
    assert send(server, "GET", "old").status == 200
    assert time.monotonic() - began >= 0.05


def test_a_delay_does_not_hold_up_the_end() -> None:
    arrived = threading.Event()

    def ask(slow: S3Server) -> None:
        with suppress(OSError, http.client.HTTPException):
            send(slow, "GET", "k")

    with S3Server() as running:
        running.fault("GetObject", Fault(call=arrived.set, delay=60))
        waiting = threading.Thread(target=ask, args=(running,))
        waiting.start()
        assert arrived.wait(10)
        began = time.monotonic()
    waiting.join(10)
    assert not waiting.is_alive()
    assert time.monotonic() - began < 4


def test_cut_body(server: S3Server) -> None:
    server.fault("GetObject", Fault(cut=7))
    with pytest.raises(http.client.IncompleteRead) as caught:
        send(server, "GET", "old")
    assert caught.value.partial == b"0123456"
    assert caught.value.expected == 3
    assert send(server, "GET", "old").body == b"0123456789"


def test_wrong_length(server: S3Server) -> None:
    server.fault("GetObject", Fault(extra=-3))
    assert send(server, "GET", "old").body == b"0123456"
    server.fault("GetObject", Fault(extra=2))
    with pytest.raises(http.client.IncompleteRead):
        send(server, "GET", "old")


def test_answers_of_others(server: S3Server) -> None:
    page = Fault(502, body=b"<html>Bad Gateway</html>", headers={"content-type": "text/html"})
    server.fault("GetObject", page)
    reply = send(server, "GET", "old")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (502, page.body, "text/html")
    server.fault("PutObject", Fault(200, body=b"<Error><Code>InternalError</Code></Error>"))
    reply = send(server, "PUT", "k", b"x")
    assert (reply.status, reply.code) == (200, "InternalError")
    assert "k" not in server.objects()


def test_ignored_conditions(server: S3Server) -> None:
    server.fault("*", Fault(ignore=("if-match", "if-none-match")), times=None)
    assert send(server, "PUT", "old", b"x", headers={"if-none-match": "*"}).status == 200
    assert send(server, "DELETE", "old", headers={"if-match": '"0"'}).status == 204
    assert server.objects() == {}
    assert server.requests[0].headers["if-none-match"] == "*"


def test_matching(server: S3Server) -> None:
    def conditional(record: RequestRecord) -> bool:
        return "if-match" in record.headers

    server.fault(conditional, Fault(409, "ConditionalRequestConflict"))
    server.fault("PutObject /lock", Fault(500, "InternalError"))
    server.fault("PUT", Fault(503, "SlowDown"))
    assert send(server, "GET", "a/lock").status == 404
    assert send(server, "PUT", "a/current", b"").status == 503
    assert send(server, "PUT", "a/current", b"").status == 200
    assert send(server, "PUT", "a/lock", b"").status == 500
    assert send(server, "PUT", "a/lock", b"").status == 200
    assert send(server, "PUT", "a/lock", b"", headers={"if-match": "*"}).status == 409


def test_badly_signed_requests_use_no_fault_up(server: S3Server) -> None:
    server.fault("GetObject", Fault(503, "SlowDown"))
    assert send(server, "GET", "old", secret_access_key="wrong").status == 403
    assert send(server, "GET", "old").status == 503


def test_reset_requests(server: S3Server) -> None:
    send(server, "GET", "old")
    server.reset_requests()
    send(server, "HEAD", "old")
    (record,) = server.requests
    assert (record.method, record.bucket, record.key, record.operation) == ("HEAD", "state", "old", "HeadObject")
