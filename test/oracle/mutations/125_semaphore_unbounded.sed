# sync/semaphore.c: a bounded one takes any number of units
s/bounded ? value : INT64_MAX/INT64_MAX/
