"""Which tests one worker runs in a row: those of a file, and all that use the same hosts."""


def group(nodeid: str) -> str:
    """The name of a test's group."""
    file = nodeid.partition("::")[0]
    return "k3s" if file.startswith("tests/lab/test_k3s") else file
