"""Grade submitted sheets: run what learners wrote, check it elsewhere, write down what was found.

A notebook's cells run in one process, `run_cells`, which leaves nothing behind but the learner's functions.
The checks run on these in another process, `run_checks`, where no submitted cell has ever run. Both have
limits of time and memory and no network. What still runs beside the checks is the body of a learner's
function; if it changes them, that is noticed. Whoever sets out to cheat with more than that has to be found
by reading.
"""
