from collections.abc import Callable

import pytest

from jobs.run import Failed
from jobs.run.lease import holder_from
from jobs.run.record import record_from


@pytest.mark.parametrize("read", [holder_from, record_from])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is no document of groundcrew"),
        (b"\xff\x00", "is no document of groundcrew"),
        (b"[1]", "is no document of groundcrew"),
        (b"{}", "is no document of groundcrew"),
        (b'{"format": 1}', "is no document of groundcrew"),
        (b'{"format": 1, "colour": "red"}', "is no document of groundcrew"),
        (b'{"format": 2}', "has format 2, and this groundcrew reads 1; update groundcrew here"),
    ],
)
def test_what_can_not_be_read_is_named_and_no_bug(read: Callable[[str, bytes], object], body: bytes, said: str) -> None:
    with pytest.raises(Failed, match=f"^staging/some.json: {said}"):
        read("staging/some.json", body)
