"""Open a carrier account's secrets for a call; never for a screen."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import httpx

from fulfillment.carriers import CARRIERS
from fulfillment.contracts import Carrier, CarrierAccess
from fulfillment.models import CarrierAccount
from ordercenter.core.sealing import seal, unseal

SECRET_PURPOSE: Final = "carrier-account"  # noqa: S105 - what the key is bound to


def seal_secrets(*, secret: str, push_token: str) -> bytes:
    return seal({"secret": secret, "push_token": push_token}, purpose=SECRET_PURPOSE)


def speaking(account: CarrierAccount, client: httpx.Client | None = None) -> Carrier:
    """The account's carrier with its secrets, over this client."""
    secrets: dict[str, Any] = unseal(account.sealed, purpose=SECRET_PURPOSE)
    options: Mapping[str, Any] = account.options
    access = CarrierAccess(
        account=account.code,
        base_url=account.base_url,
        partner_id=account.account,
        secret=secrets["secret"],
        push_token=secrets["push_token"],
        options={k: v if isinstance(v, str) else json.dumps(v) for k, v in options.items()},
    )
    return CARRIERS[account.code](access, client)


@lru_cache(maxsize=16)
def reading(code: str) -> Carrier:
    """A carrier that only reads: no secrets, no network."""
    return CARRIERS[code](CarrierAccess("", "", "", ""))
