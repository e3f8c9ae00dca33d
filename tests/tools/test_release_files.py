# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What a release needs says the same thing wherever it stands: workflows, templates, citation."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import splus_srgan

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOX = (ROOT / "tox.ini").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs():
    """Every job of every workflow: (name, job)."""
    return [
        (f"{path.stem}-{name}", job)
        for path in WORKFLOWS
        for name, job in load(path)["jobs"].items()
    ]


def environments():
    """Environments that the workflows run: (name, system)."""
    found = []
    for _, job in jobs():
        for entry in yaml.safe_load(job.get("with", {}).get("envs", "")) or ():
            (system,) = set(entry) - {"pytest"}
            found.append((entry[system], system))
    return found


def plain(environment):
    """The environment without the version of Python: ``py312-test`` is ``test``."""
    return re.sub(r"^py\d+-", "", environment)


def test_workflows_run_environments_that_there_are():
    factors = re.search(r"^    test-\{(.*)\}$", TOX, re.M)[1].split(",")
    listed = set(re.findall(r"^    ([\w-]+)$", TOX.partition("[testenv]")[0], re.M))
    known = listed | {f"test-{factor}" for factor in factors}
    run = {plain(name) for name, _ in environments()}
    assert run == known, "each environment is run by a workflow, and nothing else is"


def test_workflows_test_three_systems_and_every_python_that_is_supported():
    tests = [(name, system) for name, system in environments() if plain(name) == "test"]
    assert {system for _, system in tests} == {"linux", "macos", "windows"}
    versions = sorted(int(re.match(r"py3(\d+)", name)[1]) for name, _ in tests)
    oldest = int(re.fullmatch(r">=3\.(\d+)", PROJECT["requires-python"])[1])
    assert sorted(set(versions)) == list(range(oldest, max(versions) + 1))


@pytest.mark.parametrize(("name", "job"), jobs())
def test_what_others_wrote_is_pinned_by_its_hash(name, job):
    used = (
        [job["uses"]]
        if "uses" in job
        else [step["uses"] for step in job["steps"] if "uses" in step]
    )
    assert used
    for action in used:
        assert re.fullmatch(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40}", action), action


def test_one_job_alone_may_publish_and_no_token_is_kept():
    allowed = [name for name, job in jobs() if "id-token" in job.get("permissions", {})]
    assert allowed == ["publish-upload"]
    for path in WORKFLOWS:
        assert load(path)["permissions"] == {"contents": "read"}
        assert "secrets." not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_of_issues_are_complete(path):
    template = load(path)
    assert template["name"]
    assert template["description"]
    assert any(part.get("validations", {}).get("required") for part in template["body"])
    for part in template["body"]:
        assert part["type"] in ("textarea", "input", "dropdown", "markdown", "checkboxes")
        assert part["attributes"]["label"]


def test_the_citation_says_what_the_package_says():
    citation = load(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["license"]
    assert citation["abstract"].rstrip(".") == PROJECT["description"]
    assert [one["name"] for one in citation["authors"]] == [
        one["name"] for one in PROJECT["authors"]
    ]
    entry = splus_srgan.__citation__
    assert entry.startswith("@software{splus_srgan,")
    assert entry.count("{") == entry.count("}")
    assert f"version = {{{splus_srgan.__version__}}}" in entry
    assert citation["authors"][0]["name"] in entry
    assert f"license = {{{citation['license']}}}" in entry


def test_hooks_run_what_tox_checks():
    hooks = {
        hook["id"]: hook["entry"]
        for hook in load(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    }
    assert hooks.keys() == {"ruff-check", "ruff-format", "mypy"}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "dependency-groups"
    ]
    tools = {entry.split()[0] for entry in hooks.values()}
    pinned = {re.match(r"\w+", one)[0] for group in groups.values() for one in group}
    assert tools == pinned


def test_the_recipe_needs_the_python_and_the_tools_of_the_package():
    recipe = (ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8")
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(re.findall(r"python (>=[\d.]+)", recipe)) == {PROJECT["requires-python"]}
    for tool in pyproject["build-system"]["requires"]:
        name, version = tool.split(">=")
        assert f"- {name.replace('_', '-')} >={version}" in recipe
    (script,) = PROJECT["scripts"].items()
    assert f"- {script[0]} = {script[1]}" in recipe
    assert f"license: {PROJECT['license']}" in recipe
    assert f"license_file: {PROJECT['license-files'][0]}" in recipe
    assert f"summary: {PROJECT['description']}" in recipe
