import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from sharedjox_contracts.events import EVENT_TYPES
from sharedjox_contracts.schema_export import DEFAULT_FOLDER, event_schema, generate, main


def test_generated_files_are_not_stale() -> None:
    assert main(["--check"]) == 0


def test_check_fails_for_stale_missing_and_surplus_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "generated"
    shutil.copytree(DEFAULT_FOLDER, folder)
    typescript = tmp_path / "web" / "events.ts"
    arguments = ["--out", str(folder), "--typescript", str(typescript)]
    assert main([*arguments, "--check"]) == 1, "the copy for the web is missing"
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    typescript.write_text("old", "utf-8")
    (folder / "schema" / "job.forgotten.json").write_text("{}", "utf-8")
    assert main([*arguments, "--check"]) == 1
    assert "job.forgotten.json" in capsys.readouterr().err
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_schemas_are_valid_and_know_no_decimal_strings(name: str) -> None:
    schema = event_schema(EVENT_TYPES[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "decimal" not in json.dumps(schema).replace("decimals", "")


def test_typescript_maps_every_event() -> None:
    text = generate()["events.ts"]
    for name, kind in EVENT_TYPES.items():
        assert f'readonly "{name}": {kind.__name__};' in text
        assert f"export interface {kind.__name__} {{" in text
    assert "privateJob: (id: number) => `private-job.${id}` as const" in text
    assert "job: (id: number) => `job.${id}` as const" in text


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    document = json.loads(generate()["asyncapi.json"])

    def resolve(reference: str) -> object:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        return node

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    found = references(document)
    assert len(found) > 10
    for reference in found:
        assert resolve(reference)
