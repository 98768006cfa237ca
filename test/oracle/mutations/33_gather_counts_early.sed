# futures/gather.c: a gather ends a tick early when two children are done in one tick
s/gather->loud > 0/false/
