from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mf_demo.schemas import MAX_BATCH

JSON = {"content-type": "application/json"}


def predict(client: httpx.Client, inputs: Any) -> httpx.Response:
    return client.post("/predict", json={"inputs": inputs})


def test_one_wine_gets_one_prediction(client: httpx.Client, card: dict[str, Any]) -> None:
    response = predict(client, card["sample"]["input"])
    assert response.status_code == 200
    body = response.json()
    assert body["model"] == {"name": "wine", "version": card["sha256"][:12]}
    (prediction,) = body["predictions"]
    assert prediction["label"] == card["sample"]["label"]
    assert prediction["probabilities"] == pytest.approx(card["sample"]["probabilities"], abs=1e-6)
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_batch_is_answered_in_its_order(client: httpx.Client, wine: dict[str, float]) -> None:
    inputs = [wine, wine | {"proline": 1500, "alcohol": 14.5}, wine]
    together = predict(client, inputs).json()["predictions"]
    alone = [predict(client, one).json()["predictions"][0] for one in inputs]
    assert [p["label"] for p in together] == [p["label"] for p in alone]
    assert together[0] == together[2] != together[1]


def test_the_order_of_the_names_does_not_matter(client: httpx.Client, wine: dict[str, float]) -> None:
    assert predict(client, dict(reversed(wine.items()))).json() == predict(client, wine).json()


def test_the_largest_batch_is_answered_and_one_more_is_refused(client: httpx.Client, wine: dict[str, float]) -> None:
    assert len(predict(client, [wine] * MAX_BATCH).json()["predictions"]) == MAX_BATCH
    refused = predict(client, [wine] * (MAX_BATCH + 1))
    assert refused.status_code == 422
    assert refused.json()["problems"][0]["where"] == "inputs"


def test_extreme_but_allowed_values_still_give_probabilities(client: httpx.Client, wine: dict[str, float]) -> None:
    for value in (0, 1e-300, 1_000_000):
        probabilities = predict(client, dict.fromkeys(wine, value)).json()["predictions"][0]["probabilities"]
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("NaN", "finite"),
        ("Infinity", "finite"),
        ("-Infinity", "finite"),
        ("1e999", "finite"),
        # Finite, but not as a 32-bit float.
        ("1e300", "less than or equal"),
        ("1" + "0" * 400, "finite|less than or equal|valid number"),
        ("-1", "greater than or equal"),
        ('"13.2"', "valid number"),
        ("true", "valid number"),
        ("null", "valid number"),
        ("[13.2]", "valid number"),
    ],
)
def test_a_value_that_is_no_finite_number_is_refused_with_its_place(
    client: httpx.Client, wine: dict[str, float], value: str, what: str
) -> None:
    body = json.dumps({"inputs": [wine, wine | {"hue": "HERE"}]}).replace('"HERE"', value)
    response = client.post("/predict", content=body, headers=JSON)
    assert response.status_code == 422
    (problem,) = response.json()["problems"]
    assert problem["where"] == "inputs.1.hue"
    assert any(part in problem["what"] for part in what.split("|")), problem["what"]


def test_a_missing_and_a_misspelt_name_are_both_told(client: httpx.Client, wine: dict[str, float]) -> None:
    misspelt = {("color_intensty" if name == "color_intensity" else name): value for name, value in wine.items()}
    problems = predict(client, misspelt).json()["problems"]
    assert {problem["where"] for problem in problems} == {"inputs.0.color_intensity", "inputs.0.color_intensty"}


def test_many_problems_are_cut_and_counted(client: httpx.Client) -> None:
    body = predict(client, [{}] * 100).json()
    assert len(body["problems"]) == 20
    assert "1280 more problems" in body["message"]


def test_an_answer_never_repeats_the_input(client: httpx.Client, wine: dict[str, float]) -> None:
    assert "somebody's data" not in predict(client, wine | {"hue": "somebody's data"}).text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"inputs": []}',
        b'{"inputs": null}',
        b'{"inputs": {}}',
        b'{"inputs": [[1, 2, 3]]}',
        b'{"inputs": [], "more": 1}',
        b'{"inputs": {"\\ud800": 1}}',
        b'{"inputs": {"' + b"x" * 100_000 + b'": 1}}',
        b"\xff\xfe\x00",
        b'{"inputs": "\xff"}',
        b"[" * 100_000,
        b'{"inputs":' * 20_000,
        b"1" * 50_000,
        b"\x00" * 10,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_malformed_body_is_the_callers_error(client: httpx.Client, body: bytes) -> None:
    response = client.post("/predict", content=body, headers=JSON)
    assert response.status_code in (400, 422)
    assert response.json()["code"] in ("bad_request", "invalid_input")
    assert len(response.content) < 5000


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "nonsense;;"])
def test_a_body_that_does_not_say_it_is_json_is_refused(
    client: httpx.Client, wine: dict[str, float], content_type: str | None
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = client.post("/predict", content=json.dumps({"inputs": wine}), headers=headers)
    assert response.status_code == 422


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(ANY_JSON, st.fixed_dictionaries({"inputs": ANY_JSON})).map(json.dumps) | st.binary(max_size=50))
def test_no_body_at_all_makes_the_server_fail(client: httpx.Client, body: str | bytes) -> None:
    response = client.post("/predict", content=body, headers=JSON)
    assert 400 <= response.status_code < 500


def test_a_request_that_offers_http2_is_answered_with_its_body_read(
    client: httpx.Client, wine: dict[str, float]
) -> None:
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"}
    assert client.post("/predict", json={"inputs": wine}, headers=offer).status_code == 200


def test_other_paths_and_methods_get_the_same_kind_of_answer(client: httpx.Client) -> None:
    assert client.get("/nothing").json()["code"] == "not_found"
    response = client.request("DELETE", "/predict")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    # No redirect to /predict.
    assert client.post("/predict/").status_code == 404
