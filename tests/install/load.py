"""Requests, each on a connection of its own: load.py URL FILE COUNT A_SECOND. Goes on after COUNT until FILE.stop is there.

Writes to FILE: requests, those lost, the longest time between two answers in ms, and what was lost.
"""
import collections
import os
import sys
import time
import urllib.request

url, path, count, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
done, lost, longest, last = 0, collections.Counter(), 0.0, time.monotonic()
began = last
while done < count or not os.path.exists(path + ".stop"):
    pause = began + done / rate - time.monotonic()
    if pause > 0:
        time.sleep(pause)
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:
            answer.read()
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    except OSError as error:
        lost[str(error)] += 1
    done += 1
with open(path + ".new", "w") as out:
    out.write(f"{done} {sum(lost.values())} {longest * 1000:.0f} {dict(lost)}\n")
os.rename(path + ".new", path)
