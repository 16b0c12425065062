"""Where this machine keeps what is made or fetched once."""

import os
from pathlib import Path

import platformdirs


def cache(kind: str) -> Path:
    """The folder for one kind of files (data, weights, features, pretrained), in $WHEREWHAT_CACHE or the user's
    cache folder.  It may not exist yet."""
    whole = os.environ.get("WHEREWHAT_CACHE") or platformdirs.user_cache_dir("wherewhat", appauthor=False)
    return Path(whole).expanduser() / kind
