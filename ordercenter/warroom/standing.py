"""Whether the user behind a socket may still look. Sockets live long; rights do not."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from ordercenter.core.policy import Can, allows

UNKNOWN: Final = 4401
"""Close code: no session, an expired one, or a user who is disabled or has a new password."""
FORBIDDEN: Final = 4403
"""Close code: a known user without the right to see the board."""


def close_codes(session_keys: Collection[str]) -> Mapping[str, int]:
    """For each of the sessions that may not look: the code to close its sockets with."""
    sessions = Session.objects.filter(session_key__in=session_keys, expire_date__gt=timezone.now())
    claims = {row.session_key: row.get_decoded() for row in sessions}
    users = _users({claim.get(SESSION_KEY, "") for claim in claims.values()})
    codes = {key: _code(claims.get(key, {}), users) for key in session_keys}
    return {key: code for key, code in codes.items() if code}


def _users(ids: Collection[str]) -> Mapping[str, Any]:
    numbers = [int(text) for text in ids if text.isdecimal()]
    return {
        str(user.pk): user
        for user in get_user_model().objects.filter(pk__in=numbers, is_active=True)
    }


def _code(claim: Mapping[str, Any], users: Mapping[str, Any]) -> int:
    user = users.get(claim.get(SESSION_KEY, ""))
    if user is None:
        return UNKNOWN
    if not constant_time_compare(claim.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()):
        return UNKNOWN
    return 0 if allows(user, Can.VIEW_BOARD) else FORBIDDEN
