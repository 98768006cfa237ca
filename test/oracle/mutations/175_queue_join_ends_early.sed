# queue/queue.c: a join ends when all but one item are done with
s/if (--queue->unfinished == 0)/if (--queue->unfinished <= 1)/
