"""`make outputs`: execute the notebooks on a fresh sandbox and store their outputs, for readers and for nbval."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="fleet-outputs-") as folder:
        environment = {**os.environ, "FLEET_HOME": f"{folder}/home"}
        fleet = Path(sys.executable).with_name("fleet")
        for stages in ((), ("99",)):
            command = [str(fleet), "run", *stages, "--runs", f"{folder}/runs"]
            done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
            if done.returncode:
                subprocess.run([str(fleet), "sandbox", "down"], cwd=ROOT, env=environment, check=False)
                return done.returncode
            for path in sorted(Path(folder, "runs", "latest").resolve().glob("*.ipynb")):
                (ROOT / "notebooks" / path.name).write_text(cleaned(path.read_text()))
        subprocess.run([str(fleet), "sandbox", "down"], cwd=ROOT, env=environment, check=True)
    return 0


def cleaned(text: str) -> str:
    """Return the executed notebook without the parts that papermill adds: times, paths, the injected cell."""
    notebook = json.loads(text)
    notebook["metadata"] = {key: notebook["metadata"][key] for key in ("kernelspec", "language_info")}
    notebook["metadata"]["language_info"] = {"name": "python"}
    cells = [cell for cell in notebook["cells"] if "injected-parameters" not in cell["metadata"].get("tags", ())]
    for number, cell in enumerate(cells):
        tags = [tag for tag in cell["metadata"].get("tags", ()) if not tag.startswith("papermill")]
        cell["metadata"] = {"tags": tags} if tags else {}
        if cell["cell_type"] == "code":
            cell["execution_count"] = 1 + sum(c["cell_type"] == "code" for c in cells[:number])
            for output in cell["outputs"]:
                if "execution_count" in output:
                    output["execution_count"] = cell["execution_count"]
    notebook["cells"] = cells
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
