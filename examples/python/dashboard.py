"""A pipeline that is watched live in the browser, and by Prometheus."""

import sys
from urllib.request import urlopen

from DeepPipeline import Dashboard, Pipeline, stage


def get(dashboard: Dashboard, path: str) -> str:
    """Returns what a browser, or Prometheus, gets."""
    with urlopen(dashboard.url + path) as answer:
        body: bytes = answer.read()
    return body.decode()


ten_times = stage(lambda x: 10 * x, name="ten times")
end = stage(lambda x: None, name="end")

# Any free port, so that the example always runs; `Pipeline(..., dashboard=True)` is at 8910.
with Dashboard(port=0) as dashboard:
    with Pipeline([ten_times, end], overflow="block") as p:
        name = dashboard.watch(p, "numbers")
        print("see", dashboard.url, file=sys.stderr)
        for x in range(1, 6):
            p.put(x)

    print(f"the page shows {name}:", "true" if '"finished"' in get(dashboard, "api/pipelines") else "false")
    for line in get(dashboard, "metrics").splitlines():
        if 'fate="used"' in line:
            print(line)
