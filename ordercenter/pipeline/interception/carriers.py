"""Asking the carriers to turn round what had left before an interception came.

The intent is a row (``ParcelStop.call_back``) before the call; no transaction is held over it.
"""

from datetime import datetime
from typing import Final

import httpx

from channels_sync import services as channels
from fulfillment import stops
from fulfillment.carriers.account import speaking
from fulfillment.carriers.wire import make_client
from fulfillment.contracts import CarrierError, CarrierRejected
from fulfillment.models import CarrierAccount
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce

AT_ONCE: Final = 20
TAKEN: Final = "快递已受理拦截，等待退回"


def ask_carriers(*, now: datetime | None = None, client: httpx.Client | None = None) -> str:
    """Ask for what is due; every answer is kept with its parcel. May run twice.

    A carrier that is asked again for the same parcel does nothing more (``Carrier.intercept``).
    """
    now = now or clock_now()
    calls = stops.claim_calls(limit=AT_ONCE, now=now)
    if not calls:
        return "no parcel is to be called back"
    accounts = {row.code: row for row in CarrierAccount.objects.filter(is_active=True)}
    taken = 0
    with client or make_client() as line:
        for call in calls:
            account = accounts.get(call.carrier)
            if account is None:
                stops.answered(call, taken=False, words="没有可用的快递账号", now=now)
                continue
            try:
                speaking(account, line).intercept(call.number)
            except CarrierRejected as error:
                words = channels.storable(error.fault.message, 300)
                stops.answered(call, taken=False, words=words, now=now)
            except CarrierError as error:
                words = channels.storable(error.fault.message, 300)
                stops.unanswered(call, words=words, now=now)
            else:
                stops.answered(call, taken=True, words=TAKEN, now=now)
                taken += 1
    announce("orders", called_back=len(calls))
    return f"{taken} of {len(calls)} parcels are to come back"
