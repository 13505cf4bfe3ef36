"""`make hooks` installs checks of what a commit contains."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not in a clone: there is nothing to commit to")


def git(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "COVERAGE_"))}
    identity = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(
        ["git", *arguments], cwd=clone, env=plain | identity, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_commit_is_judged_by_what_it_contains_not_by_the_working_tree(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    assert git(tmp_path, "clone", "--quiet", "--shared", str(ROOT), str(clone)).returncode == 0
    shutil.copytree(ROOT / ".ci", clone / ".ci", dirs_exist_ok=True)
    (clone / ".venv").mkdir()
    (clone / ".venv" / "bin").symlink_to(ROOT / ".venv" / "bin")
    hook = clone / git(clone, "rev-parse", "--git-path", "hooks").stdout.strip() / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.unlink(missing_ok=True)
    hook.symlink_to(clone / ".ci" / "pre-commit")
    module = clone / "shared" / "ids.py"
    good = module.read_text()
    before = git(clone, "rev-parse", "HEAD").stdout

    module.write_text("import os\n" + good)
    git(clone, "add", "shared/ids.py")
    module.write_text(good)
    refused = git(clone, "commit", "-m", "an import that nobody uses")
    assert refused.returncode != 0
    assert "F401" in refused.stdout + refused.stderr
    assert "commit checks: mend what ruff names above" in refused.stderr
    assert git(clone, "rev-parse", "HEAD").stdout == before
