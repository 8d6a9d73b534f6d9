import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with a short path that other accounts may pass through.

    pytest keeps ``tmp_path`` to itself, and under root the server runs as
    another account.
    """
    folder = Path(tempfile.mkdtemp(prefix="oc-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
