# SPDX-License-Identifier: MIT
"""What comes before a lock is asked for: are the arguments sane, do the credentials live long enough, can this store
exclude, and what does SIGTERM do meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import FrameType

from . import environ
from .acquire import Acquisition, Wish
from .errors import ConfigurationError, CredentialsError, LeaseUnsupported
from .holder import LEASE_MAX, LEASE_MIN, LockInfo, own_name, run_url
from .lock import Lock
from .place import Place
from .probe import StoreReport, require_exclusion
from .state.revision import format_time

_logger = logging.getLogger(__name__)

_SPARE = 60.0  # seconds that credentials must outlive the wait for a lock


def take_lock(place: Place, wish: Wish, report: StoreReport | None) -> Lock:
    """Check, prove, acquire. Raises what `Store.lock` says."""
    _check(wish)
    restore = _sigterm_raises() if wish.handle_sigterm else None
    try:
        _check_lifetime(place, max((wish.timeout or 0) + _SPARE, wish.lease or 0))
        _prove(place, report, lease=wish.lease is not None)
        trusted = place.client.is_amazon or report is not None
        lock = Acquisition(
            place,
            _own_info(place, wish),
            wish,
            trusted=trusted,
            can_take_over=lambda: _can_take_over(place, report),
        ).run()
    except BaseException:
        if restore is not None:
            restore()
        raise
    if restore is not None:
        lock.undo.append(restore)
    return lock


def _check(wish: Wish) -> None:
    timeout, poll, lease = wish.timeout, wish.poll, wish.lease
    if timeout is not None and not timeout >= 0:
        raise ConfigurationError(f"timeout must be 0 or more seconds, or None, not {timeout!r}")
    if not 0.01 <= poll <= 3600:
        raise ConfigurationError(f"poll must be between 0.01 and 3600 seconds, not {poll!r}")
    if lease is not None and (type(lease) is not int or not LEASE_MIN <= lease <= LEASE_MAX):
        raise ConfigurationError(
            f"lease must be a whole number of seconds from {LEASE_MIN} to {LEASE_MAX}, not {lease!r}"
        )


def _own_info(place: Place, wish: Wish) -> LockInfo:
    clock, env = place.client.clock, environ.read()
    return LockInfo(
        id=clock.token(16).hex(),
        who=wish.who or own_name(env),
        created=format_time(clock.time_ns()),
        lease=wish.lease,
        run_url=run_url(env),
    )


def _prove(place: Place, report: StoreReport | None, *, lease: bool) -> None:
    require_exclusion(
        place.client,
        place.bucket,
        place.layout.directory,
        lease=lease,
        report=report,
        kms_key_id=place.kms_key_id,
    )


def _can_take_over(place: Place, report: StoreReport | None) -> bool:
    try:
        _prove(place, report, lease=True)
    except LeaseUnsupported as error:
        _logger.warning("an expired lease is not taken over: %s", error)
        return False
    return True


def _check_lifetime(place: Place, seconds: float) -> None:
    """Refuse to lock with credentials that end sooner than `seconds`, unless renewing them helps."""
    source, clock = place.client.settings.credentials, place.client.clock
    used = source.get()
    if used.expires_at is not None and used.expires_at.timestamp() - clock.time() < seconds:
        used = source.renew(used) or used
    if used.expires_at is None:
        return
    left = used.expires_at.timestamp() - clock.time()
    if left < seconds:
        raise CredentialsError(
            f"the AWS credentials end in {left:.0f} s, but holding the lock of {place} needs {seconds:.0f} s; "
            "get new ones, or ask for a shorter timeout or lease"
        )


def _sigterm_raises() -> Callable[[], None]:
    """Make SIGTERM raise SystemExit, so that `with` gives the lock back; returns how to undo it.

    Nothing is sent from the handler itself: the interrupted code may hold the connection pool's lock.
    """
    import signal  # 2 ms, and only for those who ask for it

    if threading.current_thread() is not threading.main_thread():
        raise ConfigurationError("handle_sigterm works in the main thread only; leave it out here")

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)

    def restore() -> None:
        # Only the main thread may set handlers; a release elsewhere leaves ours, which does no harm.
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is leave:
            signal.signal(signal.SIGTERM, before)

    return restore
