"""The closing line of these tests is the one that tests/run adds up."""


def pytest_terminal_summary(terminalreporter):
    def count(*outcomes: str) -> int:
        return sum(len(terminalreporter.stats.get(outcome, [])) for outcome in outcomes)

    failed = count("failed", "error")
    terminalreporter.write_line(
        f"test result: {'FAILED' if failed else 'ok'}. {count('passed')} passed; "
        f"{failed} failed; {count('skipped', 'xfailed')} ignored"
    )
