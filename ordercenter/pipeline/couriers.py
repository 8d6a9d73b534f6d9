"""What the carriers are asked for by themselves: numbers given back, scans of quiet parcels.

Nothing here holds a transaction over a call; each function finds its own work and may run twice.
"""

import logging
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q

from channels_sync import services as channels
from channels_sync.connectors.exchange import make_client
from fulfillment import traces
from fulfillment.carriers.account import speaking
from fulfillment.contracts import Carrier, CarrierError, CarrierRejected
from fulfillment.models import CarrierAccount, Parcel, Waybill
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now

logger = logging.getLogger(__name__)
AT_ONCE: Final = 200
CALL_OVER: Final = timedelta(minutes=2)
"""After that no call for a number is still on its way."""


def void_waybills(*, now: datetime | None = None) -> str:
    """Give the numbers of void labels back to their carriers, so that nobody bills them."""
    now = now or clock_now()
    waiting = Waybill.objects.filter(
        Q(voided_at__lte=now) & ~Q(number="") | Q(voided_at__lte=now - CALL_OVER),
        state=Waybill.State.VOID,
        void_done_at=None,
    ).order_by("voided_at")[:AT_ONCE]
    done = 0
    for waybill in waiting:
        account = CarrierAccount.objects.filter(code=waybill.carrier, is_active=True).first()
        if account is None:
            continue
        try:
            with make_client() as client:
                done += _give_back(waybill, speaking(account, client))
        except CarrierError as error:
            # What the carrier has refused for good is not asked again; the words stay.
            final = clock_now() if isinstance(error, CarrierRejected) else None
            words = channels.storable(error.fault.message, 300)
            Waybill.objects.filter(pk=waybill.pk).update(error=words, void_done_at=final)
            continue
        Waybill.objects.filter(pk=waybill.pk).update(void_done_at=clock_now(), error="")
    return f"{done} waybills given back"


def _give_back(waybill: Waybill, carrier: Carrier) -> bool:
    """Return a void number. Where none came back from the call, the carrier may know of one."""
    number = waybill.number
    if not number:
        found = carrier.find(waybill.client_reference)
        if found is None:
            return False
        number = found.number
        Waybill.objects.filter(pk=waybill.pk, number="").update(number=number)
    carrier.cancel(waybill.client_reference, number)
    return True


def ask_traces(*, now: datetime | None = None, quiet: timedelta = timedelta(minutes=10)) -> str:
    """Ask the carriers about parcels they have not told us anything of for a while."""
    now = now or clock_now()
    quiet_since = now - quiet
    silent = (
        Waybill.objects.filter(
            state=Waybill.State.LIVE,
            parcel__state=Parcel.State.SHIPPED,
            parcel__shipped_at__lte=quiet_since,
        )
        .exclude(traces__occurred_at__gte=quiet_since)
        .order_by("parcel__shipped_at")
        .values_list("carrier", "number")[:100]
    )
    by_carrier: dict[str, list[str]] = defaultdict(list)
    for carrier, number in silent:
        by_carrier[carrier].append(number)
    new = 0
    for carrier, numbers in by_carrier.items():
        account = CarrierAccount.objects.filter(code=carrier, is_active=True).first()
        if account is None:
            continue
        for start in range(0, len(numbers), 10):
            try:
                with make_client() as client:
                    events = speaking(account, client).traces(numbers[start : start + 10])
            except CarrierError as error:
                logger.warning("carrier %s does not answer: %s", carrier, error.fault.code)
                break
            with transaction.atomic():
                new += traces.take_events(carrier, events, actor=Actor.job("ask_traces"), now=now)
    return f"{new} new scans"
