"""Helm for the tests that need it; without one they are skipped, with what to do."""

import pytest

from tests.charts.helm import Helm, find_helm


@pytest.fixture(scope="session")
def helm():
    program = find_helm()
    if program is None:
        pytest.skip(
            "no helm: put it on the path, name it in MEDIA_GATEWAY_TEST_HELM, or run make charts, which builds one (needs Go)"
        )
    return Helm(program)
