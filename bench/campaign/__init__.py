"""A campaign against the promises: random commands of several processes beside everything that harms them, then checks.

`python -m bench campaign --minutes N --seed S`. Begin with `run`; `work` is one of the processes that write, `harm` what
is done to them and to the repository, `checks` what must hold afterwards. A failure keeps the repository and prints the
command that repeats it; what processes do at the same moment is up to the machine, so a repetition may take a few tries.
"""
