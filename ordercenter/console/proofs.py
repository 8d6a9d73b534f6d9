"""The proof of a tier-3 decision as a file: JSON for the verifier, a page for people."""

import json
from datetime import UTC, datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_POST

from ordercenter.audit import proof
from ordercenter.audit.models import Action
from ordercenter.console.access import me, page
from ordercenter.console.orders import order_in_scope
from ordercenter.core.actor import Actor
from ordercenter.core.policy import Can
from ordercenter.orders.states import HoldKind, Tier
from ordercenter.pipeline import approval_proof

KINDS = {"json": "application/json", "html": "text/html; charset=utf-8"}


@require_POST
@page(Can.EXPORT_PROOF)
def export_proof(request: HttpRequest, number: str) -> HttpResponse:
    """Download the proof of one order. Each download is on record, with its fingerprint."""
    order = order_in_scope(request, number)
    kind = request.POST.get("kind", "")
    if kind not in KINDS:
        raise Http404
    document = approval_proof.export_proof(order.pk, user=me(request), actor=Actor.of(request))
    if kind == "json":
        body = json.dumps(document, ensure_ascii=False, indent=1)
    else:
        body = render_to_string("console/proof_file.html", readable(document))
    answer = HttpResponse(body, content_type=KINDS[kind])
    answer["Content-Disposition"] = f'attachment; filename="proof-{order.pk}.{kind}"'
    return answer


def readable(document: proof.Document) -> dict[str, Any]:
    """What the page for people shows of a proof."""
    words, kinds, tiers = dict(Action.choices), dict(HoldKind.choices), dict(Tier.choices)
    records = [
        {
            **facts,
            "what": words.get(facts["action"], facts["action"]),
            "at": datetime.fromtimestamp(facts["created_at"], UTC),
            "hash": record["hash"],
            "previous": record["previous"],
            "seq": record["seq"],
            "seal": record["seal"],
        }
        for record in document["records"]
        for facts in [proof.facts_of(record)]
    ]
    return {
        "proof": document,
        "fingerprint": proof.fingerprint(document),
        "records": records,
        "decided": [one for one in records if one["action"] in proof.DECISIONS],
        "holds": [
            {**hold, "kind_words": kinds.get(hold["kind"]), "tier_words": tiers.get(hold["tier"])}
            for hold in document["holds"]
        ],
        "last": document["seals"][-1],
    }
