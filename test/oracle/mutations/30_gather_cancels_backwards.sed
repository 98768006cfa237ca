# futures/gather.c: a gather cancels its children from the last to the first
s/gather->children\[position\] : NULL/gather->children[gather->count - 1 - position] : NULL/
