"""Tokens are renewed before they run out, so that no call has to find out."""

import logging
from datetime import timedelta
from typing import Final

import httpx
from django.db.models import Q

from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import ConnectorError
from channels_sync.models import ShopCredential
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline.calling import renew_token

logger = logging.getLogger(__name__)
EARLY: Final = timedelta(minutes=30)
"""Douyin gives a new token in the last hour only (``channels.md`` 3a)."""


def renew_tokens() -> str:
    """Renew what runs out soon; one shop's refusal is its own, and shows on its line."""
    now = clock_now()
    due = ShopCredential.objects.filter(shop__is_active=True, expires_at__lte=now + EARLY).filter(
        Q(refresh_expires_at=None) | Q(refresh_expires_at__gt=now)
    )
    renewed = 0
    with make_client() as client:
        for credential in due.select_related("shop"):
            renewed += _renew(credential, client)
    return f"{renewed} of {len(due)} tokens renewed"


def _renew(credential: ShopCredential, client: httpx.Client) -> bool:
    try:
        renew_token(credential.pk, client)
    except ConnectorError as error:
        logger.warning("token of shop %s not renewed: %s", credential.pk, error.error.code)
        return False
    return True
