# sync/semaphore.c: one that is not bounded cannot have more units than at first
s/bounded ? value : INT64_MAX/value/
