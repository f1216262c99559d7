import json


def say(whole, pieces, again, stopped=None):
    print(
        json.dumps(
            {"whole": whole, "streamed": "".join(pieces), "pieces": len(pieces), "again": again, "stopped": stopped}
        )
    )
