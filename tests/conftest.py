"""`make test` installs everything, so there a test that is skipped is a test that was lost."""

from __future__ import annotations

import os
from typing import Any

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in production, see agent/__init__.py

MAY_SKIP = ("coqui", "gpu")
"""Parts of reasons (in small letters) that are fine: optional extras, and a card that few machines have."""


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a `TEST_ALL=1` run in which a test was skipped for lack of something."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("TEST_ALL") or reporter is None or exitstatus != 0:
        return
    lost = [
        r for r in reporter.stats.get("skipped", []) if not any(word in str(r.longrepr).lower() for word in MAY_SKIP)
    ]
    for report in lost:
        reporter.write_line(f"lost: {report.nodeid}: {report.longrepr}")
    if lost:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
