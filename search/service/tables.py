"""A run's tables as the API sends them: in every format the exact values."""

from __future__ import annotations

import io
import json
import math
from typing import Any, Literal

import pandas as pd
from fastapi.responses import Response

TableFormat = Literal["json", "csv", "parquet"]
_CSV_TYPE, _PARQUET_TYPE = "text/csv; charset=utf-8", "application/vnd.apache.parquet"


def table(frame: pd.DataFrame, format: TableFormat) -> Response:
    """A table in a format; JSON is a list of rows, with null where a value is missing or not finite."""
    if format == "csv":
        return Response(frame.to_csv(index=False), media_type=_CSV_TYPE)
    if format == "json":
        # pandas writes JSON with at most 15 digits, and doubles need 17.
        rows = [{name: _plain(value) for name, value in row.items()} for row in frame.to_dict(orient="records")]
        return Response(json.dumps(rows, allow_nan=False), media_type="application/json")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return Response(buffer.getvalue(), media_type=_PARQUET_TYPE)


def _plain(value: Any) -> Any:
    """A value of a table as JSON has it; times in ISO 8601."""
    if pd.isna(value) or (isinstance(value, float) and math.isinf(value)):
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else value
