"""Requests made from the OpenAPI document, right and wrong ones: none ends in a fault, each answer is as promised."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.leaderboard.site import Site

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_ends_in_a_fault(site: Site, mode: GenerationMode) -> None:
    site.scored()
    site.enter()
    site.verify(site.claim())
    grant = site.claim("organiser")  # a live job, in the hands of the account that sends what follows
    headers = {"Authorization": f"Bearer {site.tokens['organiser']}"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", site.http.app)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 15
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not list(operation.iter_parameters()) and not operation.body:
            continue  # nothing to get wrong

        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def fuzz(case: schemathesis.Case) -> None:
            shown = headers
            if "job_id" in case.path_parameters:
                # No generator hits on a token and the number that belongs to it.
                case.path_parameters["job_id"] = grant["job_id"]
                shown = {"Authorization": f"Bearer {grant['token']}"}
            case.call_and_validate(checks=CHECKS, headers=shown)

        fuzz()
