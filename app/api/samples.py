"""Programs to begin with, for a developer who must have rows in ten minutes.

Each reads a dataset page by page. They are run as they stand by ``tests/api/test_samples``.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One program; ``language`` is its name for people."""

    language: str
    text: str


CURL = """export SIMPUL_KEY='kunci-anda'
curl --fail-with-body -H "Authorization: Bearer $SIMPUL_KEY" \\
  '@BASE@/api/v1/datasets/@SLUG@/records?limit=100'
"""
PYTHON = """import json, os, urllib.parse, urllib.request

BASE = "@BASE@/api/v1/datasets/@SLUG@/records"
HEADERS = {"Authorization": "Bearer " + os.environ["SIMPUL_KEY"]}

def records():
    after = None
    while True:
        query = {"limit": 1000} | ({"after": after} if after else {})
        url = BASE + "?" + urllib.parse.urlencode(query)
        with urllib.request.urlopen(urllib.request.Request(url, headers=HEADERS)) as answer:
            page = json.load(answer)
        yield from page["data"]
        after = page["page"]["next"]
        if after is None:
            return

for row in records(): print(json.dumps(row))
"""
JAVASCRIPT = """const base = "@BASE@/api/v1/datasets/@SLUG@/records";
const headers = { Authorization: `Bearer ${process.env.SIMPUL_KEY}` };

async function* records() {
  let after = null;
  do {
    const query = new URLSearchParams({ limit: 1000, ...(after && { after }) });
    const answer = await fetch(`${base}?${query}`, { headers });
    const body = await answer.json();
    if (!answer.ok) throw new Error(`${body.detail} (${body.request_id})`);
    yield* body.data;
    after = body.page.next;
  } while (after);
}

(async () => {
  for await (const row of records()) console.log(JSON.stringify(row));
})();
"""
LARAVEL = """use Illuminate\\Support\\Facades\\Http;

$after = null;
do {
    $page = Http::withToken(env('SIMPUL_KEY'))
        ->acceptJson()
        ->get('@BASE@/api/v1/datasets/@SLUG@/records', array_filter([
            'limit' => 1000,
            'after' => $after,
        ]))
        ->throw()
        ->json();
    foreach ($page['data'] as $row) {
        echo json_encode($row), PHP_EOL;
    }
    $after = $page['page']['next'];
} while ($after);
"""


def samples(base: str, slug: str) -> tuple[Sample, ...]:
    """Return the programs for one dataset; ``base`` is where this server is reached."""
    return tuple(
        Sample(name, text.replace("@BASE@", base.rstrip("/")).replace("@SLUG@", slug))
        for name, text in (
            ("curl", CURL),
            ("Python", PYTHON),
            ("JavaScript", JAVASCRIPT),
            ("Laravel (PHP)", LARAVEL),
        )
    )
