"""A proof of what was decided on a frozen order, checked by who has nothing but the file (M15)."""

import copy
import hashlib
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client, override_settings

from ordercenter.audit import proof, seals, signing
from ordercenter.audit.models import AuditRecord
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import approval_proof, decisions
from tests.factories import ShopAssignmentFactory, user_with
from tests.pipeline.seller import REASON, Seller, as_person, draft, somebody, take_one

pytestmark = pytest.mark.django_db
OTHER_KEYS = {1: "b3RoZXIta2V5LW90aGVyLWtleS1vdGhlci1rZXkhISE="}
PERSON = ("欧阳娜娜", "13812345678", "星湖街328号")


@pytest.fixture
def ceo() -> User:
    return user_with(Role.CEO, username="ceo")


@pytest.fixture
def decided(seller: Seller, boss: User, ceo: User) -> SalesOrder:
    """Frozen, asked for by the supervisor, let go by the CEO."""
    receiver = somebody(name=PERSON[0], phone=PERSON[1], address=PERSON[2])
    order = take_one(seller.shop, draft(receiver=receiver))
    actor = as_person(boss)
    decisions.freeze_order(order.pk, user=boss, actor=actor, reason=REASON)
    OrderHold.objects.open().filter(order=order).update(tier="3")
    for act, user in ((decisions.ask_release, boss), (decisions.approve_release, ceo)):
        order.refresh_from_db()
        act(
            order.pk, user=user, actor=as_person(user), seen_version=order.version,
            reason=f"{REASON}，{user.get_username()}",
        )  # fmt: skip
    order.refresh_from_db()
    return order


@pytest.fixture
def document(decided: SalesOrder, boss: User) -> proof.Document:
    made = approval_proof.export_proof(decided.pk, user=boss, actor=as_person(boss))
    read: proof.Document = json.loads(json.dumps(made))
    return read


def wrong(document: Any) -> list[str]:
    return proof.problems(document, signing.own_keys())


def test_a_proof_holds_and_names_who_decided_what_and_why(
    document: proof.Document, decided: SalesOrder
) -> None:
    assert wrong(document) == []
    asked, approved = document["decisions"]
    assert (asked["action"], asked["actor_role"]) == ("release_asked", "warehouse_supervisor")
    assert (approved["action"], approved["actor_name"]) == ("hold_released", "ceo")
    assert approved["reason"].endswith("，ceo")
    assert document["subject"]["number"] == decided.number
    assert len(document["records"]) == decided.version
    assert document["holds"][0]["tier"] == "3"
    assert document["verdicts"][0]["rule_set_version"] == 0
    assert len(document["verdicts"][0]["rule_set_hash"]) == 64


def test_a_proof_holds_no_receiver(document: proof.Document) -> None:
    text = json.dumps(document, ensure_ascii=False)
    for secret in PERSON:
        assert secret not in text


def test_that_it_was_made_is_on_record_with_its_fingerprint(
    document: proof.Document, decided: SalesOrder
) -> None:
    record = AuditRecord.objects.get(action="proof_exported")
    assert (record.object_type, record.object_id) == ("order", decided.pk)
    assert record.change == {"fingerprint": [None, proof.fingerprint(document)]}


def test_a_second_proof_goes_on_from_the_first(decided: SalesOrder, boss: User) -> None:
    """It holds the record of the first export, and the seals follow one another."""
    for count in (1, 2, 3):
        made = approval_proof.export_proof(decided.pk, user=boss, actor=as_person(boss))
        assert wrong(made) == []
        assert len({record["seal"] for record in made["records"]}) == count
    actions = [proof.facts_of(record)["action"] for record in made["records"]]
    assert actions.count("proof_exported") == 2


def other_reason(document: proof.Document) -> None:
    document["decisions"][1]["reason"] = "别的理由，没有问题"


def other_text(document: proof.Document) -> None:
    one = document["records"][-1]
    one["text"] = one["text"].replace(REASON, "别的理由")


def other_text_and_hash(document: proof.Document) -> None:
    other_text(document)
    one = document["records"][-1]
    text = bytes.fromhex(one["previous"]) + one["text"].encode()
    one["hash"] = hashlib.sha256(text).hexdigest()


def a_record_less(document: proof.Document) -> None:
    del document["records"][1]


def the_last_record_gone(document: proof.Document) -> None:
    gone = document["records"].pop()
    assert gone
    document["decisions"] = proof.decisions_of(document["records"])


def a_seal_changed(document: proof.Document) -> None:
    document["seals"][0]["sealed_at"] = "2020-01-01T00:00:00+00:00"


def a_verdict_changed(document: proof.Document) -> None:
    document["verdicts"][0]["rule_set_version"] += 1


def a_hold_taken_out(document: proof.Document) -> None:
    document["holds"].clear()


def another_key(document: proof.Document) -> None:
    document["key"] = "00" * 32


FORGERIES: list[Callable[[proof.Document], None]] = [
    other_reason, other_text, other_text_and_hash, a_record_less, the_last_record_gone,
    a_seal_changed, a_verdict_changed, a_hold_taken_out, another_key,
]  # fmt: skip


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_whatever_is_changed_in_the_file_is_found(
    document: proof.Document, forge: Callable[[proof.Document], None]
) -> None:
    forged = copy.deepcopy(document)
    forge(forged)
    assert wrong(forged)


@pytest.mark.parametrize("forge", FORGERIES[:6], ids=lambda forge: forge.__name__)
def test_a_forgery_signed_by_somebody_else_is_found_by_his_key_and_by_the_seals(
    document: proof.Document, forge: Callable[[proof.Document], None]
) -> None:
    forged = copy.deepcopy(document)
    forge(forged)
    del forged["signature"]
    with override_settings(ORDERCENTER_DATA_KEYS=OTHER_KEYS):
        forged = proof.signed(forged)
        his = signing.public_key()
    assert "签名所用公钥不受信任" in wrong(forged)
    if forge is not other_reason:
        assert len(proof.problems(forged, [his])) > 0, "the seals are ours, not his"


@pytest.mark.parametrize(
    "nonsense",
    [None, [], {}, "proof", 7, {"format": "x"}, {"format": proof.FORMAT},
     {"format": proof.FORMAT, "key": 1, "signature": 2, "records": 3, "seals": 4},
     {"format": proof.FORMAT, "key": "zz", "signature": "zz", "records": [{}], "seals": [{}],
      "decisions": []}],
    ids=str,
)  # fmt: skip
def test_nonsense_is_no_proof_and_no_crash(nonsense: Any) -> None:
    assert wrong(nonsense)


def test_the_verifier_needs_no_database(
    document: proof.Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(document, ensure_ascii=False))
    folder = tmp_path / "seals"
    seals.publish(folder)

    def no_database(*_: Any, **__: Any) -> Any:
        raise AssertionError("asked the database")

    out = StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(connections["default"], "cursor", no_database)
        call_command("verify_proof", str(path), "--json", seals=str(folder), stdout=out)
        told = json.loads(out.getvalue())
        assert (told["ok"], told["fingerprint"]) == (True, proof.fingerprint(document))
        call_command("verify_proof", str(path), key=[document["key"]], stdout=StringIO())
        with pytest.raises(CommandError, match="不受信任"):
            call_command("verify_proof", str(path), key=["ab" * 32], stdout=StringIO())
        with pytest.raises(CommandError, match="外部留存"):
            call_command("verify_proof", str(path), seals=str(tmp_path / "none"),
                         stdout=StringIO())  # fmt: skip
        with pytest.raises(CommandError, match="无法读取"):
            call_command("verify_proof", str(tmp_path / "missing"), stdout=StringIO())
        path.write_text("[" * 100_000)
        with pytest.raises(CommandError, match="无法读取"):
            call_command("verify_proof", str(path), stdout=StringIO())


def test_only_who_may_takes_a_proof_and_only_of_what_was_frozen(
    seller: Seller, decided: SalesOrder, boss: User
) -> None:
    for role in set(Role) - {Role.CEO, Role.WAREHOUSE_SUPERVISOR, Role.OPERATIONS_SUPERVISOR}:
        user = user_with(role)
        with pytest.raises(NotAllowed):
            approval_proof.export_proof(decided.pk, user=user, actor=as_person(user))
    plain = take_one(seller.shop, draft())
    with pytest.raises(InvalidInput):
        approval_proof.export_proof(plain.pk, user=boss, actor=as_person(boss))
    with pytest.raises(NotFound):
        approval_proof.export_proof(999_999, user=boss, actor=as_person(boss))
    assert not AuditRecord.objects.filter(action="proof_exported").exists()


def test_the_page_gives_both_files_and_offers_them_only_where_there_is_something_to_prove(
    seller: Seller, decided: SalesOrder, ceo: User
) -> None:
    client = Client()
    client.force_login(ceo)
    path = f"/orders/{decided.number}/"
    assert "导出审批证明" in client.get(path).content.decode()
    answer = client.post(f"{path}proof/", {"kind": "json"})
    assert answer["Content-Disposition"].startswith("attachment")
    assert wrong(json.loads(answer.content)) == []
    page = client.post(f"{path}proof/", {"kind": "html"}).content.decode()
    assert "三级冻结审批证明" in page
    assert f"{REASON}，ceo" in page
    assert "<script" not in page
    plain = take_one(seller.shop, draft())
    assert "导出审批证明" not in client.get(f"/orders/{plain.number}/").content.decode()


def test_a_clerk_of_the_shop_sees_no_way_to_it(seller: Seller, decided: SalesOrder) -> None:
    clerk = user_with(Role.CLERK)
    ShopAssignmentFactory.create(user=clerk, shop=seller.shop)
    client = Client()
    client.force_login(clerk)
    assert "导出审批证明" not in client.get(f"/orders/{decided.number}/").content.decode()
    assert client.post(f"/orders/{decided.number}/proof/", {"kind": "json"}).status_code == 403
