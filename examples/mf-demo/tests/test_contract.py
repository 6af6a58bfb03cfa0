"""The checks that docs/image-contract.md tells people to type, typed against this server and the page's own example."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import PROJECT, Process, eventually

PAGE = PROJECT.parent.parent / "docs" / "image-contract.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="docs/image-contract.md is not here")


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"no {language} block in {PAGE}"
    return found[1]


@pytest.fixture
def check(launch: Callable[..., Process], tmp_path: Path) -> Callable[..., Process]:
    """check(body) starts a server, runs the page's checks with this body, and demands each expected status."""
    (tmp_path / "keys").write_text("secret\n", encoding="utf-8")

    def check_one(body: object, **env: object) -> Process:
        process = launch(MAX_REQUEST_BYTES=10_000, API_KEYS_FILE=tmp_path / "keys", **env)
        eventually(lambda: process.answers("/readyz"), 10)
        typed = subprocess.run(
            ["sh", "-eu", "-c", block(r"sh run=\S*test_contract\.py")],
            env={"PATH": "/usr/bin:/bin", "URL": process.url, "BODY": json.dumps(body)},
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        lines = typed.stdout.splitlines()
        assert len(lines) == 9, typed.stderr
        for line in lines:
            assert re.fullmatch(r".* (\d+) expected \1", line), line
        return process

    return check_one


def test_this_server_keeps_the_contract(check: Callable[..., Process], wine: dict[str, float]) -> None:
    check({"inputs": wine})


def test_the_pages_own_example_keeps_the_contract(check: Callable[..., Process], tmp_path: Path) -> None:
    (tmp_path / "smallest.py").write_text(block("python"), encoding="utf-8")
    process = check([1, 2, 3], module="smallest", PYTHONPATH=tmp_path)
    process.terminate()
    # As process 1 of a container it would be 0: there the signal that uvicorn raises again has no effect.
    assert process.wait() in (0, -15)


def test_the_example_does_not_start_with_an_empty_key_file(launch: Callable[..., Process], tmp_path: Path) -> None:
    (tmp_path / "smallest.py").write_text(block("python"), encoding="utf-8")
    (tmp_path / "keys").write_text("\n", encoding="utf-8")
    process = launch(module="smallest", PYTHONPATH=tmp_path, API_KEYS_FILE=tmp_path / "keys")
    assert process.wait() == 1
    assert "holds no key" in process.output()


def test_the_page_names_every_variable_the_server_reads() -> None:
    page = PAGE.read_text(encoding="utf-8")
    source = (PROJECT / "mf_demo" / "settings.py").read_text(encoding="utf-8")
    names = re.findall(r'\bread\(\s*"([A-Z_]+)"', source)
    assert len(names) == 14
    for name in names:
        assert f"`{name}`" in page, name
