"""Whether a model is in the registry already, found out without importing MLflow, which takes seconds.

This reads, never writes, and only ever answers 'yes' on proof. Whatever it cannot read or does not understand (another
database, a newer schema, a server that wants a password) is a 'no', and MLflow's own client then has the word.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

FINGERPRINT_TAG: Final = "news.fingerprint"
ALIAS: Final = "production"
STAGE: Final = "Production"
SQLITE: Final = "sqlite:///"
HTTP_TIMEOUT_S: Final = 5.0

_VERSION_WITH_TAG: Final = """
    SELECT v.storage_location
      FROM model_versions AS v
      JOIN model_version_tags AS t ON t.name = v.name AND t.version = v.version
     WHERE v.name = ? AND t.key = ? AND t.value = ? AND v.current_stage <> 'Deleted_Internal' AND v.status = 'READY'
       AND EXISTS (SELECT 1 FROM registered_model_aliases AS a WHERE a.name = v.name AND a.alias = ?)
"""


def surely_registered(tracking_uri: str, name: str, fingerprint: str) -> bool:
    """Whether a version of `name` with this fingerprint exists, its files do, and `name` has the alias.

    False means 'not known', not 'no'.
    """
    if tracking_uri.startswith(SQLITE):
        return _in_sqlite(Path(tracking_uri.removeprefix(SQLITE)), name, fingerprint)
    if urlsplit(tracking_uri).scheme in {"http", "https"}:
        return _on_server(tracking_uri.rstrip("/"), name, fingerprint)
    return False


def _in_sqlite(database: Path, name: str, fingerprint: str) -> bool:
    if not database.is_file():
        return False
    try:
        uri = f"file:{quote(str(database.absolute()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as connection:
            rows = connection.execute(_VERSION_WITH_TAG, (name, FINGERPRINT_TAG, fingerprint, ALIAS)).fetchall()
    except sqlite3.Error:
        return False
    return any(_model_is_there(location) for (location,) in rows)


def _model_is_there(location: Any) -> bool:
    """Whether a local model directory still holds its model; one elsewhere is taken for granted."""
    if not isinstance(location, str):
        return False
    parts = urlsplit(location)
    if parts.scheme not in {"", "file"}:
        return True
    return (Path(unquote(parts.path)) / "MLmodel").is_file()


def _on_server(tracking_uri: str, name: str, fingerprint: str) -> bool:
    """Ask the server for the version behind the alias: the only question that one request answers."""
    endpoint = f"{tracking_uri}/api/2.0/mlflow/registered-models/alias?name={quote(name)}&alias={ALIAS}"
    try:
        with urlopen(Request(endpoint), timeout=HTTP_TIMEOUT_S) as response:  # noqa: S310 - the scheme was checked
            version = json.load(response)["model_version"]
            tags = {tag["key"]: tag["value"] for tag in version.get("tags", ())}
    except (URLError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return bool(tags.get(FINGERPRINT_TAG) == fingerprint)
