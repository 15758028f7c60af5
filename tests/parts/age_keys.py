"""What detect-secrets does not know by itself: the secret keys that backups are decrypted with."""

from __future__ import annotations

import re

from detect_secrets.plugins.base import RegexBasedDetector


class AgeKeyDetector(RegexBasedDetector):
    """A whole key, as age-keygen writes it."""

    secret_type = "age secret key"
    denylist = (re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}"),)
