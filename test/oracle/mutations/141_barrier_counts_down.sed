# sync/barrier.c: the first that comes has the last number
s/\*ret_index = barrier->inside++;/*ret_index = barrier->parties - ++barrier->inside;/
