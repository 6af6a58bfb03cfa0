from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from mf_demo import keys as keys_module
from mf_demo.keys import ApiKeys
from mf_demo.settings import SettingsError

Start = Callable[..., httpx.Client]


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_bytes("newest-key\n\n  previous-key \r\nschlüssel\n".encode())
    return path


@pytest.fixture
def guarded(start: Start, keys_file: Path) -> httpx.Client:
    return start(api_keys_file=keys_file)


@pytest.mark.parametrize(
    "value", ["Bearer newest-key", "Bearer previous-key", "bearer newest-key", "Bearer schlüssel".encode()]
)
def test_each_accepted_key_opens_the_api(guarded: httpx.Client, wine: dict[str, float], value: Any) -> None:
    assert guarded.post("/predict", json={"inputs": wine}, headers={"authorization": value}).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "newest-key",
        "Basic newest-key",
        "Bearer newest-ke",
        "Bearer newest-key2",
        "Bearer NEWEST-KEY",
        "Bearer newest-key previous-key",
        "Bearer \\n",
        b"Bearer \xff",
        "Bearer " + "x" * 10_000,
    ],
)
def test_anything_else_is_unauthorized(guarded: httpx.Client, wine: dict[str, float], value: Any) -> None:
    headers = {} if value is None else {"authorization": value}
    response = guarded.post("/predict", json={"inputs": wine}, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "newest-key" not in response.text


def test_two_authorization_headers_are_refused(guarded: httpx.Client, wine: dict[str, float]) -> None:
    headers = [("authorization", "Bearer newest-key"), ("authorization", "Bearer other")]
    assert guarded.post("/predict", json={"inputs": wine}, headers=headers).status_code == 401


def test_only_probes_and_metrics_are_open(guarded: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert guarded.get(path).status_code == 200, path
    for path in ("/predict", "/docs", "/openapi.json", "/nothing", "/livez/", "//livez", "/LIVEZ"):
        assert guarded.get(path).status_code == 401, path


def test_the_body_of_an_unknown_caller_is_not_judged(guarded: httpx.Client) -> None:
    assert guarded.post("/predict", content=b"{").status_code == 401


def test_without_a_key_file_everyone_may_ask(start: Start, wine: dict[str, float]) -> None:
    assert start(api_keys_file="").post("/predict", json={"inputs": wine}).status_code == 200


@pytest.mark.parametrize("content", [b"", b"\n \r\n\t\n"])
def test_a_key_file_without_keys_is_an_error_not_an_open_door(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="holds no key"):
        ApiKeys.load(path)


def test_a_key_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*keys \(No such file"):
        ApiKeys.load(tmp_path / "keys")
    with pytest.raises(SettingsError, match=r"cannot read .* \(Is a directory"):
        ApiKeys.load(tmp_path)


def test_every_key_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    class Counting:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append((len(one), len(other)))
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(keys_module, "hmac", Counting)
    keys = ApiKeys([b"first", b"second", b"a much longer third key"])
    for candidate, accepted in ((b"first", True), (b"a much longer third key", True), (b"wrong", False), (b"", False)):
        compared.clear()
        assert keys.accepts(candidate) is accepted
        # All three, and always digests: neither the place nor the length of a key shows in the time taken.
        assert compared == [(32, 32)] * 3


def test_no_key_is_kept_in_memory_as_it_is(keys_file: Path) -> None:
    assert "newest-key" not in repr(vars(ApiKeys.load(keys_file)))


def test_the_schema_tells_that_a_key_is_needed_only_where_it_is(start: Start, guarded: httpx.Client) -> None:
    schema = guarded.get("/openapi.json", headers={"authorization": "Bearer newest-key"}).json()
    assert schema["paths"]["/predict"]["post"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in schema["paths"]["/livez"]["get"]
    assert "security" not in start().get("/openapi.json").json()["paths"]["/predict"]["post"]
