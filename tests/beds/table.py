"""The table of faults: a row for each, to stdout and to the file $SCRAPSORT_FAULTS_OUT."""

import json
import os


def write_row(fault, injected, before, after, lost, recover_s, doubled=0, **more):
    """One row: what went wrong, how it was made to, items recorded before and after, lost, seconds until it sorted.

    said: the line or the status that tells of it; what else is in more are figures.
    """
    row = dict({"fault": fault, "injected": injected, "items_before": before, "items_after": after, "lost": lost,
                "doubled": doubled, "recover_s": None if recover_s is None else round(recover_s, 2)}, **more)
    print(json.dumps(row))
    if os.environ.get("SCRAPSORT_FAULTS_OUT"):
        with open(os.environ["SCRAPSORT_FAULTS_OUT"], "a") as file:
            file.write(json.dumps(row) + "\n")
    return row
