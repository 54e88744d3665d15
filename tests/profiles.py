"""The number of examples of Hypothesis: in CI half of the number that a test asks for, locally a quarter.

HYPOTHESIS_PROFILE=ci (or CI, which most services set, or `pytest --hypothesis-profile=ci`) chooses the former, `long` all of
them. Every run draws others, so that a fault that one run of CI misses is found by the next ones.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

settings.register_profile("long", deadline=None, max_examples=100, print_blob=True)
settings.register_profile("ci", deadline=None, max_examples=50, print_blob=True)
settings.register_profile("local", deadline=None, max_examples=25)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "local"))


def examples(count: int, **others: Any) -> settings:
    """Settings of a test that tries `count` examples in the profile `long`."""
    return settings(max_examples=max(count * settings().max_examples // 100, 5), **others)
