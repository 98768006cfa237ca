# sync/condition.c: wait_for does not look at its predicate again
s/cora_condition_wait(wait->condition), look)/cora_condition_wait(wait->condition), cora_return_got)/
