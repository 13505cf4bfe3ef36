"""Writes the dashboards as Grafana reads them: ``python -m deploy.grafana``."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana.boards import BOARDS

FOLDER = Path(__file__).parent / "dashboards"


def files() -> dict[str, str]:
    """The text of each file of `dashboards/`, by its name."""
    return {f"{board.__name__}.json": json.dumps(board(), indent=1, ensure_ascii=False) + "\n" for board in BOARDS}


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text)
