from __future__ import annotations

import httpx


def test_predict_declares_every_status_it_can_answer(client: httpx.Client) -> None:
    responses = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]
    assert set(responses) == {"200", "400", "401", "408", "413", "422", "429", "500", "503", "504"}
    for status, response in responses.items():
        schema = response["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
        assert schema == ("PredictResponse" if status == "200" else "Problem")


def test_one_wine_and_a_batch_are_both_in_the_schema(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    one, batch = schemas["PredictRequest"]["properties"]["inputs"]["anyOf"]
    assert one == {"$ref": "#/components/schemas/Wine"}
    assert (batch["items"], batch["minItems"], batch["maxItems"]) == (one, 1, 256)
    assert schemas["Wine"]["additionalProperties"] is False
    assert len(schemas["Wine"]["required"]) == 13


def test_readiness_declares_its_503(client: httpx.Client) -> None:
    assert set(client.get("/openapi.json").json()["paths"]["/readyz"]["get"]["responses"]) == {"200", "503"}
