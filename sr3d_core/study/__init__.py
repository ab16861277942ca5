"""Comparing trainings: variants of one with several seeds each, in one table (`sr3d study`).

settings.py    what a study's YAML file says
kinds.py       what a study can train, and where each kind keeps its settings
crossed.py     variants of variants
before.py      what happens before its trainings: pre-trainings, rates that are searched
run.py         all of it in order: what is done already is not done again
training.py    one of its trainings, in a process of its own
scores.py      what one network finds in one set of scenes, packed to be compared
table.py       means, spread, paired differences, as a table
processes.py   commands side by side; an error of any ends the study
"""
