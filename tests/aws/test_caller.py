# SPDX-License-Identifier: MIT
"""The loop: one deadline, a signature for each attempt, one correction of each kind, and which error leaves it."""

from __future__ import annotations

import calendar
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aws.leaks import shown
from tests.aws.scripted import KEYS, OK, SECRETS, START, Renewing, Scripted, ScriptedClock, bare, call, dated, error
from unobin_s3 import (
    AccessDenied,
    ConfigurationError,
    Conflict,
    Credentials,
    CredentialsError,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    S3Client,
    ServiceError,
    Throttled,
    TransportError,
    UnobinS3Error,
)
from unobin_s3.aws.caller import Answer, Call, Caller
from unobin_s3.aws.credentials import StaticSource
from unobin_s3.aws.retry import MAX_ATTEMPTS, Repeat
from unobin_s3.aws.transport import Response
from unobin_s3.testing import S3Server

LOST = TransportError("reset", sent=True)
NEVER_SENT = TransportError("no route", sent=False)


def caller(transport: Scripted, source: Any = None, **more: Any) -> Caller:
    return Caller(transport=transport, credentials=source or StaticSource(KEYS), clock=transport.clock, **more)


def write(**more: Any) -> Call:
    return call(
        **{
            "operation": "PutObject", "method": "PUT", "body": b"x", "repeat": Repeat.CONDITIONAL,
            "answer": Answer.NOTHING, **more,
        }
    )  # fmt: skip


# One deadline


def test_the_total_limit_is_the_deadline() -> None:
    service = Scripted(error(503, "SlowDown"), takes=1.0)
    with pytest.raises(Throttled):
        caller(service, total=30.0).send(call())
    assert 28 < service.clock.elapsed <= 30
    assert [limits["total"] for limits in service.limits] == sorted((x["total"] for x in service.limits), reverse=True)
    assert service.limits[0] == {"connect": 5.0, "read": 60.0, "total": 30.0, "limit": None}


def test_a_deadline_that_is_given_counts() -> None:
    service = Scripted(error(409, "OperationAborted"), takes=0.5)
    one = caller(service)
    with pytest.raises(Conflict):
        one.send(write(), deadline=one.deadline(3.0))
    assert service.clock.elapsed <= 3.0
    assert one.deadline() == service.clock.monotonic() + 120.0


def test_a_deadline_that_has_passed_sends_nothing() -> None:
    service = Scripted(OK)
    one = caller(service)
    with pytest.raises(TransportError, match=r"GetObject s3://b/k: the time limit passed before") as caught:
        one.send(call(), deadline=service.clock.monotonic())
    assert not service.sent and not caught.value.sent and (caught.value.bucket, caught.value.key) == ("b", "k")


def test_time_that_runs_out_in_an_attempt_gives_that_attempts_error() -> None:
    service = Scripted(error(500, "InternalError"), takes=20.0)
    with pytest.raises(ServiceError, match="InternalError"):
        caller(service, total=20.0).send(call())
    assert len(service.sent) == 1
    with pytest.raises(OutcomeUnknown, match="InternalError"):
        caller(service, total=20.0).send(write())


@pytest.mark.parametrize("dice", [0.0, 1 - 2**-53])
def test_waiting_between_attempts(dice: float) -> None:
    service = Scripted(*[error(500, "InternalError")] * 3, OK, clock=ScriptedClock(dice))
    caller(service).send(call())
    assert service.clock.slept == pytest.approx([0.1 * dice, 0.2 * dice, 0.4 * dice])


# Each attempt is signed anew


def test_each_attempt_has_its_own_time() -> None:
    service = Scripted(LOST, error(503, "SlowDown"), OK, takes=7.0)
    caller(service).send(call())
    assert service.stamps == ["20261118T110640Z", "20261118T110647Z", "20261118T110654Z"]
    assert len({request.headers["authorization"] for request in service.sent}) == 3


def test_each_attempt_asks_for_credentials() -> None:
    source = Renewing()

    def renewed_elsewhere(_request: object) -> Response:
        source.renewals += 1
        return error(503, "SlowDown")

    service = Scripted(renewed_elsewhere, OK)
    caller(service, source).send(call())
    keys = [request.headers["authorization"].split("=")[1].split("/")[0] for request in service.sent]
    assert keys == ["AKID0", "AKID1"]


def test_without_credentials_nothing_is_signed() -> None:
    service = Scripted(OK)
    caller(service).with_credentials(None).send(call())
    assert not service.sent[0].headers


# What is repeated


@pytest.mark.parametrize("lost", [LOST, error(500, "InternalError"), error(502, ""), bare(200)], ids=str)
def test_reads_are_repeated_a_few_times(lost: Any) -> None:
    service = Scripted(lost)
    with pytest.raises((TransportError, ServiceError)) as caught:
        caller(service).send(call(answer=Answer.OBJECT))
    assert len(service.sent) == MAX_ATTEMPTS and not caught.value.maybe_applied


@pytest.mark.parametrize("repeat", [Repeat.CONDITIONAL, Repeat.PLAIN])
def test_a_write_whose_end_stays_unknown(repeat: Repeat) -> None:
    service = Scripted(LOST)
    with pytest.raises(OutcomeUnknown, match=r"may have taken effect: read s3://b/k to find out") as caught:
        caller(service).send(write(repeat=repeat))
    assert len(service.sent) == MAX_ATTEMPTS and caught.value.maybe_applied
    assert isinstance(caught.value.__cause__, TransportError)


def test_what_must_not_be_repeated_is_sent_once() -> None:
    service = Scripted(LOST, OK)
    with pytest.raises(OutcomeUnknown):
        caller(service).send(write(repeat=Repeat.ONCE))
    assert len(service.sent) == 1
    service = Scripted(error(503, "SlowDown"), NEVER_SENT, OK)
    caller(service).send(write(repeat=Repeat.ONCE))
    assert len(service.sent) == 3


def test_what_was_never_sent_is_no_unknown_end() -> None:
    service = Scripted(NEVER_SENT)
    with pytest.raises(TransportError, match="PutObject s3://b/k: no route") as caught:
        caller(service).send(write())
    assert not caught.value.maybe_applied and len(service.sent) == MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (error(412, "PreconditionFailed"), PreconditionFailed),
        (error(404, "NoSuchKey"), NotFound),
        (error(403, "AccessDenied"), AccessDenied),
    ],
)
def test_a_refusal_after_a_lost_answer_says_so(second: Response, kind: type[ServiceError]) -> None:
    with pytest.raises(kind) as caught:
        caller(Scripted(LOST, second)).send(write())
    assert caught.value.maybe_applied
    with pytest.raises(kind) as caught:
        caller(Scripted(second)).send(write())
    assert not caught.value.maybe_applied


@pytest.mark.parametrize("second", [error(409, "OperationAborted"), error(503, "SlowDown"), NEVER_SENT], ids=str)
def test_an_undecided_end_after_a_lost_answer_is_unknown(second: Any) -> None:
    with pytest.raises(OutcomeUnknown):
        caller(Scripted(LOST, second, takes=1), total=5.0).send(write())


def test_a_write_that_turns_out_well() -> None:
    service = Scripted(LOST, error(500, "InternalError"), OK)
    assert caller(service).send(write()) is OK


def test_only_the_right_kind_of_answer_is_good() -> None:
    page = Response(200, {"content-type": "text/html"}, b"<html>")
    for one, bad in [
        (call(answer=Answer.OBJECT), page),
        (write(), page),
        (call(answer=Answer.OBJECT, method="HEAD", operation="HeadObject"), bare(200)),
    ]:
        with pytest.raises((ServiceError, OutcomeUnknown), match="InvalidResponse"):
            caller(Scripted(bad)).send(one)
    assert caller(Scripted(page)).send(call()) is page  # a document, which its reader judges
    assert caller(Scripted(bare(204))).send(write(method="DELETE"))


def test_an_object_over_the_limit() -> None:
    service = Scripted(Response(200, {"etag": "e"}, b"xx", truncated=True))
    with pytest.raises(ServiceError, match=r"ResponseTooLarge: the object is too large.*not an object that this lib"):
        caller(service).send(call(limit=2))
    assert len(service.sent) == 1 and service.limits[0]["limit"] == 2


def test_a_probe_is_one_attempt_whatever_comes() -> None:
    service = Scripted(error(503, "SlowDown"), LOST)
    one = caller(service)
    assert one.probe(call(), deadline=one.deadline(1)).status == 503
    with pytest.raises(TransportError):
        one.probe(call(), deadline=one.deadline(1))
    assert len(service.sent) == 2 and not service.clock.slept


# Sessions that end


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"])
def test_an_expired_session_is_renewed_once(code: str) -> None:
    source = Renewing(left=5)
    service = Scripted(error(400, code), OK)
    caller(service, source).send(write())
    assert source.renewals == 1 and not service.clock.slept
    assert "AKID1/" in service.sent[1].headers["authorization"]


def test_and_not_twice() -> None:
    source = Renewing(left=5)
    service = Scripted(error(400, "ExpiredToken"))
    with pytest.raises(AccessDenied, match="the session has ended; get new credentials"):
        caller(service, source).send(call())
    assert source.renewals == 1 and len(service.sent) == 2


def test_nothing_newer() -> None:
    service = Scripted(error(400, "ExpiredToken"))
    with pytest.raises(AccessDenied, match="ExpiredToken"):
        caller(service).send(call())
    assert len(service.sent) == 1


def test_a_renewal_that_fails_after_a_lost_answer_leaves_it_unknown() -> None:
    source = Renewing(fails=CredentialsError("the role is gone"))
    with pytest.raises(OutcomeUnknown, match="the role is gone; it was sent and may have taken effect") as caught:
        caller(Scripted(LOST, error(400, "ExpiredToken")), source).send(write())
    assert isinstance(caught.value.__cause__, CredentialsError)
    with pytest.raises(CredentialsError):
        caller(Scripted(error(400, "ExpiredToken")), source).send(write())
    with pytest.raises(CredentialsError):
        caller(Scripted(LOST, error(400, "ExpiredToken")), source).send(call())


# Clocks that are off


def skewed(ahead: float, **more: Any) -> Response:
    return dated(error(403, "RequestTimeTooSkewed", **more), START + ahead)


@pytest.mark.parametrize("ahead", [1200.0, -1200.0, 86400.0 * 365])
def test_the_offset_is_learned_of_the_date(ahead: float, caplog: pytest.LogCaptureFixture) -> None:
    service = Scripted(skewed(ahead), OK)
    one = caller(service)
    one.send(call())
    one.send(call())
    first, second, third = (time.strptime(stamp, "%Y%m%dT%H%M%SZ") for stamp in service.stamps)
    assert calendar.timegm(second) - calendar.timegm(first) == ahead and second == third
    assert f"clock is {-ahead:.0f} s off" in caplog.text


def test_server_time_counts_more_than_a_proxys_date() -> None:
    service = Scripted(dated(error(403, "RequestTimeTooSkewed", ServerTime="2026-11-18T11:26:40Z"), START + 7200), OK)
    caller(service).send(call())
    assert service.stamps[1] == "20261118T112640Z"


@pytest.mark.parametrize(
    "answer",
    [
        bare(403),  # HEAD of S3
        bare(400),
        error(400, "AccessDenied"),  # rclone
        error(400, "InvalidSignatureException"),  # KMS
        error(403, "SignatureDoesNotMatch"),  # STS
        error(403, "RequestInTheFuture"),
        error(400, "RequestExpired"),
    ],
    ids=lambda answer: str(answer.status),
)
def test_other_words_for_it(answer: Response) -> None:
    service = Scripted(dated(answer, START + 1200), OK)
    caller(service).send(call(method="HEAD"))
    assert service.stamps[1] == "20261118T112640Z"


@pytest.mark.parametrize(
    "answer",
    [
        dated(error(403, "AccessDenied"), START + 100),  # the clocks are right
        dated(error(403, "InvalidAccessKeyId"), START + 1200),  # and this is not about time
        dated(error(404, "NoSuchKey"), START + 1200),
        error(403, "AccessDenied"),  # no date at all
        dated(error(501, "NotImplemented"), START + 1200),
    ],
    ids=lambda answer: str(answer.status),
)
def test_refusals_that_are_not_about_time(answer: Response) -> None:
    service = Scripted(answer, OK)
    with pytest.raises(ServiceError):
        caller(service).send(call())
    assert len(service.sent) == 1


def test_when_it_does_not_help_both_clocks_are_named() -> None:
    service = Scripted(skewed(1200))
    with pytest.raises(AccessDenied, match=r"clock says 2026-11-18T11:06:40Z, .*the service's 2026-11-18T11:26:40Z"):
        caller(service).send(call())
    assert len(service.sent) == 2


def test_a_service_whose_clock_jumps_is_not_followed_for_ever() -> None:
    service = Scripted(skewed(1200), skewed(9600), skewed(20_000), OK)
    with pytest.raises(AccessDenied, match="RequestTimeTooSkewed"):
        caller(service).send(call())
    assert len(service.sent) == 2


def test_an_offset_that_another_call_learned_meanwhile() -> None:
    """aws-sdk-js-v3#8005: only the first of several parallel calls was signed again."""

    def slow(_request: object) -> Response:
        one.send(call())  # another thread's, while this answer is on its way
        return skewed(1200)

    service = Scripted(slow, skewed(1200), OK)
    one = caller(service)
    assert one.send(call()) is OK
    assert service.stamps == ["20261118T110640Z", "20261118T110640Z", "20261118T112640Z", "20261118T112640Z"]


def test_expired_and_skewed_at_once() -> None:
    source = Renewing(left=0)
    service = Scripted(dated(error(400, "RequestExpired"), START + 1200), OK)
    caller(service, source).send(call())
    assert service.stamps[1] == "20261118T112640Z"


@pytest.fixture
def late() -> Iterator[S3Server]:
    """A server whose clock is twenty minutes ahead."""
    with S3Server(now=lambda: time.time() + 1200) as server:
        server.put("k", b"body")
        yield server


def client_of(server: S3Server, **more: Any) -> S3Client:
    keys = Credentials(server.access_key, server.secret_key)
    return S3Client(endpoint_url=server.url, region=server.region, credentials=keys, env={}, **more)


@pytest.mark.parametrize("method", ["get_object", "head_object"])
def test_a_real_server_twenty_minutes_ahead(late: S3Server, method: str) -> None:
    client = client_of(late)
    for _ in range(2):
        assert getattr(client, method)("state", "k").etag
    assert [record.status for record in late.requests] == [403, 200, 200]
    client.close()


def test_every_one_of_several_threads_is_put_right(late: S3Server) -> None:
    client, count = client_of(late), 8
    together = threading.Barrier(count)
    send = client.settings.transport.send

    def at_once(request: Any, **limits: Any) -> Response:
        response = send(request, **limits)
        if response.status == 403:
            together.wait(10)  # all were signed by the wrong clock before the first of them learns
        return response

    client.settings.transport.send = at_once  # type: ignore[method-assign]
    failures: list[BaseException] = []

    def read() -> None:
        try:
            client.get_object("state", "k")
        except BaseException as failed:
            failures.append(failed)

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and sorted(record.status for record in late.requests) == [200] * count + [403] * count
    client.close()


def test_a_clock_that_is_right_again(late: S3Server) -> None:
    client = client_of(late)
    client.get_object("state", "k")
    late.now = time.time
    assert client.get_object("state", "k").body == b"body"
    client.close()


# Corrections do not add up to a loop


def test_every_correction_once() -> None:
    """A service that says all of it again and again: three corrections, then the error."""
    source, asked = Renewing(left=9), []
    service = Scripted(
        error(400, "ExpiredToken"), skewed(1200), error(301, "PermanentRedirect"), error(400, "ExpiredToken"),
        skewed(9600), error(301, "PermanentRedirect"), OK,
    )  # fmt: skip

    def correct(one: Call, *_: object) -> Call:
        asked.append(one)
        return one

    with pytest.raises(AccessDenied, match="ExpiredToken"):
        caller(service, source, correct=correct).send(call())
    # The fourth answer is asked about once more by nobody: each kind was used up.
    assert len(service.sent) == 4 and len(asked) == 1 and source.renewals == 1


# Messages

TOKEN_ECHOED = Response(400, {}, b"<Error><Code>InvalidToken</Code><Token-0>planted-session-token</Token-0></Error>")


def test_a_header_that_would_split_is_refused() -> None:
    for value in ("a\r\nx-amz-acl: public-read", "a\nb", "é", "\ud800", "\x00"):
        service = Scripted(OK)
        with pytest.raises(ConfigurationError, match="the header 'x-amz-meta-a' has a line break or non-ASCII"):
            caller(service).send(write(headers={"x-amz-meta-a": value}))
        assert not service.sent


@pytest.mark.parametrize(
    "answers",
    [
        (LOST,), (NEVER_SENT,), (error(403, "SignatureDoesNotMatch", StringToSign="AWS4 planted-secret-key"),),
        (TOKEN_ECHOED,), (error(400, "ExpiredToken"),),
        (skewed(1200),), (Response(502, {}, b"planted-secret-key"),), (bare(403),), (LOST, error(412, "")),
    ],
    ids=str,
)  # fmt: skip
def test_no_secret_is_shown(answers: tuple[Any, ...], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    service = Scripted(*answers)
    for one in (call(), write(headers={"x-amz-security-token-2": "x"})):
        with pytest.raises(UnobinS3Error) as caught:
            caller(service, total=1.0).send(one)
        said = str(caught.value) + repr(caught.value) + repr(vars(caught.value)) + caplog.text
        frames = shown(caught.value)
        for secret in SECRETS:
            assert secret not in said and secret not in frames, secret
