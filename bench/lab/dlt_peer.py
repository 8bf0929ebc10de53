"""dlt, as it is measured: its rest_api source, merged by key. Runs in the peers' environment."""

import os
import tempfile
import time
from typing import Any
from uuid import uuid4

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
import psycopg
from dlt.destinations import postgres
from dlt.sources.rest_api import rest_api_source

from bench.lab import records
from bench.lab.program import answer

# The best of what was tried here (insert_values, parquet, csv; upsert, delete-insert; one
# and two normalize workers): csv goes in by COPY, and two workers cost more than they save.
FORMAT = "csv"
STRATEGY = "upsert"
SETTINGS = (
    f"dlt {dlt.__version__}: rest_api source, merge ({STRATEGY}) by primary key, loader file"
    f" format {FORMAT} (COPY), 1 normalize worker, column types given, schema_contract"
    " data_type=discard_row (a bad record is dropped without a word), telemetry off"
)
TYPES = {"text": "text", "date": "date", "number": "decimal", "boolean": "bool"}


class _Now:
    pipeline: Any = None
    dataset = ""


def begin() -> dict[str, Any]:
    """Start anew: an empty dataset, no state."""
    _Now.dataset = f"dlt_{uuid4().hex[:8]}"
    _Now.pipeline = dlt.pipeline(
        _Now.dataset,
        destination=postgres(os.environ["BENCH_ADMIN_URL"]),
        dataset_name=_Now.dataset,
        pipelines_dir=tempfile.mkdtemp(),
    )
    return {"settings": SETTINGS}


def pull(url: str) -> dict[str, Any]:
    base, _, path = url.rpartition("/")
    source = rest_api_source(
        {
            "client": {
                "base_url": base + "/",
                "paginator": {
                    "type": "page_number",
                    "base_page": 1,
                    "page_param": "page",
                    "total_path": None,
                    "stop_after_empty_page": True,
                },
            },
            "resources": [
                {
                    "name": "pegawai",
                    "primary_key": "nip",
                    "write_disposition": {"disposition": "merge", "strategy": STRATEGY},
                    "columns": {n: {"data_type": TYPES[t]} for n, t in records.FIELDS},
                    "schema_contract": {"data_type": "discard_row"},
                    "endpoint": {
                        "path": path,
                        "params": {"per_page": records.PAGE_SIZE},
                        "data_selector": "data",
                    },
                }
            ],
        }
    )
    begun = time.perf_counter()
    _Now.pipeline.run(source, loader_file_format=FORMAT)
    seconds = time.perf_counter() - begun
    with psycopg.connect(os.environ["BENCH_ADMIN_URL"]) as admin:
        row = admin.execute(f"SELECT count(*) FROM {_Now.dataset}.pegawai").fetchone()
    return {"seconds": seconds, "rows": row[0] if row else 0}


ACTIONS = {"begin": begin, "pull": pull}

if __name__ == "__main__":
    answer(lambda question: ACTIONS[question.pop("do")](**question))
