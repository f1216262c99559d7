"""The machine and the Python that this runs on.

supported_python   which Pythons will do; standard library only
torch_build        which build of torch to install; standard library only
pins               which of the pinned packages are missing; standard library only
versions           the versions that an export works with, and why
telemetry          a notice that the notebook was opened, sent only where the reader asks for it
devices            what OpenVINO runs on here
device_check       whether a device computes what the CPU computes
machine            memory, disk, cores
report             all of that as a table for a bug report

Imports nothing of this project but `adapters`; knows no models (`catalog`).
"""
