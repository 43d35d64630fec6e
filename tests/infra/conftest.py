"""What these tests measured, and the closing line that tests/run adds up."""

import pytest

FIGURES: list[str] = []


@pytest.fixture
def figure():
    """Takes a sentence about what was measured, which is shown at the end."""
    return FIGURES.append


def pytest_terminal_summary(terminalreporter):
    def count(*outcomes: str) -> int:
        return sum(len(terminalreporter.stats.get(outcome, [])) for outcome in outcomes)

    for sentence in FIGURES:
        terminalreporter.write_line(sentence)
    failed = count("failed", "error")
    terminalreporter.write_line(
        f"test result: {'FAILED' if failed else 'ok'}. {count('passed')} passed; "
        f"{failed} failed; {count('skipped', 'xfailed')} ignored"
    )
