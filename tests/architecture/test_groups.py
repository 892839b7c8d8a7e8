"""Tests that share what is dear to set up (a cluster, the example's year) are run by one worker. Nothing else would notice if they weren't."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("groups")
def test_a_group_of_tests_goes_to_one_worker(request: pytest.FixtureRequest) -> None:
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("groups are not kept together in this run")
    # By this suffix pytest-xdist tells the tests of a group.
    assert request.node.nodeid.endswith("@groups")
