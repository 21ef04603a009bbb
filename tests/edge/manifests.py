"""Changes to the manifest of a bundle, for the tests of bundles."""

import json
import os

from edge.bundles import seal


def rewrite(path, change, sealed=True):
    """Change the manifest of a bundle folder; the change may also return another value for the whole file."""
    file = os.path.join(path, "manifest.json")
    with open(file) as opened:
        manifest = json.load(opened)
    replaced = change(manifest)
    manifest = manifest if replaced is None else replaced
    with open(file, "w") as opened:
        json.dump(seal(manifest) if sealed and isinstance(manifest, dict) else manifest, opened)


def put(*keys_and_value):
    """put("input", "shape", 5)(manifest) sets manifest["input"]["shape"] = 5."""
    def change(manifest):
        for key in keys_and_value[:-2]:
            manifest = manifest[key]
        manifest[keys_and_value[-2]] = keys_and_value[-1]
    change.word = " ".join(str(part) for part in keys_and_value)[:60]
    return change


def without(*keys):
    def change(manifest):
        for key in keys[:-1]:
            manifest = manifest[key]
        del manifest[keys[-1]]
    change.word = "without " + " ".join(keys)
    return change

