"""How much a JSON text becomes once it is parsed, told before it is: three bytes, "[],", become a list of sixty.

    has_more_entries(b'{"a": ["b", {}]}', 10)  # False

Here: counting. Not here: what a body may have in bytes (`adapters.request_body`). Noticed by
tests/security/test_bodies.py.
"""

BEGINNINGS = (b"[", b"{", b",")  # of a list, of a dictionary, of one more entry


def has_more_entries(text: bytes, limit: int) -> bool:
    """Whether `text` has more than `limit` lists, dictionaries and further entries, or is no JSON in UTF-8. What stands
    in strings is not counted. All of it is done in C, in time and memory proportional to `text`.
    """
    if b"\0" in text:  # UTF-16, which parsers take as well
        return True
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")  # now each quote begins or ends a string
    if plain.count(b'"') > 4 * (limit + 1):  # two of a key, two of a value
        return True
    outside = b"".join(plain.split(b'"')[::2])
    return sum(map(outside.count, BEGINNINGS)) > limit
