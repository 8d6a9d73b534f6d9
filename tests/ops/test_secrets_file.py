import base64
import os
import stat
from functools import partial
from pathlib import Path

import pytest

from ordercenter.core.secrets_file import MAKERS, SecretsFileError, load_or_create


def test_the_first_run_makes_secrets_that_only_their_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secrets.env"
    found = load_or_create(path)
    assert set(found) == set(MAKERS)
    assert len(set(found.values())) == len(MAKERS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("ORDERCENTER_DATA_KEY", "ORDERCENTER_INDEX_KEY"):
        assert len(base64.urlsafe_b64decode(found[name])) == 32


def test_the_second_run_reads_what_the_first_made(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    assert load_or_create(path) == load_or_create(path)


def test_processes_that_start_at_once_agree_on_the_secrets(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    seen: list[int] = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            os._exit(hash_of(load_or_create(path)["SECRET_KEY"]))
        seen.append(child)
    codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in seen}
    assert codes == {hash_of(load_or_create(path)["SECRET_KEY"])}
    assert [entry.name for entry in tmp_path.iterdir()] == ["secrets.env"]


def hash_of(text: str) -> int:
    return sum(text.encode()) % 251 + 1


def test_a_file_that_lost_a_key_is_refused_and_not_filled_up(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    load_or_create(path)
    kept = [line for line in path.read_text().splitlines() if "DATA_KEY" not in line]
    path.write_text("\n".join(kept))
    with pytest.raises(SecretsFileError, match="ORDERCENTER_DATA_KEY"):
        load_or_create(path)
    assert path.read_text() == "\n".join(kept)


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    read = partial(load_or_create, tmp_path / "file" / "secrets.env")
    with pytest.raises(SecretsFileError, match="ORDERCENTER_DATA") as caught:
        read()
    assert "\n" not in str(caught.value)
