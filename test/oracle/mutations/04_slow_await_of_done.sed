# futures/step.c: to await what is done takes a tick
s/future_has(run->future, FUTURE_FINISHED | FUTURE_BLOCKED)/future_has(run->future, FUTURE_BLOCKED)/
