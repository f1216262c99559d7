"""What we know of other people's libraries beyond their documented interface, one file for each library.

Private attributes, behaviours that a release may change, work-arounds: each with its reason, and the test that notices
when it does not hold any more. Every folder of ours may import this one; it imports nothing of ours.
"""
